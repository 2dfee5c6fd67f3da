"""Waiting for a savepoint in the triggerer: no worker slot is held."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async

from sluice.airflow.base import project_of
from sluice.airflow.turn import ledger_of
from sluice.errors import UnreachableError
from sluice.operation.savepoint import await_savepoint


class SavepointTrigger(BaseTrigger):
    """Fires when a savepoint is complete or there will be none, when its time is over, or when nobody answers.

    Args:
        ordered: The savepoint, as `sluice.operation.savepoint.Ordered`.
        deadline: Unix time, seconds.
        token: The operation's fencing token when the wait began: whoever has it now is who waits.
        root: The project's directory; None: SLUICE_ROOT, or the working directory's.
        environment: Which file of deployments/ applies; None: SLUICE_ENVIRONMENT.
    """

    def __init__(
        self,
        *,
        ordered: dict[str, Any],
        deadline: float,
        token: int,
        root: str | None = None,
        environment: str | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.token = token
        self.root = root
        self.environment = environment
        self.ordered = ordered
        self.deadline = deadline

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class and arguments."""
        names = ("ordered", "deadline", "token", "root", "environment")
        return f"{__name__}.SavepointTrigger", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """One event: {ordered, location, failure, unreachable}; one of the last three is not None."""
        told: dict[str, Any] = {"ordered": self.ordered, "location": None, "failure": None, "unreachable": None}
        flink = (await sync_to_async(project_of)(self.root, self.environment)).flink
        waiting = await_savepoint(flink, self.ordered["flink_job_id"], self.ordered["trigger_id"])
        try:
            seen = await asyncio.wait_for(waiting, max(0.0, self.deadline - time.time()))
            told |= {"location": seen.location, "failure": seen.failure}
        except TimeoutError:
            told["failure"] = "it was not complete in time"
        except UnreachableError as error:
            told["unreachable"] = str(error)
        yield TriggerEvent(told)  # type: ignore[no-untyped-call]

    async def on_kill(self) -> None:
        """Let the job go that a task has held which was marked; a cleared one's next try holds it itself."""
        await sync_to_async(self.let_go)()

    def let_go(self) -> None:
        """End the operation, unless another try has it by now, or it has ended."""
        ledger = ledger_of(self.root, self.environment)
        operation = ledger.operation(self.ordered["operation"])
        if operation.active_job is not None and operation.token == self.token:
            ledger.resume(operation.id).finish("abandoned", "the run was given up; the savepoint may be complete")
