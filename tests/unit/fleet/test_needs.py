"""The operation for each need; redeploys and rollbacks are planned before they are requested."""

from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from sluice.errors import CompileError, RefusedError, UnreachableError
from sluice.fleet import needs
from sluice.fleet.decision import Decision, DecisionInput
from sluice.fleet.needs import ApprovalRequest
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


def found(status, planned=None, asked=None, **case):
    """What a job needs; `planned` is the plan, or the plans by the request's kind."""
    requests = []

    def make_plan(_project, _job, request, _log):
        requests.append(request)
        outcome = planned[request.kind] if isinstance(planned, dict) else planned
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    given = DecisionInput(status, NOW, **{"fingerprint": "new", "healthy_at": NOW, "has_previous": True, **case})

    def about(plan):
        return asked[plan["kind"]] if isinstance(asked, dict) else asked

    ledger = SimpleNamespace(approvals=SimpleNamespace(about=about))
    [needed] = needs.plan_needs(SimpleNamespace(ledger=ledger), [given], print, make_plan=make_plan)
    # An approval is asked for the plan that was made.
    assert needed.approval_request is None or needed.approval_request.request in requests
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
def test_redeploy_is_planned_before_it_is_requested(planned, need, request_):
    needed = found(RUNNING, planned)
    assert (needed.decision.need, needed.request) == (need, request_)
    # The job runs and its verdict shows nothing: the cause makes it reported, once for a desired state.
    assert bool(needed.decision.cause) == (need == "report")
    assert (needed.decision.cause or "new").endswith("new")


def test_approval_is_requested_once_and_its_state_reported_afterwards():
    assert found(RUNNING, plan(needs_approval=False)).approval_request is None
    first = found(RUNNING, plan(needs_approval=True))
    assert first.approval_request == ApprovalRequest("new", DeployRequest())
    assert first.decision.why.endswith("deploy it by hand, and approve the plan")
    asked = SimpleNamespace(words="rejected by ann at 2026-01-31 12:00 UTC")
    then = found(RUNNING, plan(needs_approval=True), asked)
    assert (then.approval_request, then.decision.cause) == (None, first.decision.cause)
    assert then.decision.why.endswith("rejected by ann at 2026-01-31 12:00 UTC")


@pytest.mark.parametrize(
    ("drift", "request_"),
    [(False, DeployRequest()), (True, DeployRequest(kind="rollback", expected_release=2, target_release=2))],
)
def test_job_that_is_gone_recovers_its_last_release(drift, request_):
    status = JobStatus("a", "gone", release=2, verdict="failed", drift=drift, phase="running")
    needed = found(status)
    assert (needed.decision.need, needed.request) == ("recover", request_)


@pytest.mark.parametrize(("state", "mode"), [("FAILED", None), ("RESTARTING", "last-state")])
def test_rollback_of_a_failing_release_takes_no_savepoint(state, mode):
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
def test_rollback_is_planned_first_and_requested_without_approval_if_none_needed(status, mode):
    back = plan(needs_approval=False, kind="rollback", fingerprint="old")
    needed = found(status, back, **TWICE)
    assert (needed.decision.need, needed.request) == (
        "roll_back",
        DeployRequest(kind="rollback", expected_release=2, mode=mode),
    )
    assert needed.approval_request is None


def test_failed_job_recovers_while_its_rollback_waits_for_an_approval():
    first = found(FAILED, BACK)
    assert (first.decision.need, first.request) == ("recover", DeployRequest())
    assert first.approval_request == ApprovalRequest("old", DeployRequest(kind="rollback", expected_release=2))
    assert first.decision.why.endswith(
        "rolling back needs an approval: config.window: alters what the state means; roll it back by hand, and approve "
        "the plan"
    )
    then = found(FAILED, BACK, REJECTED)
    assert (then.request, then.approval_request, then.decision.cause) == (DeployRequest(), None, first.decision.cause)
    assert then.decision.why.endswith("; rejected by ann at 2026-01-31 12:00 UTC")


def test_failing_job_that_runs_is_reported_while_its_rollback_needs_approval():
    first = found(BAD, BACK, **TWICE)
    assert (first.decision.need, first.request) == ("report", None)
    assert first.approval_request == ApprovalRequest(
        "old", DeployRequest(kind="rollback", expected_release=2, mode="last-state")
    )
    assert first.decision.why.startswith("its new release fails: it restarts; rolling back needs an approval")
    assert first.decision.cause == "approval old"
    assert found(BAD, BACK, REJECTED, **TWICE).approval_request is None


def test_no_approval_for_a_rollback_is_requested_if_a_redeploy_may_repair_the_job():
    new = plan(needs_approval=False)
    needed = found(DRIFTED, {"rollback": BACK, "deploy": new}, **TWICE)
    assert (needed.decision.need, needed.request, needed.approval_request) == ("redeploy", DeployRequest(), None)


@pytest.mark.parametrize("asked", [None, REJECTED])
def test_rollback_is_asked_for_before_a_redeploy_if_both_need_approval(asked):
    plans = {"rollback": BACK, "deploy": plan(needs_approval=True)}
    needed = found(DRIFTED, plans, {"rollback": asked, "deploy": None}, **TWICE)
    assert (needed.decision.need, needed.decision.cause, needed.request) == ("report", "approval old", None)
    assert needed.approval_request == (
        None if asked else ApprovalRequest("old", DeployRequest(kind="rollback", expected_release=2, mode="last-state"))
    )


@pytest.mark.parametrize(("status", "need"), [(FAILED, "recover"), (BAD, "report")])
def test_refused_rollback_is_reported(status, need):
    needed = found(status, RefusedError("the state of Window would be lost"), **TWICE)
    assert (needed.decision.need, needed.approval_request) == (need, None)
    assert needed.decision.why.endswith("; it can't be rolled back: the state of Window would be lost")
    assert needed.decision.cause


def test_rollback_waits_while_the_cluster_is_unreachable():
    needed = found(FAILED, UnreachableError("no answer"))
    assert (needed.decision.need, needed.request) == ("nothing", None)
    assert needed.decision.why.endswith("could not be planned: no answer")
