"""The job that an operation has started, suspended or found running."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sluice.ledger.operation_handle import OperationHandle
from sluice.ledger.tables import Placement
from sluice.ledger.values import Phase
from sluice.plan.model import Action
from sluice.release.versions import COUNTS

Log = Callable[[str], None]
"""Receives a line of progress."""


@dataclass(frozen=True)
class Started:
    """A job after the stages of a plan: started, unchanged or suspended.

    Attributes:
        flink_job_id: Its Flink job; None: it was suspended.
        restored_from: The savepoint or checkpoint that it was restored from.
        unchanged: This operation started no Flink job.
        recorded: A new release was recorded for the running job.
        positions: The next offset of the state that it was restored from, per topic and partition.
        former_job_id: The Flink job that was stopped for it.
        counts: Its reads count the records that they skip, as generated code does since version 2.
    """

    operation: str
    release: int
    flink_job_id: str | None
    restored_from: str | None
    unchanged: bool
    recorded: bool = False
    savepoint: str | None = None
    positions: Mapping[str, Any] | None = None
    former_job_id: str | None = None
    counts: bool = False


def read_started(operation: OperationHandle, place: Placement, action: Action) -> Started:
    """The job after the stages before `Verify`, from the operation's journal.

    Args:
        operation: The operation, which gets the Flink job and the state that it was restored from.
        place: The job's placement.
        action: The action of the plan.
    """
    stopped, submitted = operation.entry("stop", "stopped"), operation.entry("start", "submit")
    suspended = place.phase == Phase.SUSPENDED
    restored_from = None if suspended else place.restored_from
    operation.update(flink_job_id=place.flink_job_id, restored_from=restored_from)
    return Started(
        operation=operation.id,
        release=operation.row.release,
        flink_job_id=None if suspended else place.flink_job_id,
        restored_from=restored_from,
        unchanged=submitted is None and stopped is None and action == Action.NONE,
        recorded=action == Action.RECORD,
        savepoint=stopped["savepoint"] if stopped else None,
        positions=None if suspended else place.positions,
        former_job_id=stopped["flink_job_id"] if stopped else None,
        counts=bool(submitted and submitted.get("generated_code", 1) >= COUNTS),
    )
