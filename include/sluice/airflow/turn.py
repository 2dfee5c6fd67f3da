"""Runs as holders of operations: whether one has ended, and waiting in the triggerer until it has."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async

from sluice.airflow.base import settings_of
from sluice.operation.holder import is_gone
from sluice.project import Project

if TYPE_CHECKING:
    from airflow.sdk import Context

    from sluice.ledger.ledger import Ledger

_HOLDER = re.compile(r"airflow:(?P<dag>[^/]+)/(?P<run>.+?)(?P<part> [^ ]+)?", re.DOTALL)
"""The part of a run is a task or a group of tasks, whose names have no spaces."""
_ALIVE = ["queued", "running"]
_PAUSE = 3.0
"""Seconds between two looks at the ledger."""
_LOOK_AGAIN = 60.0
"""Seconds after which the task itself looks whether the holder is alive: Airflow tells only tasks of it."""


def is_run(holder: str) -> bool:
    """Whether an operation's holder is a run of a DAG."""
    return _HOLDER.fullmatch(holder) is not None


def has_ended(context: Context, holder: str) -> bool:
    """Whether the holder is a run that has ended, or was deleted; False where this Airflow doesn't know.

    A run of another DAG that isn't there may be another Airflow's with the same ledger.
    """
    match = _HOLDER.fullmatch(holder)
    if match is None:
        return False
    # Where runs may have spaces in their names, what looks like a part may be of the name.
    runs = sorted({match["run"], match["run"] + (match["part"] or "")})
    count = partial(context["ti"].get_dr_count, match["dag"], run_ids=runs)
    if count(states=_ALIVE):
        return False
    return match["dag"] == context["dag"].dag_id or bool(count())


def is_over(context: Context, holder: str) -> bool:
    """Whether the holder is known to have ended: a process of this machine, or a run of this Airflow."""
    return is_gone(holder) or has_ended(context, holder)


def ended_holders(context: Context, ledger: Ledger) -> Callable[[str], bool]:
    """Which of those who hold a job at this moment are known to have ended; others count as alive.

    They are looked for once and here: what looks at the cluster asks from threads of its own, and Airflow answers a
    task's own one alone.
    """
    return frozenset(each.holder for each in ledger.all_active() if is_over(context, each.holder)).__contains__


class OperationTrigger(BaseTrigger):
    """Fires when an operation has ended, and once a minute: whoever does it may be gone.

    Args:
        root: The project's directory; None: SLUICE_ROOT, or the working directory's.
        environment: Which file of deployments/ applies; None: SLUICE_ENVIRONMENT.
        operation: Its id.
    """

    def __init__(self, *, root: str | None, environment: str | None, operation: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.root = root
        self.environment = environment
        self.operation = operation

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class and arguments."""
        given = {"root": self.root, "environment": self.environment, "operation": self.operation}
        return f"{__name__}.OperationTrigger", given

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """One event, without content."""
        until = time.monotonic() + _LOOK_AGAIN
        # The ledger tells nobody by itself.
        while time.monotonic() < until and await sync_to_async(self._goes_on)():  # noqa: ASYNC110
            await asyncio.sleep(_PAUSE)
        yield TriggerEvent({})  # type: ignore[no-untyped-call]

    def _goes_on(self) -> bool:
        ledger = ledger_of(self.root, self.environment)
        return ledger.operation(self.operation).active_job is not None


def ledger_of(root: str | None, environment: str | None) -> Ledger:
    """The project's ledger, opened once per process: a triggerer looks at it again and again."""
    return _project(root, environment).ledger


@lru_cache(maxsize=8)
def _project(root: str | None, environment: str | None) -> Project:
    return Project(settings_of(root, environment))
