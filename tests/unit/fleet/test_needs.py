"""What a job needs becomes the request of an operation; a redeploy is planned before it is asked for."""

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from sluice.errors import CompileError, UnreachableError
from sluice.fleet import needs
from sluice.fleet.decision import Case, Decision
from sluice.fleet.rows import JobStatus
from sluice.plan.model import Plan
from sluice.plan.request import Request

NOW = datetime(2026, 11, 25, tzinfo=UTC)
RUNNING = JobStatus("a", "RUNNING", release=2, verdict="healthy", drift=True, phase="running")


def plan(*, needs_approval):
    return Plan(
        job="a",
        action="redeploy",
        category="state_breaking" if needs_approval else "stateless",
        reasons=("config.window: alters what the state means",),
        fingerprint="new",
        needs_approval=needs_approval,
    )


def found(monkeypatch, status, planned=None, asked=None):
    def make_plan(*_):
        if isinstance(planned, Exception):
            raise planned
        return planned

    monkeypatch.setattr(needs, "make_plan", make_plan)
    monkeypatch.setattr(
        needs, "read_cases", lambda *_: [Case(status, NOW, fingerprint="new", healthy_at=NOW, has_former=True)]
    )
    ledger = SimpleNamespace(approvals=SimpleNamespace(about=lambda *_: asked))
    return needs.find_needs(SimpleNamespace(ledger=ledger), [status], print, NOW)[0]


@pytest.mark.parametrize(
    ("planned", "need", "request_"),
    [
        (plan(needs_approval=False), "redeploy", Request()),
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
    assert first.to_ask == "new"
    assert first.decision.why.endswith("deploy it by hand, and approve it")
    asked = SimpleNamespace(words="rejected by ann at 2026-01-31 12:00 UTC")
    then = found(monkeypatch, RUNNING, plan(needs_approval=True), asked)
    assert (then.to_ask, then.decision.cause) == (None, first.decision.cause)
    assert then.decision.why.endswith("rejected by ann at 2026-01-31 12:00 UTC")


@pytest.mark.parametrize(("drift", "request_"), [(False, Request()), (True, Request(kind="rollback", to=2))])
def test_what_is_gone_comes_back_as_it_was(monkeypatch, drift, request_):
    status = JobStatus("a", "gone", release=2, verdict="failed", drift=drift, phase="running")
    needed = found(monkeypatch, status)
    assert (needed.decision.need, needed.request) == ("recover", request_)


@pytest.mark.parametrize(("state", "mode"), [("FAILED", None), ("RESTARTING", "last-state")])
def test_a_fresh_release_that_fails_goes_back_without_a_savepoint(state, mode):
    status = JobStatus("a", state, release=2, verdict="failed", phase="running")
    assert needs._request(status, Decision("roll_back", "it fails")) == Request(kind="rollback", mode=mode)
