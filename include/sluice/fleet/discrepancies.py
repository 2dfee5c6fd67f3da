"""Where a job differs from what Flink's list of jobs shows: asked of Flink by job id, and of the ledger."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Protocol

from sluice.errors import SluiceError
from sluice.fleet.members import Member
from sluice.fleet.removed import REMOVED, row_of_unreachable_removed_job
from sluice.fleet.rows import JobStatus
from sluice.flink.client import FlinkClient
from sluice.flink.ending import job_state
from sluice.flink.models import JobState
from sluice.ledger.submissions import submissions
from sluice.ledger.tables import Placement
from sluice.project import Project
from sluice.state.locate import refuse_elsewhere, running_release

_DOWN = ("stopped", "suspended")


@dataclass(frozen=True)
class Discrepancy:
    """Why a job is not what the list of jobs makes it seem.

    Attributes:
        kind: unsure: it is not in the list, and may run all the same. other: another release runs under its id. runs:
            it runs, and the ledger has it as stopped.
        words: For a person.
    """

    kind: Literal["unsure", "other", "runs"]
    words: str

    def mark(self, status: JobStatus) -> JobStatus:
        """The row of the job with that."""
        reasons = (self.words, *status.reasons)
        match self.kind:
            case "unsure" if status.state == REMOVED:
                return row_of_unreachable_removed_job(status, self.words)
            case "unsure":
                return replace(status, state="unreachable", verdict="unknown", reasons=(self.words,))
            case "other":
                return replace(status, state="gone", verdict="failed", reasons=reasons)
            case "runs":
                return replace(status, verdict="failed", reasons=reasons, doubles=(status.flink_job_id or "",))


class FindDiscrepancy(Protocol):
    """Asks more about a job, given whether the cluster lists it."""

    def __call__(self, member: Member, /, *, is_listed: bool) -> Discrepancy | None:
        """The doubt; None: there is none."""


def no_discrepancy(_member: Member, /, *, is_listed: bool) -> Discrepancy | None:  # noqa: ARG001 - as any other
    """What the list says is taken as it is."""
    return None


def is_doubtful(member: Member, *, is_listed: bool, is_alive: bool) -> bool:
    """Whether more is to be asked about a job, given what the list of jobs says of it. Pure."""
    if member.status.state == REMOVED and not is_listed:
        return member.status.phase != "suspended"
    if member.target is None:
        return is_alive and member.status.phase in _DOWN
    return not is_listed or (is_alive and not member.had_checkpoint)


def find_discrepancy(project: Project, member: Member, /, *, is_listed: bool) -> Discrepancy | None:
    """What there is to doubt about a job for which `is_doubtful` is true; None: it is as the list says."""
    place = project.ledger.placement(member.status.job)
    if place is None or place.flink_job_id != member.status.flink_job_id:
        return None
    try:
        with project.flink_at(project.flink_url) as flink:
            state = job_state(flink, place.flink_job_id)
            if state is None:
                refuse_elsewhere(project, flink, place)
            if state is None or state.is_terminal:
                return None
            return _of_running(project, flink, place, state, is_listed=is_listed)
    except SluiceError as error:
        return Discrepancy("unsure", str(error))


def _of_running(
    project: Project, flink: FlinkClient, place: Placement, state: JobState, *, is_listed: bool
) -> Discrepancy | None:
    known = submissions(project.ledger, place)
    if place.phase in _DOWN:
        words = (
            f"the ledger has it as {place.phase}, and its Flink job {place.flink_job_id} is {state.value}: cancel that "
            "in the Flink UI"
        )
        # What came up after its submission was given up is ended by the next start.
        return Discrepancy("runs", words) if known.is_answered else None
    if known.is_shared and (release := running_release(flink, place.flink_job_id)) != place.release:
        words = (
            f"Flink job {place.flink_job_id} runs as release {release}, whose submission was given up; release "
            f"{place.release} is to run"
        )
        return Discrepancy("other", words)
    if not is_listed:
        words = (
            f"Flink at {flink.url} leaves Flink job {place.flink_job_id} out of its list of jobs, and by its id it is "
            f"{state.value}: its JobMaster does not answer"
        )
        return Discrepancy("unsure", words)
    return None
