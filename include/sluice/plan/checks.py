"""What is refused while planning, so before anything is touched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from confluent_kafka.admin import AdminClient

from sluice.client.protocol import Graph, State
from sluice.errors import FlinkError, RefusedError
from sluice.flink import calls
from sluice.flink.client import FlinkClient
from sluice.flink.models import AllocatedSlot
from sluice.kafka.offsets import read_offsets
from sluice.kafka.topics import describe
from sluice.ledger.tables import Operation, Placement, Release
from sluice.plan.model import Change, Kind, Mode
from sluice.plan.request import Request
from sluice.project import Project
from sluice.release.target import Target
from sluice.state.change import StateChange
from sluice.state.directories import Directories
from sluice.state.offsets import Continuity, hold_against, offsets_by_partition
from sluice.state.situation import Runs, Situation, Stopped, Stopping, Suspended


def check_expected_release(job: str, request: Request, place: Placement | None) -> None:
    """Refuse to do to one release what was asked for of another.

    Raises:
        RefusedError: somebody has deployed since.
    """
    if request.seen is None or place is None or place.release == request.seen:
        return
    raise RefusedError(
        f"{job}: this was asked for when release {request.seen} was deployed, and release {place.release} is by now",
        remedy="look at the job, and ask again if it is still meant",
    )


def refuse_suspended(job: str, request: Request, situation: Situation, active: Operation | None) -> None:
    """A job that is suspended, or is to be, is started on purpose only.

    Only a suspended one is resumed, or one whose resuming died.
    """
    starts = request.kind in ("deploy", "rollback") and not request.wake
    if starts and isinstance(situation, Stopping) and situation.suspends:
        raise RefusedError(
            f"{job} is being suspended since {situation.place.since:%Y-%m-%d %H:%M} UTC, and whoever did it is gone",
            remedy=f"sluice suspend {job} brings that to its end; sluice resume {job} runs it as it was; sluice deploy "
            f"{job} --wake starts what is desired now from its state",
        )
    if starts and isinstance(situation, Suspended):
        raise RefusedError(
            f"{job} is suspended since {situation.place.since:%Y-%m-%d %H:%M} UTC",
            remedy=f"sluice resume {job} runs it as it was; sluice deploy {job} --wake starts what is "
            "desired now from the same state",
        )
    is_begun = active is not None and active.kind == "resume"
    if request.kind == "resume" and not is_begun and not isinstance(situation, Suspended | Stopped | Stopping):
        raise RefusedError(f"{job} is not suspended", remedy=f"see sluice status {job}")


def refuse_mode(job: str, request: Request, breaking: Iterable[Change]) -> None:
    """Refuse a mode that takes along what the release leaves behind on purpose.

    Raises:
        RefusedError: `state_version` is another one, and the mode isn't stateless.
    """
    version = next((change for change in breaking if change.path == "state_version"), None)
    if version is None or request.mode in (None, "stateless"):
        return
    raise RefusedError(
        f"{job}: state_version {version.old} becomes {version.new}, which abandons the state, and mode "
        f"{request.mode} would take it over",
        remedy="leave the mode out, or take mode stateless",
    )


def refuse_without_change(job: str, request: Request, active: Operation | None, running: Release | None) -> None:
    """Refuse to abandon the state of a job that runs what is wanted, unless that was just done and is to be proven.

    Raises:
        RefusedError: nothing would restart, and so nothing would be abandoned.
    """
    is_proven = running is not None and running.healthy_at is not None
    if request.mode != "stateless" or active is not None or not is_proven:
        return
    raise RefusedError(
        f"{job} runs this release already: mode stateless would abandon nothing",
        remedy=f"raise the job's state_version; or run sluice suspend {job}, then sluice deploy {job} --mode stateless "
        "--wake",
    )


def unused_mode(request: Request) -> tuple[str, ...]:
    """What is to be said of a mode where nothing is handed over."""
    return (f"nothing is handed over, by mode {request.mode} or any other",) if request.mode else ()


def no_way_back(project: Project, former: Release | None, target: Target) -> str | None:
    """Why the release that runs could not be run again; None: it could.

    A release keeps digests of its secrets: one that the deployment file doesn't give any more is gone.
    """
    if former is None or former.fingerprint == target.fingerprint:
        return None
    try:
        project.resolve_secrets(former.job, former.resolved, former.overrides)
    except RefusedError as error:
        return f"no way back to release {former.number}, should this one fail: {error.message}"
    return None


def state_would_be_lost(job: str, kind: Kind, change: StateChange) -> RefusedError:
    """The refusal of a graph that leaves state behind."""
    lost = ", ".join(f"{operator.name} ({operator.size:,} bytes)" for operator in change.dropped)
    new = ", ".join(operator.name for operator in change.added) or "none"
    remedy = "keep the operators as they are, or raise the job's state_version to abandon its state on purpose"
    if kind == "rollback":
        remedy = "take mode stateless to go back without state, from where the job stands"
    return RefusedError(
        f"{job}: the state of {lost} would be lost: no operator of the new graph takes it (new ones: {new})",
        remedy=remedy,
    )


def check_mode(
    flink: FlinkClient, directories: Directories, environment: str, situation: Runs | Stopping, mode: Mode
) -> None:
    """The running job can hand over that way.

    Raises:
        RefusedError: there is nowhere to put a savepoint, or checkpoints go with the job.
    """
    if isinstance(situation, Stopping):
        return
    job = situation.place.job
    if mode == "last-state":
        if not flink.send(calls.checkpoint_config(situation.place.flink_job_id)).is_retained:
            raise RefusedError(
                f"{job}: mode last-state needs checkpoints that outlive a cancel, and this job's are deleted",
                remedy="set execution.checkpointing.externalized-checkpoint-retention to RETAIN_ON_CANCELLATION "
                "and redeploy with mode savepoint once",
            )
    else:
        directories.savepoints(environment, job, "-")


def check_max_parallelism(job: str, held: State | None, graph: Graph) -> None:
    """What Flink would refuse to restore, since state can't be spread so widely, is refused before the stop.

    Raises:
        RefusedError: a vertex has more subtasks than the state of one of its operators can be spread over.
    """
    most = {operator.id: operator.max_parallelism for operator in held.operators} if held else {}
    for vertex in graph.vertices:
        limit = min((most[each.id] for each in vertex.operators if most.get(each.id, 0) > 0), default=None)
        if limit is not None and vertex.parallelism > limit:
            raise RefusedError(
                f"{job}: the state of {vertex.name} can be spread over {limit} subtasks, and parallelism "
                f"{vertex.parallelism} is asked for",
                remedy=f"set the parallelism to {limit} or less; mode stateless leaves the state behind",
            )


def check_slots(flink: FlinkClient, directories: Directories, situation: Situation, graph: Graph) -> None:
    """What would wait for slots after the stop is refused before it.

    Raises:
        RefusedError: there are too few.
    """
    if not isinstance(situation, Runs) or directories.is_elastic:
        return
    if graph.slots <= flink.send(calls.overview()).slots_available:
        return
    # What a job gives back in between is counted twice rather than not at all.
    freed = _held_slots(flink, situation.place.flink_job_id)
    free = flink.send(calls.overview()).slots_available
    if graph.slots > free + freed:
        raise RefusedError(
            f"{situation.place.job}: {graph.slots} task slots are needed; {free} are free and the running job frees "
            f"{freed}",
            remedy="lower the parallelism, or add TaskManagers",
        )


def _held_slots(flink: FlinkClient, job_id: str) -> int:
    """How many slots a job holds: one that restarts may hold all that it needs, or wait for them."""
    found = flink.send(calls.task_managers()).taskmanagers
    taken = [manager for manager in found if manager.free_slots < manager.slots_number]
    return sum(slot.job_id == job_id for manager in taken for slot in _allocated(flink, manager.id))


def _allocated(flink: FlinkClient, manager: str) -> Sequence[AllocatedSlot]:
    try:
        return flink.send(calls.task_manager(manager)).allocated_slots
    except FlinkError as error:
        if error.status != HTTPStatus.NOT_FOUND:
            raise
        # It is gone since it was listed, and so are its slots.
        return ()


def check_positions(
    job: str,
    positions: Mapping[str, Mapping[Any, int]],
    topics: Iterable[str],
    admin: AdminClient,
    servers: str,
    *,
    abandons: bool,
) -> Continuity:
    """The topics go on where the state stands.

    What retention has deleted meanwhile is told and not refused: it is gone whatever is done.

    Raises:
        RefusedError: a topic ends before the job's position, so it is another topic than the one that was read.
        UnreachableError: the broker doesn't answer.
    """
    wanted = offsets_by_partition(positions, topics)
    there = describe(admin, sorted({topic for topic, _ in wanted}), servers)
    held = hold_against(wanted, read_offsets(admin, there, servers))
    if held.beyond and not abandons:
        names = ", ".join(f"{topic}-{number} ({wanted[topic, number]:,})" for topic, number in held.beyond)
        raise RefusedError(
            f"{job}: Kafka ends before the job's position in {names}: the topic was made anew",
            remedy="take mode stateless: it starts at the new topic's beginning, without the old state",
        )
    return held
