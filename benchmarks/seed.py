"""A fleet with a history: generated jobs, and a SQLite ledger with the records of sweeps and deploys of some days.

python -m benchmarks.seed DIRECTORY [JOBS] [DAYS]
"""

from __future__ import annotations

import json
import math
import random
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.dag_parse import generate

SWEEPS = timedelta(minutes=10)
PARTITIONS = 12
_REASONS = {
    "healthy": [],
    "idle": ["no input"],
    "degraded": ["consumer lag 48,211 > 10,000, rising 31/s", "event time 412 s behind > 120 s"],
    "failed": ["partition analytics_events[3] not consumed since 09:12:04 UTC, with 91,204 records to read"],
    "unknown": ["no answer within 15 s"],
}
_HEALTH = {"consumer_lag": 10_000, "watermark_lag": "PT2M", "checkpoint_age": "PT2M"}


def seed(root: Path, jobs: int, days: float, until: datetime | None = None) -> int:
    """Write a project with this many jobs below a directory, and a ledger of this many days in its `.sluice`.

    Returns:
        The number of samples.
    """
    from sluice.ledger.ledger import Ledger
    from sluice.release.artifact import package

    generate(root, jobs)
    (root / "deployments").mkdir()
    (root / "deployments" / "local.yaml").write_text(
        "kafka: {config: {bootstrap.servers: 'nowhere:1'}}\nflink: {url: 'http://nowhere:1'}\n", encoding="utf-8"
    )
    home = root / ".sluice"
    home.mkdir()
    ledger = Ledger(f"sqlite:///{home / 'ledger.db'}", "local")
    now = until or datetime.now(UTC)
    artifact = package(root, "flink_jobs.job_0000", home / "artifacts").digest
    with ledger._sessions.begin() as session:
        connection = session.connection().connection.driver_connection
        assert connection is not None
        for table, rows in _past(jobs, now, artifact).items():
            _insert(connection, table, rows)
        return _insert(connection, "samples", _samples(jobs, now, int(timedelta(days=days) / SWEEPS)))


def _insert(connection: Any, table: str, rows: Iterator[dict[str, Any]] | list[dict[str, Any]]) -> int:
    rows = iter(rows)
    first = next(rows, None)
    if first is None:
        return 0
    names = ", ".join(f'"{name}"' for name in first)
    statement = f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(first))})"
    done = 1
    connection.execute(statement, tuple(first.values()))
    while batch := [tuple(row.values()) for row, _ in zip(rows, range(20_000), strict=False)]:
        connection.executemany(statement, batch)
        done += len(batch)
    return done


def _moment(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S.%f")


def _past(jobs: int, now: datetime, artifact: str) -> dict[str, list[dict[str, Any]]]:
    """Releases, placements, operations with their journals, and savepoints."""
    found: dict[str, list[dict[str, Any]]] = {
        "releases": [], "placements": [], "operations": [], "journal": [], "savepoints": [],
    }  # fmt: skip
    for number in range(jobs):
        _past_of(number, now, artifact, random.Random(number), found)
    return found


def _past_of(
    number: int, now: datetime, artifact: str, chance: random.Random, found: dict[str, list[dict[str, Any]]]
) -> None:
    of = {"environment": "local", "job": f"job_{number:04}"}
    releases = 2 + number % 4
    for release in range(1, releases + 1):
        at = now - timedelta(hours=(releases - release) * 31 + chance.random() * 20 + 1)
        outcome = "rolled_back" if release == releases and number % 17 == 3 else "healthy"
        found["releases"].append(
            of | {
                "number": release,
                "fingerprint": f"{number:032x}{release:032x}",
                "artifact": artifact,
                "module": f"flink_jobs.{of['job']}",
                "resolved": json.dumps({"parallelism": 2, "config": {"window": f"{release}0s"}, "options": {}}),
                "overrides": "{}",
                "created_at": _moment(at),
                "healthy_at": _moment(at + timedelta(seconds=40)) if outcome == "healthy" else None,
                "health": json.dumps(_HEALTH),
            }
        )  # fmt: skip
        operation = f"{number:016x}{release:016x}"
        downtime = round(500 + chance.random() * 1500) if release > 1 else None
        found["operations"].append(
            of | {
                "id": operation,
                "active_job": None,
                "kind": "deploy",
                "holder": f"airflow:deploy.{of['job']}/manual__{release}",
                "token": 1,
                "lease_until": _moment(at),
                "release": release,
                "started_at": _moment(at),
                "ended_at": _moment(at + timedelta(seconds=41)),
                "outcome": outcome,
                "reason": "consumer lag 48,211 > 10,000" if outcome != "healthy" else None,
                "former_release": release - 1 or None,
                "mode": "savepoint",
                "plan": json.dumps({"action": "redeploy", "category": "state_compatible"}),
                "flink_job_id": f"{number:032x}",
                "savepoint": f"file:///savepoints/{of['job']}/{release}" if release > 1 else None,
                "downtime_ms": downtime,
            }
        )  # fmt: skip
        stages = (("prepare", "ready", 0), ("stop", "stop", 8), ("stop", "stopped", 9), ("start", "submitted", 10))
        found["journal"] += [
            {"operation": operation, "number": place, "stage": stage, "event": event, "data": "{}",
             "at": _moment(at + timedelta(seconds=seconds))}
            for place, (stage, event, seconds) in enumerate(stages, start=1)
        ]  # fmt: skip
        if release > 1:
            found["savepoints"].append(
                of | {
                    "path": f"file:///savepoints/{of['job']}/{release}",
                    "release": release - 1,
                    "flink_job_id": f"{number:032x}",
                    "operation": operation,
                    "taken_at": _moment(at),
                    "deleted_at": None,
                }
            )  # fmt: skip
    found["placements"].append(
        of | {
            "phase": "running",
            "release": releases,
            "flink_job_id": f"{number:032x}",
            "had_checkpoint": 1,
            "carried_over": 0,
            "since": _moment(now - timedelta(hours=2)),
        }
    )  # fmt: skip


def _samples(jobs: int, now: datetime, sweeps: int) -> Iterator[dict[str, Any]]:
    chance = random.Random(1)
    splits = {
        str(part): [1234, 1795565184431, 98_765_432, 98_766_666, None, False, False] for part in range(PARTITIONS)
    }
    readings = json.dumps({"at_ms": 1, "splits": {"analytics_events": splits}, "rest": "x" * 900})
    for sweep in range(sweeps):
        at = now - SWEEPS * (sweeps - 1 - sweep) - timedelta(seconds=30)
        moment, day = _moment(at), 2 * math.pi * (at.timestamp() % 86_400) / 86_400
        for number in range(jobs):
            yield _sample(number, moment, day, sweeps - 1 - sweep, readings, chance)


def _verdict(number: int, ago: int) -> str:
    """The verdict of a sample: most are healthy, some have failed now or before."""
    kind = number % 40
    if kind == 7 and ago < 5:
        return "failed"
    if kind in (11, 23) and ago % 97 < 12:
        return "degraded"
    if kind == 29:
        return "idle"
    return "unknown" if kind == 31 and ago < 2 else "healthy"


def _sample(number: int, moment: str, day: float, ago: int, readings: str, chance: random.Random) -> dict[str, Any]:
    verdict = _verdict(number, ago)
    load = 0 if verdict == "idle" else (1.2 + math.sin(day + number)) * (50 + number % 300)
    bad = {"degraded": 40, "failed": 90}.get(verdict, 1)
    is_known = verdict != "unknown"
    return {
        "environment": "local",
        "job": f"job_{number:04}",
        "at": moment,
        "flink_job_id": f"{number:032x}",
        "release": 2 + number % 4,
        "state": "RUNNING" if is_known else "unreachable",
        "verdict": verdict,
        "reasons": json.dumps(_REASONS[verdict]),
        "consumer_lag": int(load * bad * (0.5 + chance.random()) * 4) if is_known else None,
        "lag_per_s": (chance.random() - 0.5) * bad if is_known else None,
        "watermark_lag_ms": int((4_000 + chance.random() * 3_000) * (bad if bad > 1 else 1)) if is_known else None,
        "records_in_per_s": load if is_known else None,
        "records_out_per_s": load / 8 if is_known else None,
        "checkpoint_age_ms": int(chance.random() * 30_000) if is_known else None,
        "checkpoint_duration_ms": int(60 + chance.random() * 200) if is_known else None,
        "checkpoint_bytes": 2_000_000 if is_known else None,
        "restarts": number % 3 if is_known else None,
        "recent_restarts": 1 if verdict == "failed" else 0,
        "drift": number % 50 == 1,
        "readings": readings if is_known else None,
        "run": "scheduled__1",
    }


if __name__ == "__main__":
    directory, *more = sys.argv[1:]
    print(seed(Path(directory), int(more[0]) if more else 1_000, float(more[1]) if more[1:] else 7), "samples")
