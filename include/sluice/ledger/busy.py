"""Refusals of an operation on a job that another operation holds."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from sqlalchemy.orm import Session

from sluice.errors import BusyError
from sluice.ledger.operation_handle import is_touched
from sluice.ledger.tables import Operation


def just_begun(job: str) -> BusyError:
    """The error for an operation whose row conflicts with one that another process has just inserted."""
    return BusyError(f"{job}: another operation has just begun", remedy="wait for its end, then try again")


def refuse_held(active: Operation, holder: str, is_gone: Callable[[str], bool], now: datetime) -> None:
    """Raise if another holder, which may be alive, holds the operation.

    Raises:
        BusyError: its lease has not expired, and the holder is not known to have ended.
    """
    if active.holder == holder or active.lease_until <= now or is_gone(active.holder):
        return
    raise BusyError(
        f"{active.job}: {active.kind} by {active.holder} has been in progress since {active.started_at:%H:%M:%S} UTC",
        remedy=f"wait for its end; its lease expires at {active.lease_until:%H:%M:%S} UTC unless it is renewed",
    )


def refuse_own(session: Session, active: Operation, holder: str, kind: str, now: datetime) -> None:
    """Raise if the holder has another operation in progress, for instance in another task of its run.

    Raises:
        BusyError: that operation is of another kind, or has begun to stop or start a job.
    """
    if active.holder != holder or active.lease_until <= now:
        return
    if active.kind == kind and not is_touched(session, active):
        return
    raise BusyError(
        f"{active.job}: {holder} has had another operation in progress since {active.started_at:%H:%M:%S} UTC: "
        f"{active.kind} of release {active.release}",
        remedy=f"continue that operation, or wait; its lease expires at {active.lease_until:%H:%M:%S} UTC",
    )
