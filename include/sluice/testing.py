"""Run a job's pipeline on given rows in a test, with Flink in this process.

    rows = run(job, events=[{...}, {...}], window="10s")

The pipeline runs as in production, but on a bounded table: the same SQL types, event time, watermark and lateness.
After the last row the watermark rises to its maximum, so that every window closes. Needs PyFlink and Java.

One thing differs: Flink's own JSON format reads the rows, and accepts some that break the contract of the topic. So
malformed records can't be tested here.
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
        **given: Rows by the name of the read, as lists of dicts with the topic's JSON fields. Any other keyword is a
            setting of the job. `arrival_time` in a row (a datetime, UTC if it has no zone) is its Kafka timestamp;
            the default is the event time.

    Returns:
        The output rows as a list of dicts, in the order in which Flink emitted them; for a job with several sinks a
        dict with a list per sink. Times are datetimes in UTC.

    Raises:
        ConfigError: rows for a read are missing, or a setting is invalid.
        SchemaError: the pipeline's table differs from the record.
    """
    rows = {name: given.pop(name) for name in list(given) if name in job.reads}
    missing = [name for name in job.reads if name not in rows]
    if missing:
        raise ConfigError(f"{job.name}: no rows for {', '.join(missing)}", remedy=f"call run(job, {missing[0]}=[...])")
    config = job.config(**given)
    with _pyflink_environment(), warnings.catch_warnings():
        # PyFlink and Beam call functions that they have deprecated themselves.
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
            file.write_text(
                "".join(json.dumps(row) + "\n" for row in _with_arrival(topic, rows[name])), encoding="utf-8"
            )
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
    """The files from which Python workers import the job's functions: the same as on a cluster."""
    if not job.module.startswith(f"{JOBS_PACKAGE}."):
        return ()
    root = job.file.resolve().parents[1]
    return package(root, job.module, store).file, package_sdk(store)


def _with_arrival(topic: Kafka, rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows with their Kafka timestamp as `arrival_time`, sorted by it."""
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
    """Set the environment variables that PyFlink needs, for the duration of a run."""
    spec = importlib.util.find_spec("pyflink")
    if spec is None or spec.origin is None:
        raise ConfigError("PyFlink is not installed here", remedy="run make env, and test with .venv/bin/pytest")
    given = {
        "FLINK_HOME": os.environ.get("FLINK_HOME", str(Path(spec.origin).parent)),
        # Run Python workers as processes, as a cluster does: otherwise this process serves them, on every address.
        "_python_worker_execution_mode": "process",
    }
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})
