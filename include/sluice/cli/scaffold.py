"""`sluice new`: write a working job file and its test."""

from __future__ import annotations

from pathlib import Path

from sluice.errors import ConfigError
from sluice.job.names import is_job_name
from sluice.settings import JOBS_PACKAGE

_JOB = '''"""How many events each page gets.

Tumbling windows of `window` in event time, a row per window and page.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

from pydantic import Field

from flink_jobs.shared.events import EVENTS
from flink_jobs.shared.windows import OPEN_WINDOWS
from sluice import Duration, Job, JobConfig, Kafka, Record, Replay, interval


class Config(JobConfig):
    """What can be set in deployments/, with its bounds."""

    window: Annotated[Duration, Field(ge=timedelta(seconds=1), le=timedelta(days=1)), OPEN_WINDOWS] = timedelta(
        minutes=1
    )


class {record}(Record):
    """A row of the output."""

    window_start: datetime
    window_end: datetime
    url: str
    event_count: int


job = Job(
    name="{name}",
    config=Config,
    reads={{"events": EVENTS}},
    writes=Kafka("{name}", record={record}, key=("window_start", "url"), partitions=3),
    replay=Replay(span=lambda config: config.window),
)


@job.pipeline
def build(t_env, config):
    """Count per window and page."""
    return t_env.sql_query(f"""
        SELECT window_start, window_end, context.url AS url, COUNT(*) AS event_count
        FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(event_time), {{interval(config.window)}}))
        GROUP BY window_start, window_end, context.url
    """)
'''

_TEST = '''"""What {name} makes of a few events."""

from flink_jobs.{name} import job
from sluice.testing import run


def event(url: str, second: int) -> dict:
    """An event of that page, so many seconds after midnight of 1 January 2026 (UTC)."""
    return {{
        "event": {{"id": f"{{url}}{{second}}", "type": "page_view"}},
        "device": {{}},
        "user": {{"id": "u"}},
        "context": {{"url": url, "session_id": "s"}},
        "properties": {{}},
        "metrics": {{}},
        "timestamp": 1_767_225_600_000 + second * 1000,
    }}


def test_events_are_counted_per_page_and_minute():
    rows = run(job, events=[event("/a", 1), event("/a", 2), event("/b", 3), event("/a", 61)])
    counts = sorted((row["window_start"].minute, row["url"], row["event_count"]) for row in rows)
    assert counts == [(0, "/a", 2), (0, "/b", 1), (1, "/a", 1)]
'''


def write_job(root: Path, name: str) -> tuple[Path, Path]:
    """Write `flink_jobs/<name>.py` and `tests/jobs/test_<name>.py`.

    Raises:
        ConfigError: the name can't be used, or a file of that name exists; nothing was written.
    """
    if not is_job_name(name):
        raise ConfigError(
            f"job name {name!r} can't be used", remedy="use lower-case letters, digits and _, and begin with a letter"
        )
    job, test = root / JOBS_PACKAGE / f"{name}.py", root / "tests" / "jobs" / f"test_{name}.py"
    for path in (job, job.with_suffix(""), test):
        if path.exists():
            raise ConfigError(f"{path} exists", remedy="choose another name, or remove it")
    # The suffix avoids a conflict with the names that the file imports or defines.
    record = "".join(part.capitalize() for part in name.split("_")) + "Row"
    test.parent.mkdir(parents=True, exist_ok=True)
    job.write_text(_JOB.format(name=name, record=record), encoding="utf-8")
    test.write_text(_TEST.format(name=name), encoding="utf-8")
    return job, test
