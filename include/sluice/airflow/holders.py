"""DAG runs and tasks as holders of operations, and whether a holder has ended."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from sluice.operation.holder import is_gone

if TYPE_CHECKING:
    from airflow.sdk import Context

    from sluice.ledger.ledger import Ledger

_HOLDER = re.compile(r"airflow:(?P<dag>[^/]+)/(?P<run>.+?)(?P<part> [^ ]+)?", re.DOTALL)
"""The part of a run is a task or a task group; their ids contain no spaces."""
_ALIVE = ["queued", "running"]


def run_of(context: Context) -> str:
    """The DAG run, as a holder."""
    return f"airflow:{context['dag'].dag_id}/{context['run_id']}"


def task_of(context: Context, task_id: str) -> str:
    """The task of the DAG run, as a holder: the same for each try."""
    return f"{run_of(context)}/{task_id}/{context['ti'].map_index}"


_TASK = re.compile(r"(?<=.)/[^/]+/-?\d+$")
"""The suffix that `task_of` adds to the run. Run ids contain no slashes."""


def run_of_task(holder: str) -> str:
    """The run of a holder from `task_of`; any other holder is returned unchanged."""
    return _TASK.sub("", holder)


def is_run(holder: str) -> bool:
    """Whether an operation's holder is a run of a DAG."""
    return _HOLDER.fullmatch(holder) is not None


def has_ended(context: Context, holder: str) -> bool:
    """Whether the holder is a run that has ended or was deleted; False if this Airflow can't decide that.

    A run of another DAG that this Airflow doesn't have may belong to another Airflow that uses the same ledger.
    """
    match = _HOLDER.fullmatch(holder)
    if match is None:
        return False
    # A run id may contain spaces, so that the match for the part may be the end of the run id.
    runs = sorted({match["run"], match["run"] + (match["part"] or "")})
    count = partial(context["ti"].get_dr_count, match["dag"], run_ids=runs)
    if count(states=_ALIVE):
        return False
    return match["dag"] == context["dag"].dag_id or bool(count())


def is_over(context: Context, holder: str) -> bool:
    """Whether the holder is known to have ended: a process of this machine, or a run of this Airflow."""
    return is_gone(holder) or has_ended(context, holder)


def ended_holders(context: Context, ledger: Ledger) -> Callable[[str], bool]:
    """A predicate: which of the current holders of jobs are known to have ended; others count as alive.

    The holders are checked here, once: the sweep calls the predicate from other threads, and Airflow answers requests
    only from the task's own thread.
    """
    return frozenset(each.holder for each in ledger.all_active() if is_over(context, each.holder)).__contains__
