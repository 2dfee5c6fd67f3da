"""The trigger with which a task waits for a job's lock, without a worker slot."""

from __future__ import annotations

from collections.abc import AsyncIterator

from airflow.triggers.base import TriggerEvent
from asgiref.sync import sync_to_async

from sluice.airflow.project_trigger import ProjectTrigger
from sluice.airflow.projects import ledger_of

_LEDGER_PAUSE = 3.0
"""Seconds between two readings of the ledger."""
_HOLDER_CHECK = 60.0
"""Seconds after which the trigger fires anyway, so that the task checks whether the holder is alive."""


class OperationTrigger(ProjectTrigger):
    """Fires when an operation has ended, and after a minute at the latest, since its holder may have died.

    Args:
        root, environment: The project; see `ProjectTrigger`.
        operation: The operation's id.
    """

    def __init__(self, *, root: str | None, environment: str | None, operation: str) -> None:
        super().__init__(root=root, environment=environment)
        self.operation = operation

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event, without content."""
        until = self.clock.monotonic() + _HOLDER_CHECK
        # A loop: the ledger sends no events.
        while self.clock.monotonic() < until and await sync_to_async(self._is_in_progress)():
            await self.clock.pause(_LEDGER_PAUSE)
        yield TriggerEvent({})  # type: ignore[no-untyped-call]

    def _is_in_progress(self) -> bool:
        ledger = ledger_of(self.root, self.environment)
        return ledger.operation(self.operation).active_job is not None
