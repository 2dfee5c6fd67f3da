"""Waiting in the triggerer until the operation that holds a job has ended; no worker slot is held."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

from airflow.triggers.base import TriggerEvent
from asgiref.sync import sync_to_async

from sluice.airflow.project_trigger import ProjectTrigger
from sluice.airflow.projects import ledger_of

_LEDGER_PAUSE = 3.0
"""Seconds between two looks at the ledger."""
_LOOK_AGAIN = 60.0
"""Seconds after which the task itself looks whether the holder is alive: Airflow tells only tasks of it."""


class OperationTrigger(ProjectTrigger):
    """Fires when an operation has ended, and once a minute: whoever does it may be gone.

    Args:
        root, environment: The project; see `ProjectTrigger`.
        operation: Its id.
    """

    def __init__(self, *, root: str | None, environment: str | None, operation: str) -> None:
        super().__init__(root=root, environment=environment)
        self.operation = operation

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """One event, without content."""
        until = time.monotonic() + _LOOK_AGAIN
        # The ledger tells nobody by itself.
        while time.monotonic() < until and await sync_to_async(self._goes_on)():  # noqa: ASYNC110
            await asyncio.sleep(_LEDGER_PAUSE)
        yield TriggerEvent({})  # type: ignore[no-untyped-call]

    def _goes_on(self) -> bool:
        ledger = ledger_of(self.root, self.environment)
        return ledger.operation(self.operation).active_job is not None
