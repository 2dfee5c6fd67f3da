"""Finds a job on the cluster, by its id if the list of jobs isn't sufficient."""

from __future__ import annotations

from sluice.client.protocol import RELEASE
from sluice.errors import FlinkError, RefusedError, UnreachableError
from sluice.flink import calls
from sluice.flink.client import FlinkClient
from sluice.flink.ending import has_ended, job_state
from sluice.flink.identity import Identity, identify
from sluice.flink.models import JobState, JobSummary
from sluice.ledger.submissions import submissions
from sluice.ledger.tables import Placement
from sluice.ledger.values import Phase
from sluice.project import Project
from sluice.state.situation import Lost, Runs, Situation, locate

_INITIALIZED_WITHIN = 10.0
"""Seconds until Flink must show the parameters of a job that is being initialized."""
_PAUSE = 0.1
BRING_BACK = (
    "bring the former cluster back, or name it again in the deployment file or its connection; if nothing of the job "
    "runs there any more, confirm that: "
)
"""The start of the next step if the cluster on which a job was started doesn't answer; a command follows."""
_BEFORE_ITS_GRAPH = (JobState.INITIALIZING, JobState.CREATED)


def find(
    project: Project, flink: FlinkClient, job: str, place: Placement | None, *, confirms_loss: bool = False
) -> Situation:
    """The situation of the job.

    Args:
        project: The project.
        flink: Its cluster.
        job: The job's name.
        place: The job's placement in the ledger.
        confirms_loss: A person has confirmed that nothing of the job runs on the cluster where it was started: that
            cluster need not answer. If it answers that the job runs, the request is refused all the same.

    Raises:
        RefusedError: a job of this name runs that the ledger does not know, or has as stopped; or the job was started
            on another cluster, and runs there, or may run there.
        UnreachableError: the cluster doesn't answer, or doesn't list this job.
    """
    listed = flink.send(calls.jobs()).jobs
    if place is None:
        return locate(job, place, listed)
    listed, state = _listed_with_state(flink, place, listed)
    if state is None:
        refuse_elsewhere(project, flink, place, confirms_loss=confirms_loss)
    known = submissions(project.ledger, place)
    if has_ended(state):
        listed = tuple(each for each in listed if each.id != place.flink_job_id or each.state.is_terminal)
    situation = locate(job, place, listed, is_answered=known.is_answered)
    if known.is_shared and isinstance(situation, Lost):
        return Lost(place, situation.is_known, is_shared=True)
    if known.is_shared and isinstance(situation, Runs) and running_release(flink, place.flink_job_id) != place.release:
        return Lost(place, is_known=True, is_shared=True)
    return situation


def _listed_with_state(
    flink: FlinkClient, place: Placement, listed: tuple[JobSummary, ...]
) -> tuple[tuple[JobSummary, ...], JobState | None]:
    """The jobs of the cluster with the state of the one at a placement; None: Flink doesn't know it.

    Flink's list lacks a job whose JobMaster doesn't answer, and may contain one that has just ended.
    """
    found = _summary(listed, place)
    if found is not None and (found.state.is_terminal or place.phase not in (Phase.STOPPED, Phase.SUSPENDED)):
        return listed, found.state
    state = job_state(flink, place.flink_job_id)
    if found is not None or state is None or state.is_terminal:
        return listed, state
    # The job may have started between the two requests.
    listed = flink.send(calls.jobs()).jobs
    if _summary(listed, place) is None:
        raise UnreachableError(
            f"{place.job}: Flink at {flink.url} leaves Flink job {place.flink_job_id} out of its list of jobs, and by "
            f"its id it is {state.value}: its JobMaster does not answer",
            remedy="try again in a moment; if it persists, see the JobManager's log",
        )
    return listed, state


def _summary(listed: tuple[JobSummary, ...], place: Placement) -> JobSummary | None:
    return next((each for each in listed if each.id == place.flink_job_id), None)


def running_release(flink: FlinkClient, flink_job_id: str) -> int | None:
    """The release that a Flink job was submitted as; None: an older Sluice submitted it, without that parameter.

    Raises:
        UnreachableError: Flink doesn't show the job's parameters yet.
    """
    until = flink.clock.monotonic() + _INITIALIZED_WITHIN
    while (parameters := flink.send(calls.job_config(flink_job_id)).parameters) is None:
        if job_state(flink, flink_job_id) not in _BEFORE_ITS_GRAPH:
            return None
        if flink.clock.monotonic() > until:
            raise UnreachableError(
                f"Flink at {flink.url} does not show yet which release Flink job {flink_job_id} is",
                remedy="try again in a moment",
            )
        flink.clock.sleep(_PAUSE)
    number = parameters.get(RELEASE, "")
    return int(number) if number.isdigit() else None


def refuse_elsewhere(
    project: Project, flink: FlinkClient, place: Placement, *, confirms_loss: bool = False, remedy: str | None = None
) -> None:
    """Refuse to treat a job as ended if it was started on another cluster than the current one, and may run there.

    Args:
        project: The project.
        flink: Its cluster, which doesn't know the job.
        place: The job's placement in the ledger.
        confirms_loss: See `find`.
        remedy: See `refuse_on_other_cluster`.

    Raises:
        RefusedError: it runs there, or that is unknown.
        UnreachableError: the current cluster doesn't answer.
    """
    if place.phase in (Phase.STOPPED, Phase.SUSPENDED) and submissions(project.ledger, place).is_answered:
        # Its former cluster has confirmed its end.
        return
    started_on = Identity.of(place.cluster)
    refuse_on_other_cluster(
        project, flink, place.job, place.flink_job_id, started_on, confirms_loss=confirms_loss, remedy=remedy
    )


def refuse_on_other_cluster(
    project: Project,
    flink: FlinkClient,
    name: str,
    flink_job_id: str,
    started_on: Identity | None,
    *,
    confirms_loss: bool = False,
    remedy: str | None = None,
    remedy_where_it_runs: str | None = None,
) -> None:
    """The same as `refuse_elsewhere`, for any Flink job.

    Args:
        project: The project.
        flink: Its cluster, which doesn't know the job.
        name: The job's name, for the message.
        flink_job_id: The job.
        started_on: The cluster where it was submitted; None: unknown, assumed to be the current one.
        confirms_loss: See `find`.
        remedy: The next step if the former cluster doesn't answer; None: that for a job.
        remedy_where_it_runs: The next step if the job runs on the former cluster; None: that for a job.
    """
    if started_on is None:
        return
    now = identify(flink, project.flink_name)
    if started_on.is_same(now):
        return
    what = (
        f"{name}: Flink job {flink_job_id} was started on the cluster {started_on.words}, and the cluster of this "
        f"environment is {now.words} now"
    )
    try:
        with project.connect(started_on.url) as former:
            found = identify(former, started_on.name)
            state = job_state(former, flink_job_id) if found.resembles(started_on) else None
    except (UnreachableError, FlinkError) as error:
        if confirms_loss:
            return
        raise RefusedError(
            f"{what}; the former cluster can't be asked whether the job still runs there: {error.message}",
            remedy=remedy or _unless_confirmed(project, name),
        ) from error
    if not found.resembles(started_on):
        if confirms_loss:
            return
        raise RefusedError(
            f"{what}; a different cluster now answers at {started_on.url} ({found.words}), so whether the job still "
            "runs on the former one is unknown",
            remedy=remedy or _unless_confirmed(project, name),
        )
    if not has_ended(state) and state is not None:
        raise RefusedError(
            f"{what}; it is {state.value} there",
            remedy=remedy_where_it_runs
            or "name the former cluster again, in the deployment file or in the connection that it names. To move the "
            f"job to the new cluster, run sluice suspend {name} while the former one is named, then name the new one "
            f"and run sluice resume {name}",
        )


def _unless_confirmed(project: Project, name: str) -> str:
    """The next step that confirms the loss: `deploy`, or `forget` for a job whose file was removed."""
    command = "deploy" if name in project.catalog.jobs else "forget"
    return f"{BRING_BACK}sluice {command} {name} --confirm-lost-cluster"
