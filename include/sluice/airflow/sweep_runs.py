"""Runs of deploy DAGs that were still running when their sweep ended: later sweeps start no second run."""

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
"""After so many sweeps that find the run without an operation it is reported; before, it may still be queued."""
_IGNORED_AFTER = 12
"""After so many sweeps another run is started."""


@dataclass(frozen=True)
class StartedRun:
    """A run that a sweep has started.

    Attributes:
        run: Its id.
        since: The time of the sweep, ISO 8601.
        operation: The kind of operation that the run requests, e.g. `deploy`.
        to_release: The release that the run requests; None: the request names none.
        sweeps: How many sweeps have found it running.
    """

    run: str
    since: str
    operation: str
    to_release: int | None = None
    sweeps: int = 1

    @classmethod
    def of(cls, run: str, conf: Mapping[str, Any], since: datetime) -> StartedRun:
        """The run that was started with this conf."""
        return cls(run, since.isoformat(), conf["operation"], conf.get("to_release"))

    @property
    def conf(self) -> dict[str, Any]:
        """The run's request, as the fields of the trigger form."""
        return {"operation": self.operation, "to_release": self.to_release}


def known_runs(log: NotificationLog) -> dict[str, StartedRun]:
    """The runs that the last sweep left running, by the job's name."""
    return {job: StartedRun(**json.loads(value)) for job, value in log.known(*_KEY).items()}


def record_runs(log: NotificationLog, runs: Mapping[str, StartedRun]) -> None:
    """Record the runs that still run, in place of those recorded before."""
    log.keep(*_KEY, {job: json.dumps(asdict(run)) for job, run in runs.items()})


def running_runs(runs: Mapping[str, StartedRun], is_running: Callable[[str, str], bool]) -> dict[str, StartedRun]:
    """The runs that still run, with this sweep added to `sweeps`; without those older than `_IGNORED_AFTER`.

    Args:
        runs: The runs by the job's name.
        is_running: Whether the run of this job with this id has not ended.
    """
    counted = {job: replace(run, sweeps=run.sweeps + 1) for job, run in runs.items()}
    return {job: run for job, run in counted.items() if run.sweeps <= _IGNORED_AFTER and is_running(job, run.run)}


def without_second_run(needs: Iterable[Needed], runs: Mapping[str, StartedRun]) -> list[Needed]:
    """The needs, without the requests of jobs for which a run still runs.

    Such a run has not begun an operation yet, since a job with an operation in progress has no request anyway.
    """
    return [_held_back(each, runs.get(each.job)) for each in needs]


def _held_back(needed: Needed, running: StartedRun | None) -> Needed:
    if running is None or needed.request is None:
        return needed
    state = f"run {running.run} of deploy.{needed.job} runs since {running.since[:16]} UTC without an operation"
    if running.sweeps <= _REPORTED_AFTER:
        return replace(needed, decision=Decision(Need.NOTHING, f"{needed.decision.why}; {state}"), request=None)
    why = f"{needed.decision.why}; {state}: check its tasks in Airflow, or mark it as failed"
    return replace(needed, decision=Decision(Need.REPORT, why, cause=f"run {running.run}"[:255]), request=None)
