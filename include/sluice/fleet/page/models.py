"""The fleet page's values, as they go to the browser.

Moments are Unix times in seconds, durations milliseconds unless a name says otherwise; None: not known.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from sluice.health.verdict import State


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LastDeploy(_Value):
    """The newest operation that has put a job to running, or tried to."""

    kind: str
    outcome: str
    release: int
    ended_at: float
    downtime_ms: int | None
    """From the old job's end until all tasks of the new one ran."""


class GoingOn(_Value):
    """An operation that has not ended."""

    kind: str
    release: int
    since: float
    holder: str


class Waiting(_Value):
    """A plan that a person is asked about."""

    kind: str
    """Of the operation: deploy, rollback, suspend or resume."""
    since: float
    until: float
    """When it is refused without an answer."""
    why: str
    """Why it needs an approval."""
    link: str | None
    """Where it is answered, by the address that the worker knows Airflow by."""


class FleetRow(_Value):
    """A job, as the last sweep has seen it; see `sluice.fleet.rows.JobStatus`."""

    job: str
    state: str
    """As `sluice status` shows it; `new` for a job that was declared after the last sweep."""
    verdict: State
    reasons: tuple[str, ...]
    release: int | None = None
    drift: bool | None = None
    consumer_lag: int | None = None
    lag_per_s: float | None = None
    watermark_lag_ms: int | None = None
    records_in_per_s: float | None = None
    checkpoint_age_ms: int | None = None
    restarts: int | None = None
    recent_restarts: int | None = None
    seen_at: float | None = None
    """When the sweep began that saw it so; None: what is told comes from the ledger or the files alone."""
    last_deploy: LastDeploy | None = None
    going_on: GoingOn | None = None
    waiting: Waiting | None = None


class Fleet(_Value):
    """Every job of an environment."""

    environment: str
    swept_at: float | None
    """When the last sweep began; None: there was none."""
    rows: tuple[FleetRow, ...]


class Curve(_Value):
    """A job's lag and watermark lag at each of some sweeps."""

    lag: tuple[int | None, ...]
    watermark_lag_ms: tuple[int | None, ...]


class Curves(_Value):
    """The newest past of every job in small."""

    at: tuple[float, ...]
    """When those sweeps began."""
    jobs: dict[str, Curve]


class Mark(_Value):
    """Something that was done to a job, or a verdict that has changed."""

    at: float
    kind: str
    """deploy, rollback, suspend, resume or verdict."""
    words: str
    outcome: str
    """Of an operation, `going on` while it does; the new verdict."""


class Span(_Value):
    """For how long a verdict held."""

    since: float
    until: float
    verdict: State


class Timeline(_Value):
    """A job's samples over a span of time: each list has a value for each moment of `at`."""

    since: float
    until: float
    at: tuple[float, ...]
    consumer_lag: tuple[int | None, ...]
    watermark_lag_ms: tuple[int | None, ...]
    records_in_per_s: tuple[float | None, ...]
    records_out_per_s: tuple[float | None, ...]
    checkpoint_age_ms: tuple[int | None, ...]
    checkpoint_duration_ms: tuple[int | None, ...]
    samples: int
    """How many there were; more than moments: each moment stands for several, with the worst of them."""
    marks: tuple[Mark, ...]
    verdicts: tuple[Span, ...]


class Limits(_Value):
    """The job's limits, as its release has them."""

    consumer_lag: int
    watermark_lag_ms: int
    checkpoint_age_ms: int


class ReleaseView(_Value):
    """A release."""

    number: int
    created_at: float
    healthy_at: float | None
    fingerprint: str
    artifact: str
    overrides: dict[str, Any]
    runs: bool
    """It is the one that should run."""


class StageView(_Value):
    """What an operation did from one moment to the next."""

    stage: str
    began_at: float
    ms: int
    """Until the next stage began, or the operation ended."""
    events: tuple[str, ...]


class OperationView(_Value):
    """An operation with what its journal tells."""

    id: str
    kind: str
    release: int
    former_release: int | None
    mode: str | None
    action: str | None
    category: str | None
    """Both as planned; see `sluice.plan.model`."""
    started_at: float
    ended_at: float | None
    outcome: str | None
    reason: str | None
    note: str | None
    holder: str
    approved_by: str | None
    """Who has agreed to the loss of state; None: nobody had to."""
    downtime_ms: int | None
    savepoint: str | None
    restored_from: str | None
    stages: tuple[StageView, ...]


class SavepointView(_Value):
    """A savepoint."""

    path: str
    release: int
    taken_at: float
    deleted_at: float | None
    in_use: bool
    """The job was started from it, or will be."""


class ReplayView(_Value):
    """A replay."""

    id: str
    release: int
    start: str
    end: str
    started_at: float
    ended_at: float | None
    outcome: str | None
    records: int | None
    chunks: dict[str, int]
    """How many are in which state."""
    promoted_at: float | None
    note: str | None


class JobView(_Value):
    """Everything of one job but its timelines."""

    environment: str
    swept_at: float | None
    row: FleetRow
    phase: str | None
    """Where it stands by the ledger; None: it was never started."""
    phase_since: float | None
    flink_job_id: str | None
    limits: Limits | None
    overrides: dict[str, Any]
    releases: tuple[ReleaseView, ...]
    operations: tuple[OperationView, ...]
    savepoints: tuple[SavepointView, ...]
    replays: tuple[ReplayView, ...]


class Setting(_Value):
    """A setting that differs."""

    path: str
    old: Any
    new: Any
    category: str
    why: str


class FileDifference(_Value):
    """A file of code that differs, as a unified diff."""

    name: str
    change: Literal["added", "removed", "changed"]
    lines: tuple[str, ...]
    left_out: int
    """Lines of the diff that are not shown."""


class Difference(_Value):
    """What differs between two releases, or between a release and the project's files."""

    old: str
    new: str
    settings: tuple[Setting, ...]
    files: tuple[FileDifference, ...]
    code: str | None = None
    """Why the code can't be told; None: it is."""
