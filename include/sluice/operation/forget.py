"""Remove a job without a file from the list of jobs. Refused while a Flink job of it may be running."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sluice.errors import ConfigError, RefusedError, SluiceError, UnreachableError
from sluice.flink import calls, ending
from sluice.flink.client import FlinkClient
from sluice.ledger.tables import Placement
from sluice.operation.holder import is_gone
from sluice.project import Project
from sluice.settings import JOBS_PACKAGE
from sluice.state.locate import BRING_BACK, refuse_elsewhere


@dataclass(frozen=True)
class Forgotten:
    """A job that was removed from the list.

    Attributes:
        phase: Its last phase in the ledger.
        flink_job_id: Its last Flink job id.
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
    has_ended: Callable[[str], bool] = is_gone,
    *,
    confirms_loss: bool = False,
) -> Forgotten:
    """Remove a job from the list. Its history and savepoints are kept, and it is listed again once its file exists.

    Args:
        project: The project.
        job: The job's name.
        flink: The cluster.
        holder: The holder of this request.
        has_ended: Returns whether the holder of an operation is known to have ended.
        confirms_loss: A person has confirmed that no Flink job of it runs on the cluster where it was started. That
            cluster needn't answer then.

    Raises:
        RefusedError: the job has a file, a Flink job of it runs, or the cluster does not answer whether one runs.
        BusyError: an operation on the job is in progress.
    """
    place = _removed(project, job)
    project.ledger.refuse_busy(job, holder, has_ended)
    for replay in project.ledger.replays.unfinished_ones():
        if replay.job == job:
            raise RefusedError(
                f"{job}: its replay {replay.id[:8]} has not finished",
                remedy=f"cancel it: sluice backfill {job} --cancel {replay.id[:8]}",
            )
    _refuse_alive(project, place, flink, confirms_loss=confirms_loss)
    project.ledger.forgotten.add(place)
    return Forgotten(job, place.release, place.phase, place.flink_job_id)


def _removed(project: Project, job: str) -> Placement:
    files = {*project.catalog.jobs, *(file.name for file in project.catalog.broken)}
    if job in files:
        raise RefusedError(
            f"{job}: its file {JOBS_PACKAGE}/{job}.py exists, and every job with a file is listed",
            remedy=f"to stop it: sluice suspend {job}; to forget it, delete the file first",
        )
    place = project.ledger.placement(job)
    if place is None:
        known = ", ".join(project.ledger.placed()) or "none"
        raise ConfigError(f"the ledger has no job {job!r}", remedy=f"it has: {known}")
    if place.is_forgotten:
        raise RefusedError(f"{job} was forgotten already", remedy=f"its history is kept: sluice history {job}")
    return place


def _refuse_alive(project: Project, place: Placement, flink: FlinkClient, *, confirms_loss: bool) -> None:
    """Refuse if a Flink job with this id or this name runs, or if the cluster does not answer."""
    job = place.job
    try:
        found = flink.send(calls.jobs()).jobs
        # Flink omits a job from its list while the job's JobMaster doesn't answer.
        state = ending.job_state(flink, place.flink_job_id)
        if state is None:
            remedy = f"{BRING_BACK}sluice forget {job} --confirm-lost-cluster"
            refuse_elsewhere(project, flink, place, confirms_loss=confirms_loss, remedy=remedy)
    except RefusedError:
        raise
    except UnreachableError as error:
        raise RefusedError(
            f"{job}: a Flink job of it may be running: {error.message}",
            remedy="try again once the cluster answers",
        ) from error
    except SluiceError as error:
        raise RefusedError(f"{job}: a Flink job of it may be running: {error}") from error
    for each in found:
        if each.state.is_terminal or (each.id != place.flink_job_id and each.name != job):
            continue
        is_own = each.id == place.flink_job_id
        raise RefusedError(
            f"{job}: its Flink job {each.id} is {each.state.value} on {project.flink_url}"
            if is_own
            else f"{job}: Flink job {each.id} on {project.flink_url} has this name, and is not in the ledger",
            remedy=f"stop it first: sluice suspend {job}" if is_own else "cancel it in Flink's UI first",
        )
    if not ending.has_ended(state):
        raise RefusedError(
            f"{job}: its Flink job {place.flink_job_id} runs on {project.flink_url}, which omits it from its job list",
            remedy="try again in a moment; if this persists, see the JobManager's log",
        )
