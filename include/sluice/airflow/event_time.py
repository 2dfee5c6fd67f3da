"""Watching in the triggerer how far a job's output has come in event time; the cluster is not asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.triggers.base import BaseEventTrigger, TriggerEvent
from asgiref.sync import sync_to_async

from sluice.airflow.projects import ledger_of
from sluice.errors import UnreachableError
from sluice.fleet.event_time import last_boundary, written_until

_PAUSE = 30.0
"""Seconds between two looks at the ledger; sweeps are minutes apart."""
_SAMPLES = timedelta(hours=1)
"""How far back looks are compared."""
_LEAST = 3
"""Looks that are compared however old they are."""
_SUBJECT = "event time"
"""Under which the ledger keeps what was told."""


class EventTimeTrigger(BaseEventTrigger):
    """Fires whenever a job's rows can be read until a further multiple of a duration, for as long as somebody watches.

    What was told stands in the ledger, taken down once Airflow has the event: a triggerer that is restarted tells what
    has passed meanwhile, and may tell the last one twice, but leaves none out. The first look of all tells nothing.

    Args:
        job: The job's name.
        seconds: The duration.
        root: The project's directory; None: SLUICE_ROOT, or the working directory's.
        environment: Which file of deployments/ applies; None: SLUICE_ENVIRONMENT.
    """

    def __init__(self, *, job: str, seconds: float, root: str | None = None, environment: str | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.job = job
        self.seconds = seconds
        self.root = root
        self.environment = environment

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class and arguments."""
        names = ("job", "seconds", "root", "environment")
        return f"{__name__}.EventTimeTrigger", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Events: {job, from, until}, moments in ISO 8601."""
        while True:
            try:
                passed = await sync_to_async(self.look)()
            except UnreachableError as error:
                self.log.warning("%s", error)
                passed = None
            if passed is not None:
                former, until = passed
                told = {"job": self.job, "from": former.isoformat(), "until": until.isoformat()}
                yield TriggerEvent(told)  # type: ignore[no-untyped-call]
                await sync_to_async(self.keep)(until)
            await asyncio.sleep(_PAUSE)

    def look(self) -> tuple[datetime, datetime] | None:
        """The point that was told last, and the one that is passed now; None: there is nothing to tell."""
        ledger = ledger_of(self.root, self.environment)
        recent = ledger.samples.of(self.job, datetime.now(UTC) - _SAMPLES)
        written = written_until(recent if len(recent) >= _LEAST else ledger.samples.last_of(self.job, _LEAST))
        if written is None:
            return None
        until = last_boundary(written, timedelta(seconds=self.seconds))
        told = ledger.told.known(self._listener, _SUBJECT).get(self.job)
        if told is None:
            self.keep(until)
            return None
        former = datetime.fromisoformat(told)
        return (former, until) if until > former else None

    def keep(self, until: datetime) -> None:
        """Take down that this point was told."""
        told = ledger_of(self.root, self.environment).told
        told.keep(self._listener, _SUBJECT, {self.job: until.isoformat()})

    @property
    def _listener(self) -> str:
        """One for each watched duration of each job: what is kept of a listener is kept as a whole."""
        return f"{self.job} every {self.seconds:g} s"[-100:]
