"""Checks that refuse a request while it is planned, before anything is changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from sluice.client.protocol import Graph, State
from sluice.errors import FlinkError, RefusedError
from sluice.flink import calls
from sluice.flink.client import FlinkClient
from sluice.flink.models import AllocatedSlot
from sluice.kafka.client import Brokers
from sluice.ledger.tables import Operation, Placement, Release
from sluice.plan.model import Change, Kind, Mode
from sluice.plan.request import DeployRequest
from sluice.plan.view import ClusterView
from sluice.project import Project
from sluice.release.target import Target
from sluice.state.change import StateChange
from sluice.state.directories import Directories
from sluice.state.offsets import Continuity, check_offsets, offsets_by_partition
from sluice.state.situation import Runs, Situation, Stopped, Stopping, Suspended


def check_expected_release(job: str, request: DeployRequest, place: Placement | None) -> None:
    """Refuse a request that expects another release than the deployed one.

    Raises:
        RefusedError: another release has been deployed since.
    """
    if request.expected_release is None or place is None or place.release == request.expected_release:
        return
    raise RefusedError(
        f"{job}: the request expects release {request.expected_release} to be deployed, and release {place.release} is",
        remedy="check the job, and repeat the request if it still applies",
    )


def refuse_suspended(job: str, request: DeployRequest, situation: Situation, active: Operation | None) -> None:
    """Refuse to start a job that is suspended or being suspended, unless the request says so.

    A resume is refused unless the job is suspended, or stopped by an operation that didn't finish.

    Raises:
        RefusedError: one of these applies.
    """
    starts = request.kind in ("deploy", "rollback") and not request.resume_suspended
    if starts and isinstance(situation, Stopping) and situation.suspends:
        raise RefusedError(
            f"{job} is being suspended since {situation.place.since:%Y-%m-%d %H:%M} UTC, and the process that "
            "suspends it has ended",
            remedy=f"sluice suspend {job} completes the suspension; sluice resume {job} runs it as it was; sluice "
            f"deploy {job} --wake starts the desired release from its state",
        )
    if starts and isinstance(situation, Suspended):
        raise RefusedError(
            f"{job} is suspended since {situation.place.since:%Y-%m-%d %H:%M} UTC",
            remedy=f"sluice resume {job} runs it as it was; sluice deploy {job} --wake starts the "
            "desired release from the same state",
        )
    is_begun = active is not None and active.kind == "resume"
    if request.kind == "resume" and not is_begun and not isinstance(situation, Suspended | Stopped | Stopping):
        raise RefusedError(f"{job} is not suspended", remedy=f"see sluice status {job}")


def refuse_mode(job: str, request: DeployRequest, breaking: Iterable[Change]) -> None:
    """Refuse a mode that keeps the state which the release abandons on purpose.

    Raises:
        RefusedError: `state_version` has changed, and the mode isn't stateless.
    """
    version = next((change for change in breaking if change.path == "state_version"), None)
    if version is None or request.mode in (None, Mode.STATELESS):
        return
    raise RefusedError(
        f"{job}: state_version {version.old} becomes {version.new}, which abandons the state, and mode "
        f"{request.mode} would take it over",
        remedy="leave the mode out, or take mode stateless",
    )


def refuse_without_change(job: str, request: DeployRequest, active: Operation | None, running: Release | None) -> None:
    """Refuse mode stateless for a job that runs the target and has passed its gates.

    A retry of a stateless deploy whose gates haven't passed isn't refused.

    Raises:
        RefusedError: nothing would restart, so no state would be abandoned.
    """
    is_proven = running is not None and running.healthy_at is not None
    if request.mode != Mode.STATELESS or active is not None or not is_proven:
        return
    raise RefusedError(
        f"{job} runs this release already: mode stateless would abandon nothing",
        remedy=f"raise the job's state_version; or run sluice suspend {job}, then sluice deploy {job} --mode stateless "
        "--wake",
    )


def unused_mode(request: DeployRequest) -> tuple[str, ...]:
    """The reason for a plan whose mode has no effect."""
    return (f"mode {request.mode} has no effect: the job is not replaced",) if request.mode else ()


def no_way_back(project: Project, former: Release | None, target: Target) -> str | None:
    """Why the running release could not be run again; None: it could.

    A release stores only digests of its secrets, so it needs the values in the deployment file.
    """
    if former is None or former.fingerprint == target.fingerprint:
        return None
    try:
        project.resolve_secrets(former.job, former.resolved, former.overrides)
    except RefusedError as error:
        return f"no way back to release {former.number}, should this one fail: {error.message}"
    return None


def state_would_be_lost(job: str, kind: Kind, change: StateChange) -> RefusedError:
    """The refusal of a graph without an operator for some of the state."""
    lost = ", ".join(f"{operator.name} ({operator.size:,} bytes)" for operator in change.dropped)
    new = ", ".join(operator.name for operator in change.added) or "none"
    remedy = "keep the operators as they are, or raise the job's state_version to abandon its state on purpose"
    if kind == "rollback":
        remedy = "take mode stateless to go back without state, from the job's current offsets"
    return RefusedError(
        f"{job}: the state of {lost} would be lost: no operator of the new graph takes it (new ones: {new})",
        remedy=remedy,
    )


def check_mode(view: ClusterView, target: Target, mode: Mode) -> None:
    """Refuse a mode by which the running job can't hand over.

    Raises:
        RefusedError: there is no savepoint directory, or Flink deletes the checkpoints with the job.
    """
    job, situation = view.job, view.situation
    if not isinstance(situation, Runs):
        return
    if mode == Mode.LAST_STATE:
        if not view.keeps_checkpoints(situation.place.flink_job_id):
            raise RefusedError(
                f"{job}: mode last-state needs checkpoints that outlive a cancel, and this job's are deleted",
                remedy="set execution.checkpointing.externalized-checkpoint-retention to RETAIN_ON_CANCELLATION "
                "and redeploy with mode savepoint once",
            )
    else:
        view.directories(target).savepoints(view.project.environment, job, "-")


def check_max_parallelism(job: str, held: State | None, graph: Graph) -> None:
    """Refuse a parallelism above the max parallelism in the state: Flink would refuse it when the job is restored.

    Raises:
        RefusedError: a vertex has more subtasks than the max parallelism of one of its operators' state.
    """
    most = {operator.id: operator.max_parallelism for operator in held.operators} if held else {}
    for vertex in graph.vertices:
        limit = min((most[each.id] for each in vertex.operators if most.get(each.id, 0) > 0), default=None)
        if limit is not None and vertex.parallelism > limit:
            raise RefusedError(
                f"{job}: the state of {vertex.name} has max parallelism {limit}, and the new release has parallelism "
                f"{vertex.parallelism}",
                remedy=f"set the parallelism to {limit} or less, or take mode stateless, which abandons the state",
            )


def check_slots(flink: FlinkClient, directories: Directories, situation: Situation, graph: Graph) -> None:
    """Refuse a release that would wait for task slots after the stop.

    Raises:
        RefusedError: there are too few slots.
    """
    if not isinstance(situation, Runs) or directories.is_elastic:
        return
    if graph.slots <= flink.send(calls.overview()).slots_available:
        return
    # Slots that the job frees between the two requests are counted twice rather than not at all.
    freed = _held_slots(flink, situation.place.flink_job_id)
    free = flink.send(calls.overview()).slots_available
    if graph.slots > free + freed:
        raise RefusedError(
            f"{situation.place.job}: {graph.slots} task slots are needed; {free} are free and the running job frees "
            f"{freed}",
            remedy="lower the parallelism, or add TaskManagers",
        )


def _held_slots(flink: FlinkClient, job_id: str) -> int:
    """The slots that a job holds now; a job that restarts may hold all that it needs, or none."""
    found = flink.send(calls.task_managers()).taskmanagers
    taken = [manager for manager in found if manager.free_slots < manager.slots_number]
    return sum(slot.job_id == job_id for manager in taken for slot in _allocated(flink, manager.id))


def _allocated(flink: FlinkClient, manager: str) -> Sequence[AllocatedSlot]:
    try:
        return flink.send(calls.task_manager(manager)).allocated_slots
    except FlinkError as error:
        if error.status != HTTPStatus.NOT_FOUND:
            raise
        # The TaskManager has ended since it was listed, and its slots with it.
        return ()


def check_positions(
    job: str,
    positions: Mapping[str, Mapping[Any, int]],
    topics: Iterable[str],
    brokers: Brokers,
    *,
    abandons: bool,
) -> Continuity:
    """Compare the state's positions with the topics.

    Records that retention has deleted before they were read are reported and not refused: no mode brings them back.

    Raises:
        RefusedError: a topic ends before the job's position, so it was deleted and created again.
        UnreachableError: the broker doesn't answer.
    """
    wanted = offsets_by_partition(positions, topics)
    there = brokers.describe(sorted({topic for topic, _ in wanted}))
    held = check_offsets(wanted, brokers.offsets(there))
    if held.beyond and not abandons:
        names = ", ".join(f"{topic}-{number} ({wanted[topic, number]:,})" for topic, number in held.beyond)
        raise RefusedError(
            f"{job}: Kafka ends before the job's position in {names}: the topic was deleted and created again",
            remedy="take mode stateless: it starts at the new topic's beginning, without the old state",
        )
    return held
