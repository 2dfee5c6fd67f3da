"""Waiting for a savepoint in the triggerer: no worker slot is held."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from sluice.errors import UnreachableError
from sluice.operation.savepoint import await_savepoint


class SavepointTrigger(BaseTrigger):
    """Fires when a savepoint is complete or there will be none, when its time is over, or when nobody answers.

    Args:
        flink_url: The cluster's REST address.
        ordered: The savepoint, as `sluice.operation.savepoint.Ordered`.
        deadline: Unix time, seconds.
    """

    def __init__(self, *, flink_url: str, ordered: dict[str, Any], deadline: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flink_url = flink_url
        self.ordered = ordered
        self.deadline = deadline

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class and arguments."""
        given = {"flink_url": self.flink_url, "ordered": self.ordered, "deadline": self.deadline}
        return f"{__name__}.SavepointTrigger", given

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """One event: {ordered, location, failure, unreachable}; one of the last three is not None."""
        told: dict[str, Any] = {"ordered": self.ordered, "location": None, "failure": None, "unreachable": None}
        waiting = await_savepoint(self.flink_url, self.ordered["flink_job_id"], self.ordered["trigger_id"])
        try:
            seen = await asyncio.wait_for(waiting, max(0.0, self.deadline - time.time()))
            told |= {"location": seen.location, "failure": seen.failure}
        except TimeoutError:
            told["failure"] = "it was not complete in time"
        except UnreachableError as error:
            told["unreachable"] = str(error)
        yield TriggerEvent(told)  # type: ignore[no-untyped-call]
