"""A trigger that watches the event time of a job's output, by the ledger's samples."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta

from airflow.triggers.base import BaseEventTrigger, TriggerEvent
from asgiref.sync import sync_to_async

from sluice.airflow.project_trigger import ProjectTrigger
from sluice.airflow.projects import ledger_of
from sluice.errors import UnreachableError
from sluice.fleet.event_time import last_boundary, written_until

_PAUSE = 30.0
"""Seconds between two readings of the ledger; sweeps are minutes apart."""
_SAMPLES = timedelta(hours=1)
"""The age of the samples that are compared."""
_LEAST = 3
"""How many samples are compared regardless of their age."""
_SUBJECT = "event time"
"""The subject of the ledger's record of the last event."""


class EventTimeTrigger(ProjectTrigger, BaseEventTrigger):
    """Fires each time a job's output has passed another multiple of a period in event time.

    The ledger keeps the last event's moment, written after Airflow has the event. A restarted triggerer therefore
    sends the events that it missed, and may send the last one twice. The first reading sends no event.

    Args:
        job: The job's name.
        seconds: The period.
        root, environment: The project; see `ProjectTrigger`.
    """

    def __init__(self, *, job: str, seconds: float, root: str | None = None, environment: str | None = None) -> None:
        super().__init__(root=root, environment=environment)
        self.job = job
        self.seconds = seconds

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield events {job, from, until}, with moments in ISO 8601."""
        while True:
            try:
                passed = await sync_to_async(self.find_passed)()
            except UnreachableError as error:
                self.log.warning("%s", error)
                passed = None
            if passed is not None:
                former, until = passed
                payload = {"job": self.job, "from": former.isoformat(), "until": until.isoformat()}
                yield TriggerEvent(payload)  # type: ignore[no-untyped-call]
                await sync_to_async(self.record)(until)
            await self.clock.pause(_PAUSE)

    def find_passed(self) -> tuple[datetime, datetime] | None:
        """The last event's moment and the multiple passed since; None: none was passed."""
        ledger = ledger_of(self.root, self.environment)
        recent = ledger.samples.of(self.job, self.clock.now() - _SAMPLES)
        written = written_until(recent if len(recent) >= _LEAST else ledger.samples.last_of(self.job, _LEAST))
        if written is None:
            return None
        until = last_boundary(written, timedelta(seconds=self.seconds))
        recorded = ledger.notifications.known(self._listener, _SUBJECT).get(self.job)
        if recorded is None:
            self.record(until)
            return None
        former = datetime.fromisoformat(recorded)
        return (former, until) if until > former else None

    def record(self, until: datetime) -> None:
        """Record the moment of the last event."""
        log = ledger_of(self.root, self.environment).notifications
        log.keep(self._listener, _SUBJECT, {self.job: until.isoformat()})

    @property
    def _listener(self) -> str:
        """The name of the record: one for each job and period, since writing one replaces all of its subjects."""
        return f"{self.job} every {self.seconds:g} s"[-100:]
