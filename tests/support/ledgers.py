"""Ledgers of tests: new ones, and ones with a past of a test's own making."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import Engine, create_engine, event, update

from sluice.ledger.database import open_database
from sluice.ledger.ledger import Ledger
from sluice.ledger.samples import Sample
from sluice.ledger.tables import Release
from sluice.project import Project
from sluice.release.artifact import store_files
from tests.support.placing import Columns

NOW = datetime.now(UTC).replace(microsecond=0)
HEALTH = {"consumer_lag": 500, "watermark_lag": "PT1M", "checkpoint_age": "PT2M"}


@cache
def _migrated() -> bytes:
    """The SQLite file of a ledger with the current schema and without rows, made by the migrations."""
    with TemporaryDirectory() as directory:
        file = Path(directory) / "ledger.db"
        open_database(f"sqlite:///{file}").dispose()
        with closing(sqlite3.connect(file)) as connection:
            return connection.serialize()


def new_ledger(directory: Path) -> str:
    """Write `ledger.db` with the current schema into a directory; its URL.

    The migrations take longer than most tests, and run once per process.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = directory / "ledger.db"
    file.write_bytes(_migrated())
    return f"sqlite:///{file}"


def skip_syncs() -> None:
    """Let SQLite not wait for the disk: a test's ledger need not survive a power failure, and a test commits often."""

    @event.listens_for(Engine, "connect")
    def connected(connection: Any, _record: Any) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.execute("PRAGMA synchronous=OFF")


class Past:
    """What sweeps and deploys have left of the environment `test`.

    Args:
        root: Directory of the project; the artifacts lie in its `.sluice`.
        url: The ledger's; None: on SQLite, there as well.
    """

    def __init__(self, root: Path, url: str | None = None) -> None:
        self.root = root
        self.url = url or new_ledger(root / ".sluice")
        self.store = root / ".sluice" / "artifacts"
        self.ledger = Ledger(self.url, "test")
        (root / "flink_jobs").mkdir(exist_ok=True)

    def sweep(self, minutes: float, **jobs: dict[str, Any]) -> None:
        """A sweep so many minutes from now that has seen these jobs, each with what differs from a healthy one."""
        usual = {
            "state": "RUNNING", "verdict": "healthy", "reasons": [], "release": 1, "drift": False, "consumer_lag": 10,
            "watermark_lag_ms": 5_000, "records_in_per_s": 50.0, "checkpoint_age_ms": 9_000, "restarts": 0,
        }  # fmt: skip
        at = NOW + timedelta(minutes=minutes)
        samples = [
            Sample(environment="test", job=job, at=at, readings=None, **{"flink_job_id": job, **usual, **seen})
            for job, seen in jobs.items()
        ]
        self.ledger.samples.add(samples, older_than=NOW - timedelta(days=30))

    def deploy(self, job: str, code: str = "x = 1\n", outcome: str = "healthy", **more: Any) -> int:
        """A deploy of this code that has ended; the release's number."""
        digest = store_files({f"flink_jobs/{job}.py": code.encode()}, self.store).digest
        release = self.ledger.add_release(
            job,
            fingerprint=digest,
            artifact=digest,
            module=f"flink_jobs.{job}",
            resolved={"parallelism": 1, "config": more.pop("config", {}), "options": {}},
            health=HEALTH,
            overrides=more.pop("overrides", {}),
        )
        place = {"release": release.number, "flink_job_id": job, "phase": "running", **more.pop("place", {})}
        operation = self.ledger.begin(job, kind=more.pop("kind", "deploy"), holder="me", release=release.number)
        operation.record("prepare", "ready")
        operation.record("start", "submitted", transition=Columns(place))
        operation.update(downtime_ms=640, **more)
        operation.finish(outcome, None if outcome == "healthy" else "consumer lag 900 > 500")
        return release.number


@contextmanager
def somebody_writes(url: str) -> Iterator[None]:
    """A transaction of another one's that holds what a writer holds: all of SQLite, or a table of PostgreSQL."""
    engine = create_engine(url)
    with engine.connect() as writer:
        is_sqlite = engine.dialect.name == "sqlite"
        writer.exec_driver_sql("BEGIN IMMEDIATE" if is_sqlite else "LOCK TABLE releases IN ROW EXCLUSIVE MODE")
        yield
    engine.dispose()


def forget_operators(project: Project, job: str) -> None:
    """Leave the job's releases as they are that were entered before what operators compute was kept."""
    engine = create_engine(project.settings.ledger)
    with engine.begin() as connection:
        connection.execute(update(Release).where(Release.job == job).values(operators=None))
    engine.dispose()
