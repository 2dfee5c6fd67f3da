"""A job of the project as a script for `flink run`: the baseline of the benchmarks that start jobs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sluice.client import tables
from sluice.deployment.catalog import read_catalog
from sluice.job.config import JobConfig
from sluice.job.record import columns
from sluice.local import flink as local_flink
from sluice.local.layout import Local


def script(
    root: Path, name: str, servers: str, *, topic: str | None = None, config: JobConfig | None = None, **options: str
) -> str:
    """The text of the script: the job's SQL, with tables as Sluice declares them.

    Args:
        root: The project.
        name: The job.
        servers: The brokers.
        topic: The output topic; None: the job's own.
        config: The job's settings; None: their defaults.
        options: Flink options, with `__` for a dot and `_` for a hyphen.
    """
    job = read_catalog(root).jobs[name]
    captured: list[str] = []

    class Capture:
        def sql_query(self, text: str) -> None:
            captured.append(text)

    job.build(Capture(), config or job.config())
    (read, source), sink = next(iter(job.reads.items())), job.sinks[name]
    if topic:
        sink = sink.with_settings({"topic": topic})
    brokers, group = {"bootstrap.servers": servers}, "by_hand"
    declarations = [
        *tables.functions(),
        tables.source_table(read, source, brokers, group),
        tables.source_view(read, source),
        tables.sink_table(name, sink, brokers, group),
    ]
    insert = f"INSERT INTO `{tables.sink_name(name)}` SELECT {_selected(columns(sink.record))} FROM ({captured[0]})"
    given = {key.replace("__", ".").replace("_", "-"): value for key, value in options.items()}
    settings = {"table.local-time-zone": "UTC", "pipeline.name": f"{name}_by_hand", **given}
    return f"""from pyflink.table import EnvironmentSettings, TableEnvironment
t_env = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
for name, value in {settings!r}.items():
    t_env.get_config().set(name, value)
for text in {declarations!r}:
    t_env.execute_sql(text)
t_env.execute_sql({insert!r})
"""


def flink(local: Local, *arguments: str) -> list[str]:
    """Call Flink's command line on the cluster."""
    command, *rest = arguments
    program = str(local_flink.distribution() / "bin" / "flink")
    return [program, command, "-m", local.flink_url.removeprefix("http://"), *rest]


def variables(local: Local) -> dict[str, str]:
    """The environment variables of Flink's command line."""
    home = local.home / "flink"
    return {"FLINK_LIB_DIR": str(home / "lib"), "FLINK_CONF_DIR": str(home / "conf")}


def _selected(types: Mapping[str, str]) -> str:
    moments = {name: flink for name, flink in types.items() if flink.startswith("TIMESTAMP_LTZ")}
    return ", ".join(f"CAST({name} AS TIMESTAMP_LTZ(3))" if name in moments else name for name in types)
