"""A savepoint as a task: it waits in the triggerer, and a killed run frees the job; in a process of its own."""

from pathlib import Path

from tests.support.ledgers import new_ledger
from tests.support.own_process import run_script

PREPARED = """
import asyncio, sys
from dataclasses import asdict
from contextlib import nullcontext
from types import SimpleNamespace
import sluice.airflow.project_trigger as project_trigger
import sluice.airflow.triggers as trigger
import sluice.operation.savepoint as savepoint
from airflow.sdk.bases.operator import ExecutorSafeguard
from airflow.sdk.exceptions import AirflowException, AirflowFailException, TaskDeferred
from sluice.airflow.savepoint import SavepointOperator
from sluice.clock import MACHINE
from sluice.errors import UnreachableError
from sluice.operation.savepoint import Look, Ordered
from sluice.ledger.ledger import Ledger, NewRelease

ExecutorSafeguard.test_mode = True
ledger = Ledger(f"sqlite:///{sys.argv[1]}/ledger.db", "test")
project = SimpleNamespace(ledger=ledger, clock=MACHINE, flink_url="http://flink", connect=nullcontext)
trigger.ledger_of = lambda root, environment: project.ledger
project_trigger.project_of = lambda root, environment: project


def order_savepoint(project, job, holder, flink, *, note, is_gone):
    handle = ledger.begin(job, kind="savepoint", holder=holder, is_gone=is_gone, details={"note": note},
                          release=NewRelease(fingerprint="f", artifact="a", module="m", resolved={}))
    return Ordered(job, handle.id, handle.row.release, "f", "t")


savepoint.order_savepoint = order_savepoint


def context():
    ti = SimpleNamespace(map_index=-1, xcom_push=lambda **_: None, get_dr_count=lambda *_, **__: 1)
    return {"dag": SimpleNamespace(dag_id="migrate"), "run_id": "r1", "ti": ti}


def task():
    operator = SavepointOperator(task_id="keep", job="counts", reason="why")
    operator.project = lambda: project
    return operator


def begin():
    try:
        task().execute(context())
    except TaskDeferred as waits:
        return waits
    raise AssertionError("it did not wait")


def event_of(waits, look):
    async def seen(*_arguments):
        if isinstance(look, Exception):
            raise look
        if look is None:
            await asyncio.sleep(60)
        return look

    async def first():
        async for event in waits.trigger.run():
            return event.payload

    trigger.await_savepoint = seen
    return asyncio.run(first())
"""


def run(tmp_path: Path, script: str) -> None:
    new_ledger(tmp_path)
    run_script(PREPARED + script, tmp_path, str(tmp_path))


def test_savepoint_operator_defers_and_records_the_location(tmp_path):
    run(
        tmp_path,
        """
waits = begin()
assert waits.method_name == "taken"
path, kept = waits.trigger.serialize()
assert trigger.SavepointTrigger(**kept).ordered == waits.trigger.ordered
row = task().taken(context(), event_of(waits, Look(location="file:///s")))
assert (row["savepoint"], row["release"]) == ("file:///s", 1)
newest = ledger.operations("counts")[0]
assert (newest.outcome, newest.note, newest.active_job) == ("taken", "why", None)
""",
    )


def test_retry_waits_for_the_same_savepoint_and_a_failed_one_frees_the_job(tmp_path):
    run(
        tmp_path,
        """
first = begin()
event = event_of(first, UnreachableError("no answer"))
try:
    task().taken(context(), event)
    raise SystemExit("it went on")
except AirflowException as error:
    assert not isinstance(error, AirflowFailException)
second = begin()
assert second.trigger.ordered == first.trigger.ordered
second.trigger.deadline = 0.0
event = event_of(second, None)
assert event["failure"] == "it was not complete in time", event
try:
    task().taken(context(), event)
    raise SystemExit("it went on")
except AirflowException as error:
    assert "the savepoint failed, the job runs on: it was not complete in time" in str(error)
assert ledger.active("counts") is None
""",
    )


def test_killed_trigger_frees_the_job_unless_a_newer_try_holds_it(tmp_path):
    run(
        tmp_path,
        """
first = begin()
second = begin()
# Airflow may kill the first try's trigger after the second try has begun.
asyncio.run(first.trigger.on_kill())
assert ledger.active("counts") is not None
asyncio.run(second.trigger.on_kill())
assert ledger.active("counts") is None
assert ledger.operations("counts")[0].outcome == "abandoned"
asyncio.run(second.trigger.on_kill())
""",
    )
