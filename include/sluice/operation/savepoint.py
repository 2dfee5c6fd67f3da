"""Take a savepoint of a running job, which keeps running.

This is an operation: its lock keeps others from stopping the job. A retry after a crash requests the same savepoint.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass

from sluice.errors import FlinkError, OperationError, RefusedError
from sluice.flink import calls
from sluice.flink.client import FlinkClient
from sluice.flink.models import SavepointResult
from sluice.ledger.placement_version import PlacementVersion
from sluice.ledger.values import Outcome
from sluice.operation.holder import is_gone
from sluice.project import Project
from sluice.state.directories import directories_at
from sluice.state.locate import find
from sluice.state.situation import Runs

_PAUSE = 0.5
"""Seconds between two requests for the result."""
_FORMAT = "NATIVE"
"""The format of a stop's savepoint too."""
Log = Callable[[str], None]


@dataclass(frozen=True)
class Ordered:
    """A savepoint that was requested.

    Attributes:
        operation: The operation's id.
        trigger_id: Flink's id of the request, chosen by Sluice: a repeated request makes no second savepoint.
    """

    job: str
    operation: str
    release: int
    flink_job_id: str
    trigger_id: str


@dataclass(frozen=True)
class Look:
    """The progress of a savepoint: its location, or its failure, or neither while it is being written."""

    location: str | None = None
    failure: str | None = None


@dataclass(frozen=True)
class Taken:
    """A completed savepoint."""

    job: str
    operation: str
    release: int
    flink_job_id: str
    savepoint: str


def order_savepoint(
    project: Project,
    job: str,
    holder: str,
    flink: FlinkClient,
    *,
    note: str | None = None,
    is_gone: Callable[[str], bool] = is_gone,
) -> Ordered:
    """Request a savepoint, or continue with the one that this holder has requested.

    Raises:
        RefusedError: the job doesn't run, or no savepoint directory is set.
        BusyError: another holder holds the job's lock.
        UnreachableError: the cluster doesn't answer.
    """
    ledger = project.ledger
    situation = find(project, flink, job, ledger.placement(job))
    if not isinstance(situation, Runs):
        raise RefusedError(f"{job} is not running", remedy=f"see sluice status {job}")
    place = situation.place
    directories = directories_at(project, flink, place)
    trigger_id = uuid.uuid4().hex
    directory = directories.savepoints(project.environment, job, trigger_id)
    operation = ledger.begin(
        job,
        kind="savepoint",
        holder=holder,
        release=place.release,
        is_gone=is_gone,
        details={"note": note},
        planned_for=PlacementVersion.of(place),
    )
    begun = operation.entry("savepoint", "order")
    if begun is not None and begun["flink_job_id"] == place.flink_job_id:
        trigger_id, directory = begun["trigger_id"], begun["directory"]
    else:
        operation.record(
            "savepoint", "order", flink_job_id=place.flink_job_id, trigger_id=trigger_id, directory=directory
        )
    try:
        flink.send(calls.savepoint(place.flink_job_id, trigger_id, directory, _FORMAT))
    except FlinkError as error:
        operation.finish(Outcome.FAILED, str(error))
        raise
    return Ordered(job, operation.id, place.release, place.flink_job_id, trigger_id)


def enter_savepoint(project: Project, ordered: Ordered, seen: Look) -> Taken:
    """Record the result of a requested savepoint in the ledger.

    Args:
        project: The project.
        ordered: The requested savepoint.
        seen: Its location or its failure.

    Raises:
        OperationError: the savepoint failed; the job keeps running.
    """
    operation = project.ledger.resume(ordered.operation)
    if seen.location is None:
        operation.finish(Outcome.FAILED, f"the savepoint failed: {seen.failure}")
        raise OperationError(
            f"{ordered.job}: the savepoint failed, the job runs on: {seen.failure}",
            remedy="see the Flink UI for the cause, and try again",
        )
    operation.add_savepoint(seen.location, release=ordered.release, flink_job_id=ordered.flink_job_id)
    operation.update(savepoint=seen.location, flink_job_id=ordered.flink_job_id)
    operation.finish(Outcome.TAKEN)
    return Taken(ordered.job, ordered.operation, ordered.release, ordered.flink_job_id, seen.location)


def take_savepoint(project: Project, job: str, holder: str, log: Log, note: str | None = None) -> Taken:
    """Request a savepoint and wait for it. Raises the errors of `order_savepoint` and `enter_savepoint`."""
    with project.connect() as flink:
        ordered = order_savepoint(project, job, holder, flink, note=note)
        log(f"savepoint of Flink job {ordered.flink_job_id[:8]}, release {ordered.release}")
        while (seen := _look(flink, ordered)) == Look():
            project.clock.sleep(_PAUSE)
    return enter_savepoint(project, ordered, seen)


async def await_savepoint(project: Project, flink_job_id: str, trigger_id: str) -> Look:
    """Wait until the savepoint is complete or has failed.

    Raises:
        UnreachableError: the cluster doesn't answer.
    """
    async with project.connect_async() as client:
        while True:
            try:
                seen = _seen(await client.send(calls.savepoint_result(flink_job_id, trigger_id)))
            except FlinkError as error:
                return Look(failure=error.message)
            if seen != Look():
                return seen
            await project.clock.pause(_PAUSE)


def _look(flink: FlinkClient, ordered: Ordered) -> Look:
    try:
        return _seen(flink.send(calls.savepoint_result(ordered.flink_job_id, ordered.trigger_id)))
    except FlinkError as error:
        # The JobManager was restarted, and no longer knows the request.
        return Look(failure=error.message)


def _seen(result: SavepointResult) -> Look:
    if not result.status.is_done:
        return Look()
    if result.failure or not result.location:
        return Look(failure=result.failure or "the JobManager reports no location")
    return Look(location=result.location)
