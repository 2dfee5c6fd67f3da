"""What a job needs becomes the request of an operation; a redeploy, and going back, is planned beforehand."""

from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from sluice.errors import CompileError, RefusedError, UnreachableError
from sluice.fleet import needs
from sluice.fleet.decision import Decision, DecisionInput
from sluice.fleet.needs import Question
from sluice.fleet.rows import JobStatus
from sluice.plan.model import Plan
from sluice.plan.request import DeployRequest

NOW = datetime(2026, 11, 25, tzinfo=UTC)
RUNNING = JobStatus("a", "RUNNING", release=2, verdict="healthy", drift=True, phase="running")


def plan(*, needs_approval, **more):
    given = {
        "action": "redeploy",
        "category": "state_breaking" if needs_approval else "stateless",
        "reasons": ("config.window: alters what the state means",),
        "fingerprint": "new",
    }
    return Plan(job="a", needs_approval=needs_approval, **{**given, **more})


def found(monkeypatch, status, planned=None, asked=None, **case):
    """What is needed; what is planned is by the kind of what is asked for, where it isn't the same for all."""
    requests = []

    def make_plan(_project, _job, request, _tell):
        requests.append(request)
        outcome = planned[request.kind] if isinstance(planned, dict) else planned
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(needs, "make_plan", make_plan)
    given = DecisionInput(status, NOW, **{"fingerprint": "new", "healthy_at": NOW, "has_former": True, **case})
    monkeypatch.setattr(needs, "read_decision_inputs", lambda *_: [given])

    def about(plan):
        return asked[plan["kind"]] if isinstance(asked, dict) else asked

    ledger = SimpleNamespace(approvals=SimpleNamespace(about=about))
    [needed] = needs.find_needs(SimpleNamespace(ledger=ledger), [status], print, NOW)
    # What is asked about is what was planned.
    assert needed.to_ask is None or needed.to_ask.request in requests
    return needed


@pytest.mark.parametrize(
    ("planned", "need", "request_"),
    [
        (plan(needs_approval=False), "redeploy", DeployRequest()),
        (plan(needs_approval=True), "report", None),
        (CompileError("flink_jobs/a.py:3: no column"), "report", None),
        (UnreachableError("no answer"), "nothing", None),
    ],
)
def test_what_has_drifted_is_planned_first(monkeypatch, planned, need, request_):
    needed = found(monkeypatch, RUNNING, planned)
    assert (needed.decision.need, needed.request) == (need, request_)
    # The job runs, and no verdict tells: there is something to be told by, once for what is desired now.
    assert bool(needed.decision.cause) == (need == "report")
    assert (needed.decision.cause or "new").endswith("new")


def test_what_needs_an_approval_is_asked_for_once_and_then_says_how_that_stands(monkeypatch):
    assert found(monkeypatch, RUNNING, plan(needs_approval=False)).to_ask is None
    first = found(monkeypatch, RUNNING, plan(needs_approval=True))
    assert first.to_ask == Question("new", DeployRequest())
    assert first.decision.why.endswith("deploy it by hand, and approve it")
    asked = SimpleNamespace(words="rejected by ann at 2026-01-31 12:00 UTC")
    then = found(monkeypatch, RUNNING, plan(needs_approval=True), asked)
    assert (then.to_ask, then.decision.cause) == (None, first.decision.cause)
    assert then.decision.why.endswith("rejected by ann at 2026-01-31 12:00 UTC")


@pytest.mark.parametrize(
    ("drift", "request_"),
    [(False, DeployRequest()), (True, DeployRequest(kind="rollback", expected_release=2, target_release=2))],
)
def test_what_is_gone_comes_back_as_it_was(monkeypatch, drift, request_):
    status = JobStatus("a", "gone", release=2, verdict="failed", drift=drift, phase="running")
    needed = found(monkeypatch, status)
    assert (needed.decision.need, needed.request) == ("recover", request_)


@pytest.mark.parametrize(("state", "mode"), [("FAILED", None), ("RESTARTING", "last-state")])
def test_a_fresh_release_that_fails_goes_back_without_a_savepoint(state, mode):
    status = JobStatus("a", state, release=2, verdict="failed", phase="running")
    assert needs._request(status, Decision("roll_back", "it fails")) == DeployRequest(
        kind="rollback", expected_release=2, mode=mode
    )


BACK = plan(needs_approval=True, kind="rollback", fingerprint="old")
OWN = {"verdict": "failed", "phase": "running", "own_fault": True}
FAILED = JobStatus("a", "FAILED", release=2, reasons=("it has failed",), **OWN)
BAD = JobStatus("a", "RESTARTING", release=2, reasons=("it restarts",), **OWN)
DRIFTED = replace(BAD, drift=True)
TWICE = {"failed_before": True}
REJECTED = SimpleNamespace(words="rejected by ann at 2026-01-31 12:00 UTC")


@pytest.mark.parametrize(("status", "mode"), [(FAILED, None), (BAD, "last-state")])
def test_what_goes_back_is_planned_first_and_done_where_nobody_must_be_asked(monkeypatch, status, mode):
    back = plan(needs_approval=False, kind="rollback", fingerprint="old")
    needed = found(monkeypatch, status, back, **TWICE)
    assert (needed.decision.need, needed.request) == (
        "roll_back",
        DeployRequest(kind="rollback", expected_release=2, mode=mode),
    )
    assert needed.to_ask is None


def test_going_back_that_needs_an_approval_is_asked_for_once_and_the_job_is_brought_back_as_it_was(monkeypatch):
    first = found(monkeypatch, FAILED, BACK)
    assert (first.decision.need, first.request) == ("recover", DeployRequest())
    assert first.to_ask == Question("old", DeployRequest(kind="rollback", expected_release=2))
    assert first.decision.why.endswith(
        "going back needs an approval: config.window: alters what the state means; roll it back by hand, and approve "
        "that"
    )
    then = found(monkeypatch, FAILED, BACK, REJECTED)
    assert (then.request, then.to_ask, then.decision.cause) == (DeployRequest(), None, first.decision.cause)
    assert then.decision.why.endswith("; rejected by ann at 2026-01-31 12:00 UTC")


def test_one_that_runs_and_is_bad_is_asked_for_and_left_to_a_person(monkeypatch):
    first = found(monkeypatch, BAD, BACK, **TWICE)
    assert (first.decision.need, first.request) == ("report", None)
    assert first.to_ask == Question("old", DeployRequest(kind="rollback", expected_release=2, mode="last-state"))
    assert first.decision.why.startswith("a fresh release has gone bad: it restarts; going back needs an approval")
    assert first.decision.cause == "approval old"
    assert found(monkeypatch, BAD, BACK, REJECTED, **TWICE).to_ask is None


def test_what_is_desired_now_may_be_the_remedy_and_then_nobody_is_asked(monkeypatch):
    new = plan(needs_approval=False)
    needed = found(monkeypatch, DRIFTED, {"rollback": BACK, "deploy": new}, **TWICE)
    assert (needed.decision.need, needed.request, needed.to_ask) == ("redeploy", DeployRequest(), None)


@pytest.mark.parametrize("asked", [None, REJECTED])
def test_of_two_plans_that_need_an_approval_the_way_back_is_asked_for(monkeypatch, asked):
    plans = {"rollback": BACK, "deploy": plan(needs_approval=True)}
    needed = found(monkeypatch, DRIFTED, plans, {"rollback": asked, "deploy": None}, **TWICE)
    assert (needed.decision.need, needed.decision.cause, needed.request) == ("report", "approval old", None)
    assert needed.to_ask == (
        None if asked else Question("old", DeployRequest(kind="rollback", expected_release=2, mode="last-state"))
    )


@pytest.mark.parametrize(("status", "need"), [(FAILED, "recover"), (BAD, "report")])
def test_where_there_is_no_way_back_that_is_said(monkeypatch, status, need):
    needed = found(monkeypatch, status, RefusedError("the state of Window would be lost"), **TWICE)
    assert (needed.decision.need, needed.to_ask) == (need, None)
    assert needed.decision.why.endswith("; it can't go back: the state of Window would be lost")
    assert needed.decision.cause


def test_going_back_waits_where_it_can_not_be_planned(monkeypatch):
    needed = found(monkeypatch, FAILED, UnreachableError("no answer"))
    assert (needed.decision.need, needed.request) == ("nothing", None)
    assert needed.decision.why.endswith("could not be planned: no answer")
