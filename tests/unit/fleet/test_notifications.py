"""Which notifier is called with what, and again after a failure."""

import pytest

from sluice.fleet.decision import Decision
from sluice.fleet.needs import Needed
from sluice.fleet.notifications import notify_reports, notify_verdicts
from sluice.fleet.rows import JobStatus
from sluice.ledger.ledger import Ledger
from tests.support.ledgers import new_ledger


@pytest.fixture
def sent(tmp_path):
    return Ledger(new_ledger(tmp_path), "test").notifications


def row(verdict, job="a", state="RUNNING"):
    return JobStatus(job, state, verdict=verdict)


def fail(_changes):
    raise OSError("no server")


def verdicts(changes):
    return [(each["job"], each["old"], each["new"]) for each in changes]


def test_each_notifier_gets_the_changes_since_its_last_notification(sent):
    first, second = [], []
    failed = notify_verdicts(sent, [row("failed")], {"first": first.extend, "second": fail})
    assert failed == ["notifier second failed, and is called again at the next sweep: OSError: no server"]
    assert notify_verdicts(sent, [row("degraded")], {"first": first.extend, "second": second.extend}) == []
    assert verdicts(first) == [("a", None, "failed"), ("a", "failed", "degraded")]
    assert verdicts(second) == [("a", None, "degraded")]
    notify_verdicts(sent, [row("degraded")], {"first": fail, "second": fail})


def test_failed_notification_is_repeated_after_other_sweeps(sent):
    notify_verdicts(sent, [row("healthy")], {"one": fail})
    assert notify_verdicts(sent, [row("failed")], {"one": fail})
    changes = []
    notify_verdicts(sent, [row("failed")], {"one": changes.extend})
    assert verdicts(changes) == [("a", "healthy", "failed")]


def test_job_that_runs_twice_is_reported_once(sent):
    rows, changes = [row("failed"), row("unknown", state="duplicate")], []
    for _ in range(2):
        notify_verdicts(sent, rows, {"one": changes.extend})
    assert verdicts(changes) == [("a", None, "failed")]


def test_report_is_sent_once_for_each_cause(sent):
    changes = []

    def sweep(cause, state="RUNNING"):
        changes.clear()
        needs = [Needed("a", Decision("report", "act", cause=cause))]
        notify_reports(sent, [row("healthy", state=state)], needs, {"one": changes.extend})
        return [each["reasons"] for each in changes]

    assert sweep("approval f5") == [["act"]]
    assert sweep("approval f5") == []
    # An unreachable job keeps its cause.
    assert sweep(None, "unreachable") == []
    assert sweep("approval f5") == []
    assert sweep("approval f6") == [["act"]]
    assert sweep(None) == []
    assert sweep("approval f6") == [["act"]]
