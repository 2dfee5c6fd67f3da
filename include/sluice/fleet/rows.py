"""A row of the fleet: the status of one job."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sluice.health.snapshot import Snapshot
from sluice.health.verdict import VerdictState

T = TypeVar("T")
CHANGING = "changing"
"""The state of a job that an operation changes during a sweep, so that what the sweep read is not its present state."""


@dataclass(frozen=True)
class JobStatus:
    """A row of `sluice status`. None: not known.

    Attributes:
        job: Its name.
        state: Flink's state of the job; or `not deployed`, `disabled`, `suspended`, `suspending`, `stopping`,
            `stopped`, `removed` or `broken` (its file); `gone`: it should be running and Flink doesn't know it;
            `unreachable`: it could not be read; `changing`: an operation changes it during the sweep; `undeclared` or
            `duplicate`: a Flink job that is not in the ledger.
        phase: Its phase in the ledger: running, stopping, stopped, suspending or suspended; None: it was never
            started.
        consumer_lag: Records, over all partitions.
        lag_per_s: Records per second by which the lag rises; negative: it falls.
        malformed_per_s: Records per second that break the contract of a read.
        late_per_s: Records and rows per second that reads and windows leave out for their event time.
        restarts: Restarts since it was submitted.
        recent_restarts: Restarts in the last ten minutes.
        checkpoint_bytes: Size of the newest checkpoint.
        drift: Its files or settings differ from the release that runs.
        overrides: Settings that a run gave over the deployment file's; a digest of each secret.
        own_fault: It fails or stalls by its own code or state, not by what it runs on.
        doubles: Other Flink jobs that run under its name and are not in the ledger.
    """

    job: str
    state: str
    release: int | None = None
    flink_job_id: str | None = None
    verdict: VerdictState = VerdictState.UNKNOWN
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
class JobObservation:
    """What a sweep has found of one job.

    Attributes:
        status: The job's row.
        snapshot: The snapshot that it was judged by; None: nothing could be read, or there was nothing to read.
    """

    status: JobStatus
    snapshot: Snapshot | None = None


def one_per_job(rows: Iterable[T], status: Callable[[T], JobStatus]) -> list[T]:
    """The first row of each name: that of a declared job names its duplicates."""
    found: dict[str, T] = {}
    for row in rows:
        found.setdefault(status(row).job, row)
    return list(found.values())
