"""Discrepancies between Flink's list of jobs, Flink's answer for one job id, and the ledger."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol

from sluice.errors import SluiceError
from sluice.fleet.members import Member
from sluice.fleet.removed import REMOVED, row_of_unreachable_removed_job
from sluice.fleet.rows import JobStatus
from sluice.flink.client import FlinkClient
from sluice.flink.ending import job_state
from sluice.flink.models import JobState
from sluice.health.verdict import VerdictState
from sluice.ledger.submissions import submissions
from sluice.ledger.tables import Placement
from sluice.ledger.values import Phase
from sluice.project import Project
from sluice.state.locate import refuse_elsewhere, running_release

_DOWN = ("stopped", "suspended")


class DiscrepancyKind(StrEnum):
    """How a job differs from what the list of jobs suggests."""

    UNSURE = "unsure"
    """The list leaves it out, and it may run all the same."""
    OTHER_RELEASE = "other"
    """Another release runs under its Flink job id."""
    RUNS = "runs"
    """It runs, and the ledger has it as stopped."""


@dataclass(frozen=True)
class Discrepancy:
    """A discrepancy of one job.

    Attributes:
        kind: Its kind.
        words: One line for a person.
    """

    kind: DiscrepancyKind
    words: str

    def apply(self, status: JobStatus) -> JobStatus:
        """The job's row with the discrepancy."""
        reasons = (self.words, *status.reasons)
        match self.kind:
            case DiscrepancyKind.UNSURE if status.state == REMOVED:
                return row_of_unreachable_removed_job(status, self.words)
            case DiscrepancyKind.UNSURE:
                return replace(status, state="unreachable", verdict=VerdictState.UNKNOWN, reasons=(self.words,))
            case DiscrepancyKind.OTHER_RELEASE:
                return replace(status, state="gone", verdict=VerdictState.FAILED, reasons=reasons)
            case DiscrepancyKind.RUNS:
                doubles = (status.flink_job_id or "",)
                return replace(status, verdict=VerdictState.FAILED, reasons=reasons, doubles=doubles)


class FindDiscrepancy(Protocol):
    """Asks Flink and the ledger about a job, given whether Flink lists it."""

    def __call__(self, member: Member, /, *, is_listed: bool) -> Discrepancy | None:
        """The discrepancy; None: there is none."""


def no_discrepancy(_member: Member, /, *, is_listed: bool) -> Discrepancy | None:  # noqa: ARG001 - as any other
    """Trust the list of jobs."""
    return None


def needs_check(member: Member, *, is_listed: bool, is_alive: bool) -> bool:
    """Whether the list of jobs is not enough to know how a job is. Pure."""
    if member.status.state == REMOVED and not is_listed:
        return member.status.phase != Phase.SUSPENDED
    if member.watched is None:
        return is_alive and member.status.phase in _DOWN
    return not is_listed or (is_alive and not member.had_checkpoint)


def find_discrepancy(project: Project, member: Member, /, *, is_listed: bool) -> Discrepancy | None:
    """Look for a discrepancy of a job for which `needs_check` is true; None: the list of jobs is right."""
    place = project.ledger.placement(member.status.job)
    if place is None or place.flink_job_id != member.status.flink_job_id:
        return None
    try:
        with project.connect() as flink:
            state = job_state(flink, place.flink_job_id)
            if state is None:
                refuse_elsewhere(project, flink, place)
            if state is None or state.is_terminal:
                return None
            return _check_running(project, flink, place, state, is_listed=is_listed)
    except SluiceError as error:
        return Discrepancy(DiscrepancyKind.UNSURE, str(error))


def _check_running(
    project: Project, flink: FlinkClient, place: Placement, state: JobState, *, is_listed: bool
) -> Discrepancy | None:
    known = submissions(project.ledger, place)
    if place.phase in _DOWN:
        words = (
            f"{place.phase} by the ledger, but its Flink job {place.flink_job_id} is {state.value}: cancel that job in "
            "the Flink UI"
        )
        # Without an answer to its submission, the job may have started late: the next start cancels it.
        return Discrepancy(DiscrepancyKind.RUNS, words) if known.is_answered else None
    if known.is_shared and (release := running_release(flink, place.flink_job_id)) != place.release:
        words = (
            f"Flink job {place.flink_job_id} runs release {release}, whose submission had been given up, instead of "
            f"release {place.release}"
        )
        return Discrepancy(DiscrepancyKind.OTHER_RELEASE, words)
    if not is_listed:
        words = (
            f"Flink at {flink.url} does not list Flink job {place.flink_job_id}, but reports {state.value} for its id: "
            "its JobMaster does not answer"
        )
        return Discrepancy(DiscrepancyKind.UNSURE, words)
    return None
