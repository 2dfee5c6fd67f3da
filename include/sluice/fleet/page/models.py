"""The values that the fleet page's routes send to the browser.

Times are Unix times in seconds, durations milliseconds unless a name says otherwise; None: not known.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from sluice.health.verdict import VerdictState


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LastDeploy(_Value):
    """The newest operation that started the job, or tried to."""

    kind: str
    outcome: str
    release: int
    ended_at: float
    downtime_ms: int | None
    """Time from the end of the old Flink job until all tasks of the new one ran."""


class ActiveOperation(_Value):
    """An operation in progress."""

    kind: str
    release: int
    since: float
    holder: str


class PendingApproval(_Value):
    """A plan that waits for a person's approval."""

    kind: str
    """The operation: deploy, rollback, suspend or resume."""
    since: float
    until: float
    """When the request expires, which refuses the plan."""
    why: str
    """Why the plan needs an approval."""
    link: str | None
    """The page for the answer, at the address of Airflow that the worker is configured with."""


class FleetRow(_Value):
    """A job at the last sweep; see `sluice.fleet.rows.JobStatus`."""

    job: str
    state: str
    """As in `sluice status`; `new` for a job that was declared after the last sweep."""
    verdict: VerdictState
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
    """When the sweep that read it began; None: the row comes from the ledger or the files alone."""
    last_deploy: LastDeploy | None = None
    going_on: ActiveOperation | None = None
    waiting: PendingApproval | None = None


class Fleet(_Value):
    """All jobs of an environment."""

    environment: str
    swept_at: float | None
    """When the last sweep began; None: there was none."""
    rows: tuple[FleetRow, ...]


class Curve(_Value):
    """A job's lag and watermark lag, a value for each sweep."""

    lag: tuple[int | None, ...]
    watermark_lag_ms: tuple[int | None, ...]


class Curves(_Value):
    """The last hours of all jobs, for small charts."""

    at: tuple[float, ...]
    """When those sweeps began."""
    jobs: dict[str, Curve]


class TimelineEvent(_Value):
    """An operation on the job, or a change of its verdict."""

    at: float
    kind: str
    """deploy, rollback, suspend, resume or verdict."""
    words: str
    outcome: str
    """The operation's outcome, `going on` while it is in progress; or the new verdict."""


class VerdictSpan(_Value):
    """A time during which the verdict did not change."""

    since: float
    until: float
    verdict: VerdictState


class Timeline(_Value):
    """A job's samples over a span of time; each list has a value for each time in `at`."""

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
    """The number of samples; if it is larger than that of times, each value is the worst of several samples."""
    marks: tuple[TimelineEvent, ...]
    verdicts: tuple[VerdictSpan, ...]


class HealthLimits(_Value):
    """The health limits of the job's release."""

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
    """It is the release that should be running."""


class StageView(_Value):
    """A stage of an operation."""

    stage: str
    began_at: float
    ms: int
    """Time until the next stage began, or the operation ended."""
    events: tuple[str, ...]


class OperationView(_Value):
    """An operation with the stages in its journal."""

    id: str
    kind: str
    release: int
    former_release: int | None
    mode: str | None
    action: str | None
    category: str | None
    """Action and category of the plan; see `sluice.plan.model`."""
    started_at: float
    ended_at: float | None
    outcome: str | None
    reason: str | None
    note: str | None
    holder: str
    approved_by: str | None
    """Who approved the loss of state; None: the plan needed no approval."""
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
    """The job was started from it, or will be at its next start."""


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
    """The number of chunks in each state."""
    promoted_at: float | None
    note: str | None


class JobView(_Value):
    """All of one job but its timeline."""

    environment: str
    swept_at: float | None
    row: FleetRow
    phase: str | None
    """Its phase in the ledger; None: it was never started."""
    phase_since: float | None
    flink_job_id: str | None
    limits: HealthLimits | None
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
    """A code file that differs, as a unified diff."""

    name: str
    change: Literal["added", "removed", "changed"]
    lines: tuple[str, ...]
    left_out: int
    """Lines of the diff that were left out."""


class Difference(_Value):
    """The changed settings and code files between two releases, or between a release and the project's files."""

    old: str
    new: str
    settings: tuple[Setting, ...]
    files: tuple[FileDifference, ...]
    code: str | None = None
    """Why the code can't be shown; None: it is shown."""
