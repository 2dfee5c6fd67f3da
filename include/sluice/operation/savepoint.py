"""Taking a savepoint of a job that goes on running.

It is an operation: nobody stops the job meanwhile, and whoever goes on after a crash asks for the same savepoint.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from sluice.errors import FlinkError, OperationError, RefusedError
from sluice.flink import calls
from sluice.flink.access import Access
from sluice.flink.client import AsyncFlinkClient, FlinkClient
from sluice.flink.models import SavepointResult
from sluice.ledger.placement_version import PlacementVersion
from sluice.operation.holder import is_gone
from sluice.project import Project
from sluice.state.directories import directories_at
from sluice.state.locate import find
from sluice.state.situation import Runs

_PAUSE = 0.5
"""Seconds between two looks."""
_FORMAT = "NATIVE"
"""As a stop's savepoint."""
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Ordered:
    """A savepoint that was asked for.

    Attributes:
        operation: The operation's id.
        trigger_id: Flink's id of the request, chosen by us: the same request twice makes one savepoint.
    """

    job: str
    operation: str
    release: int
    flink_job_id: str
    trigger_id: str


@dataclass(frozen=True)
class Look:
    """How a savepoint stands; neither where it lies nor a failure: it is being written."""

    location: str | None = None
    failure: str | None = None


@dataclass(frozen=True)
class Taken:
    """A savepoint that is complete."""

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
    """Ask for a savepoint, or go on with the one that this holder has asked for.

    Raises:
        RefusedError: the job doesn't run, or there is nowhere to put a savepoint.
        BusyError: somebody else holds the job.
        UnreachableError: the cluster doesn't answer.
    """
    ledger = project.ledger
    situation = find(project, flink, job, ledger.placement(job))
    if not isinstance(situation, Runs):
        raise RefusedError(f"{job} does not run", remedy=f"see sluice status {job}")
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
        stand=PlacementVersion.of(place),
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
        operation.finish("failed", str(error))
        raise
    return Ordered(job, operation.id, place.release, place.flink_job_id, trigger_id)


def enter_savepoint(project: Project, ordered: Ordered, seen: Look) -> Taken:
    """Enter in the ledger what has become of a savepoint that was asked for.

    Args:
        project: The project.
        ordered: What was asked for.
        seen: Where it lies, or why there is none.

    Raises:
        OperationError: there is none; the job runs on.
    """
    operation = project.ledger.resume(ordered.operation)
    if seen.location is None:
        operation.finish("failed", f"the savepoint failed: {seen.failure}")
        raise OperationError(
            f"{ordered.job}: the savepoint failed, the job runs on: {seen.failure}",
            remedy="see the Flink UI for the cause, and try again",
        )
    operation.add_savepoint(seen.location, release=ordered.release, flink_job_id=ordered.flink_job_id)
    operation.update(savepoint=seen.location, flink_job_id=ordered.flink_job_id)
    operation.finish("taken")
    return Taken(ordered.job, ordered.operation, ordered.release, ordered.flink_job_id, seen.location)


def take_savepoint(project: Project, job: str, holder: str, tell: Tell, note: str | None = None) -> Taken:
    """Ask for a savepoint and wait for it; see `order_savepoint` and `enter_savepoint` for what it raises."""
    with FlinkClient(project.flink) as flink:
        ordered = order_savepoint(project, job, holder, flink, note=note)
        tell(f"savepoint of Flink job {ordered.flink_job_id[:8]}, release {ordered.release}")
        while (seen := _look(flink, ordered)) == Look():
            time.sleep(_PAUSE)
    return enter_savepoint(project, ordered, seen)


async def await_savepoint(flink: Access, flink_job_id: str, trigger_id: str) -> Look:
    """Wait until the savepoint is done, or there will be none.

    Raises:
        UnreachableError: the cluster doesn't answer.
    """
    async with AsyncFlinkClient(flink) as client:
        while True:
            try:
                seen = _seen(await client.send(calls.savepoint_result(flink_job_id, trigger_id)))
            except FlinkError as error:
                return Look(failure=error.message)
            if seen != Look():
                return seen
            await asyncio.sleep(_PAUSE)


def _look(flink: FlinkClient, ordered: Ordered) -> Look:
    try:
        return _seen(flink.send(calls.savepoint_result(ordered.flink_job_id, ordered.trigger_id)))
    except FlinkError as error:
        # The JobManager was lost, and with it what it knew.
        return Look(failure=error.message)


def _seen(result: SavepointResult) -> Look:
    if not result.status.is_done:
        return Look()
    if result.failure or not result.location:
        return Look(failure=result.failure or "the JobManager doesn't say where it lies")
    return Look(location=result.location)
