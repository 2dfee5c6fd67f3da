"""A row of the fleet: one job, as it is and as it should be."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sluice.health.snapshot import Snapshot
from sluice.health.verdict import State

T = TypeVar("T")
CHANGING = "changing"
"""The state of a job that an operation changes while it is looked at: what was seen is true only in between."""


@dataclass(frozen=True)
class JobStatus:
    """A row of `sluice status`. None: not known.

    Attributes:
        job: Its name.
        state: Flink's state of the job; `not deployed`, `disabled`, `suspended`, `suspending`, `stopping`, `stopped`,
            `removed` or `broken` (its file); `gone` when it should run and the cluster doesn't know it; `unreachable`
            when it couldn't be looked at; `changing` where an operation has changed it meanwhile, or is about to mend
            it; `undeclared` or `duplicate` for a job of the cluster that isn't the ledger's.
        phase: Where it stands by the ledger: running, stopping, stopped, suspending or suspended; None: it was
            never started.
        consumer_lag: Records, over all partitions.
        lag_per_s: Records per second by which the lag rises; negative: it falls.
        malformed_per_s: Records that break the contract of a read.
        late_per_s: Records and rows that are left out for their event time, by reads and by windows.
        restarts: Since it was submitted.
        recent_restarts: In the last ten minutes.
        checkpoint_bytes: Size of the newest checkpoint.
        drift: The job differs from the release that runs.
        overrides: Settings that a run gave, over the deployment file's; of what is a secret a digest.
        own_fault: It fails, or stands still, by its own code or state, and not by what it runs on.
        doubles: Flink jobs that run under its name as well, and are not the ledger's.
    """

    job: str
    state: str
    release: int | None = None
    flink_job_id: str | None = None
    verdict: State = "unknown"
    reasons: tuple[str, ...] = ()
    consumer_lag: int | None = None
    lag_per_s: float | None = None
    watermark_lag_ms: int | None = None
    records_in_per_s: float | None = None
    records_out_per_s: float | None = None
    dead_letters_per_min: float | None = None
    malformed_per_s: float | None = None
    late_per_s: float | None = None
    checkpoint_age_ms: int | None = None
    checkpoint_duration_ms: int | None = None
    checkpoint_bytes: int | None = None
    restarts: int | None = None
    recent_restarts: int | None = None
    drift: bool | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    phase: str | None = None
    own_fault: bool = False
    doubles: tuple[str, ...] = ()


@dataclass(frozen=True)
class Found:
    """What a sweep has found of one job.

    Attributes:
        status: The row.
        snapshot: What it was judged by; None: nothing could be read, or there was nothing to read.
    """

    status: JobStatus
    snapshot: Snapshot | None = None


def one_each(rows: Iterable[T], status: Callable[[T], JobStatus]) -> list[T]:
    """One row for each name, the first: that of a job that runs twice under its name tells of both."""
    found: dict[str, T] = {}
    for row in rows:
        found.setdefault(status(row).job, row)
    return list(found.values())
