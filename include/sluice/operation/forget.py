"""Taking a job off the list whose file was removed: refused while anything of it may run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sluice.errors import ConfigError, RefusedError, SluiceError, UnreachableError
from sluice.flink import calls
from sluice.flink.client import FlinkClient
from sluice.flink.ending import has_ended, job_state
from sluice.ledger.tables import Placement
from sluice.operation.holder import is_gone
from sluice.project import Project
from sluice.settings import JOBS_PACKAGE
from sluice.state.locate import BRING_BACK, refuse_elsewhere


@dataclass(frozen=True)
class Forgotten:
    """What was taken off the list.

    Attributes:
        phase: Where the job stood by the ledger.
        flink_job_id: Under which it ran last.
    """

    job: str
    release: int
    phase: str
    flink_job_id: str


def forget(
    project: Project,
    job: str,
    flink: FlinkClient,
    holder: str,
    gone: Callable[[str], bool] = is_gone,
    *,
    confirms_loss: bool = False,
) -> Forgotten:
    """Take a job off the list. Its history and savepoints stay, and it is listed again once its file is back.

    Args:
        project: The project.
        job: The job's name.
        flink: The cluster.
        holder: Who asks.
        gone: Whether a holder of an operation is known to have ended.
        confirms_loss: A person has confirmed that nothing of the job runs on the cluster where it was started, which
            need not answer then.

    Raises:
        RefusedError: it has a file, something of it runs, or the cluster does not say whether something does.
        BusyError: an operation on it goes on.
    """
    place = _removed(project, job)
    project.ledger.refuse_busy(job, holder, gone)
    for replay in project.ledger.replays.unfinished_ones():
        if replay.job == job:
            raise RefusedError(
                f"{job}: its replay {replay.id[:8]} goes on",
                remedy=f"end it: sluice backfill {job} --cancel {replay.id[:8]}",
            )
    _refuse_alive(project, place, flink, confirms_loss=confirms_loss)
    project.ledger.forgotten.add(place)
    return Forgotten(job, place.release, place.phase, place.flink_job_id)


def _removed(project: Project, job: str) -> Placement:
    files = {*project.catalog.jobs, *(file.name for file in project.catalog.broken)}
    if job in files:
        raise RefusedError(
            f"{job}: its file {JOBS_PACKAGE}/{job}.py is there, and a job with a file is listed",
            remedy=f"to stop it: sluice suspend {job}; to take it off the list, remove the file first",
        )
    place = project.ledger.placement(job)
    if place is None:
        known = ", ".join(project.ledger.placed()) or "none"
        raise ConfigError(f"the ledger has no job {job!r}", remedy=f"it has: {known}")
    if place.is_forgotten:
        raise RefusedError(f"{job} is not on the list any more", remedy=f"its history stays: sluice history {job}")
    return place


def _refuse_alive(project: Project, place: Placement, flink: FlinkClient, *, confirms_loss: bool) -> None:
    """Refuse where a Flink job of this id or this name runs, or where that can't be found out."""
    job = place.job
    try:
        found = flink.send(calls.jobs()).jobs
        # Flink leaves a job out of its list whose JobMaster doesn't answer.
        state = job_state(flink, place.flink_job_id)
        if state is None:
            remedy = f"{BRING_BACK}sluice forget {job} --confirm-lost-cluster"
            refuse_elsewhere(project, flink, place, confirms_loss=confirms_loss, remedy=remedy)
    except RefusedError:
        raise
    except UnreachableError as error:
        raise RefusedError(
            f"{job}: a Flink job of it may run: the cluster at {project.flink_url} does not say: {error.message}",
            remedy="ask again once the cluster answers",
        ) from error
    except SluiceError as error:
        raise RefusedError(f"{job}: a Flink job of it may run: {error}") from error
    for each in found:
        if each.state.is_terminal or (each.id != place.flink_job_id and each.name != job):
            continue
        is_own = each.id == place.flink_job_id
        raise RefusedError(
            f"{job}: its Flink job {each.id} is {each.state.value} on {project.flink_url}"
            if is_own
            else f"{job}: Flink job {each.id} runs under this name on {project.flink_url}, and is not the ledger's",
            remedy=f"stop it first: sluice suspend {job}" if is_own else "cancel it in Flink's UI first",
        )
    if not has_ended(state):
        raise RefusedError(
            f"{job}: its Flink job {place.flink_job_id} runs on {project.flink_url}, which leaves it out of its list",
            remedy="ask again in a moment; see the JobManager's log if it stays so",
        )
