"""The end of an operation in the shell, with a real ledger and a function in place of the cluster."""

from dataclasses import replace
from types import SimpleNamespace

import httpx
import pytest

from sluice.errors import BusyError
from sluice.flink.client import FlinkClient
from sluice.ledger.ledger import Ledger
from sluice.operation import run, verify
from sluice.operation.context import OperationContext
from sluice.operation.driver import Driver
from sluice.operation.executor import Executor
from sluice.plan import stages
from sluice.plan.builder import Planned
from sluice.plan.model import Plan
from tests.support.answering import answered_by
from tests.support.ledgers import new_ledger
from tests.support.placing import Columns

NEW, FORMER = "a" * 32, "b" * 32
SUSPENDED = {"phase": "suspended", "release": 1, "flink_job_id": NEW, "restored_from": None}


def silent(_line):
    pass


@pytest.fixture
def project(tmp_path, monkeypatch):

    async def passes(*_arguments):
        return None

    monkeypatch.setattr(verify, "pass_gates", passes)
    ledger = Ledger(new_ledger(tmp_path), "test")
    ledger.add_release("counts", fingerprint="f", artifact="a", module="m", resolved={})
    return SimpleNamespace(flink_name=None, ledger=ledger)


@pytest.fixture
def planned():
    """The plan of a job that runs as desired, with a release that is not verified yet."""
    plan = Plan(
        job="counts",
        action="none",
        category="none",
        release=1,
        fingerprint="f",
        stages=(stages.Verify(), stages.Settle()),
    )
    return Planned(plan, SimpleNamespace(number=1), None)


def unreachable(_request):
    raise httpx.ConnectError("refused")


def driver(project, holder):
    return Driver(project, "counts", holder, silent)


def flink():
    return FlinkClient("http://flink", exchange=answered_by(unreachable), pauses=())


def executor(project, planned, holder):
    is_gone = (lambda other: other != holder) if holder == "you" else (lambda _holder: False)
    started = Executor(OperationContext(project, "counts", flink(), Idle(), holder, silent, is_gone), planned)
    started.start()
    return started


class Idle:
    """A client process that has nothing to do."""

    def close(self):
        pass


def test_operation_that_loses_the_cluster_at_its_end_is_completed_by_the_next(project, planned):
    ledger = project.ledger
    operation = ledger.begin("counts", kind="deploy", holder="me", release=1)
    operation.record("stop", "stopped", flink_job_id=FORMER, savepoint=None)
    place = {"phase": "running", "release": 1, "flink_job_id": NEW, "restored_from": None}
    operation.record("start", "submit", transition=Columns(place))
    result = run._finish(driver(project, "me"), flink(), executor(project, planned, "me"))
    assert (result.outcome, result.release, result.flink_job_id) == ("failed", 1, NEW)
    assert "counts: it runs and has passed its gates, but the operation could not be completed" in result.error.message
    assert result.error.remedy == "run sluice deploy counts again to complete the operation"
    assert ledger.release("counts", 1).healthy_at is None

    again = executor(project, planned, "you")
    assert run._finish(driver(project, "you"), flink(), again).outcome == "unchanged"
    assert ledger.release("counts", 1).healthy_at is not None
    assert [row.outcome for row in ledger.operations("counts")] == ["unchanged", "abandoned"]


def test_suspension_that_can_not_be_completed_says_that_the_job_is_suspended(project, planned, monkeypatch):
    def taken_over(*_arguments):
        raise BusyError("taken by another process")

    monkeypatch.setattr(verify, "settle", taken_over)
    operation = project.ledger.begin("counts", kind="suspend", holder="me", release=1)
    operation.record("stop", "stopped", transition=Columns(SUSPENDED), flink_job_id=NEW, savepoint=None)
    plan = planned.plan.model_copy(update={"kind": "suspend", "stages": (stages.Settle(suspended=True),)})
    result = run._finish(driver(project, "me"), flink(), executor(project, replace(planned, plan=plan), "me"))
    assert result.outcome == "failed"
    assert "counts: it is suspended, but" in result.error.message
    assert result.error.remedy.startswith("run sluice suspend counts again")


def test_takeover_at_the_gates_is_returned_as_a_failure(project, planned, monkeypatch):
    handle = project.ledger.begin("counts", kind="deploy", holder="before", release=1)
    handle.record("start", "submit", transition=Columns({**SUSPENDED, "phase": "running"}))
    handle.finish("healthy")
    started = executor(project, planned, "me")

    async def fails(*_arguments):
        project.ledger.begin("counts", kind="deploy", holder="you", release=1, is_gone=lambda _holder: True)
        return "running: 0 of 2 tasks running"

    monkeypatch.setattr(verify, "pass_gates", fails)
    result = run._finish(driver(project, "me"), flink(), started)
    assert result.outcome == "failed"
    assert "has ended (abandoned)" in result.error.message
