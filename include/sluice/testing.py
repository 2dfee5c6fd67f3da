"""Testing a pipeline: rows in, rows out, on Flink itself in this process.

    rows = run(job, events=[{...}, {...}], window="10s")

The pipeline runs as it does in production, on a bounded table: same SQL types, same event time and watermark, same
lateness. After the last row event time goes to its end, so that every window closes. Needs PyFlink and Java.

One thing differs: rows are read by Flink's own JSON format, which takes some that break the topic's contract. What
counts as malformed is the topic's affair, and not seen here.
"""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import json
import os
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sluice.errors import ConfigError
from sluice.job.config import JobConfig
from sluice.job.definition import Job
from sluice.job.topic import Kafka
from sluice.release.artifact import package
from sluice.release.sdk import package_sdk
from sluice.settings import JOBS_PACKAGE


def run(job: Job, /, **given: Any) -> Any:
    """Run a job's pipeline on rows.

    Args:
        job: The job.
        **given: Rows by the name of the read, each a list of dicts as they stand in the topic; anything else is a
            value for the job's settings. A row's `arrival_time` (a datetime, in UTC where it has no zone) says when it
            arrived; without: at its event time.

    Returns:
        The rows of the output as a list of dicts, in the order of their emission; for a job with several sinks a dict
        of such lists. Times are datetimes in UTC.

    Raises:
        ConfigError: rows for a read are missing, or a setting is wrong.
        SchemaError: the built table differs from the record.
    """
    rows = {name: given.pop(name) for name in list(given) if name in job.reads}
    missing = [name for name in job.reads if name not in rows]
    if missing:
        raise ConfigError(f"{job.name}: no rows for {', '.join(missing)}", remedy=f"call run(job, {missing[0]}=[...])")
    config = job.config(**given)
    with _pyflink_environment(), warnings.catch_warnings():
        # PyFlink and Beam use what they have themselves deprecated.
        warnings.simplefilter("ignore", DeprecationWarning)
        results = _run(job, rows, config)
    return results if len(job.sinks) > 1 else next(iter(results.values()))


def _run(
    job: Job, rows: Mapping[str, Iterable[Mapping[str, Any]]], config: JobConfig
) -> dict[str, list[dict[str, Any]]]:
    from sluice.client import pipeline, tables  # noqa: PLC0415 - PyFlink is needed from here on

    env, t_env = pipeline.local_environments(job.name)
    values: dict[str, Any] = {"config": config, "t_env": t_env, "env": env}
    results = {}
    with tempfile.TemporaryDirectory() as directory:
        for file in _python_files(job, Path(directory)):
            t_env.add_python_file(str(file))
        for name, topic in job.reads.items():
            file = Path(directory) / f"{name}.json"
            file.write_text("".join(json.dumps(row) + "\n" for row in _arrived(topic, rows[name])), encoding="utf-8")
            t_env.execute_sql(tables.bounded_table(name, topic, file.as_uri()))
            t_env.execute_sql(tables.source_view(name, topic))
            values[name] = t_env.from_path(name)
        wanted = inspect.signature(job.build).parameters
        built = pipeline.as_tables(job, job.build(**{name: values[name] for name in wanted}), t_env)
        for sink, table in built.items():
            fitted, _ = pipeline.fit(table, job.sinks[sink], t_env, f"{job.name}.{sink}")
            results[sink] = pipeline.collect(fitted, job.sinks[sink])
    return results


def _python_files(job: Job, store: Path) -> tuple[Path, ...]:
    """What Python workers need to find the job's functions: what a cluster's would get."""
    if not job.module.startswith(f"{JOBS_PACKAGE}."):
        return ()
    root = job.file.resolve().parents[1]
    return package(root, job.module, store).file, package_sdk(store)


def _arrived(topic: Kafka, rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows with their arrival, in its order, as they would lie in the topic."""
    result = []
    for row in rows:
        arrival = row.get("arrival_time")
        if arrival is None:
            arrival = row.get(topic.event_time) if topic.event_time else datetime.now(UTC)
        if isinstance(arrival, int):
            arrival = datetime.fromtimestamp(arrival / 1000, UTC)
        if isinstance(arrival, str):
            arrival = datetime.fromisoformat(arrival)
        if not isinstance(arrival, datetime):
            raise ConfigError(
                f"{topic.topic}: a row has neither a usable {topic.event_time} nor an arrival_time: {row}"
            )
        if arrival.tzinfo is None:
            arrival = arrival.replace(tzinfo=UTC)
        stamp = arrival.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        result.append({**row, "arrival_time": stamp})
    return sorted(result, key=lambda row: str(row["arrival_time"]))


@contextlib.contextmanager
def _pyflink_environment() -> Iterator[None]:
    """PyFlink's variables, for the time of a run."""
    spec = importlib.util.find_spec("pyflink")
    if spec is None or spec.origin is None:
        raise ConfigError("PyFlink is not installed here", remedy="run make env, and test with .venv/bin/pytest")
    given = {
        "FLINK_HOME": os.environ.get("FLINK_HOME", str(Path(spec.origin).parent)),
        # Python workers in processes of their own, as on a cluster: otherwise they are served here, on every address.
        "_python_worker_execution_mode": "process",
    }
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})
