"""Runs of deploy DAGs that a sweep has triggered and not seen end: later sweeps trigger no second one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from sluice.fleet.decision import Decision, Need
from sluice.fleet.needs import Needed
from sluice.ledger.notification_log import NotificationLog

_KEY = ("run", "going")
"""The listener and the subject of the ledger's record."""
_REPORTED_AFTER = 2
"""Sweeps that have found the run going on; one may be a run that is about to begin."""
_GIVEN_UP_AFTER = 12
"""Sweeps after which another run is made."""


@dataclass(frozen=True)
class GoingRun:
    """A run that a sweep has made.

    Attributes:
        run: Its id.
        since: When the sweep wanted it, ISO 8601.
        operation: The kind of operation that the run requests, e.g. `deploy`.
        to_release: The release that the run requests; None: the request names none.
        sweeps: How many sweeps have found it going on.
    """

    run: str
    since: str
    operation: str
    to_release: int | None = None
    sweeps: int = 1

    @classmethod
    def of(cls, run: str, conf: Mapping[str, Any], since: datetime) -> GoingRun:
        """The run that was made with this configuration."""
        return cls(run, since.isoformat(), conf["operation"], conf.get("to_release"))

    @property
    def conf(self) -> dict[str, Any]:
        """The run's request, as the fields of the trigger form."""
        return {"operation": self.operation, "to_release": self.to_release}


def known_runs(told: NotificationLog) -> dict[str, GoingRun]:
    """The runs that the sweep before has not seen to their ends, by the job's name."""
    return {job: GoingRun(**json.loads(value)) for job, value in told.known(*_KEY).items()}


def keep_runs(told: NotificationLog, runs: Mapping[str, GoingRun]) -> None:
    """Record the runs that go on; those that are not among them are dropped."""
    told.keep(*_KEY, {job: json.dumps(asdict(run)) for job, run in runs.items()})


def still_going(runs: Mapping[str, GoingRun], goes_on: Callable[[str, str], bool]) -> dict[str, GoingRun]:
    """Those that go on, counted once more.

    Args:
        runs: By the job's name.
        goes_on: Whether the run of this job with this id has not ended.
    """
    counted = {job: replace(run, sweeps=run.sweeps + 1) for job, run in runs.items()}
    return {job: run for job, run in counted.items() if run.sweeps <= _GIVEN_UP_AFTER and goes_on(job, run.run)}


def without_second_run(needs: Iterable[Needed], runs: Mapping[str, GoingRun]) -> list[Needed]:
    """The needs, without a request where a run that was made for the job goes on.

    A job on which an operation goes on has no request anyway: what is left is a run that has begun nothing.
    """
    return [_held_back(each, runs.get(each.job)) for each in needs]


def _held_back(needed: Needed, going: GoingRun | None) -> Needed:
    if going is None or needed.request is None:
        return needed
    words = f"run {going.run} of deploy.{needed.job} goes on since {going.since[:16]} UTC and has changed nothing yet"
    if going.sweeps <= _REPORTED_AFTER:
        return replace(needed, decision=Decision(Need.NOTHING, f"{needed.decision.why}; {words}"), request=None)
    why = f"{needed.decision.why}; {words}: look at its tasks in Airflow, or mark it as failed"
    return replace(needed, decision=Decision(Need.REPORT, why, cause=f"run {going.run}"[:255]), request=None)
