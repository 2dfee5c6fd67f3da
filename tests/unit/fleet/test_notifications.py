"""What is told to whom, and again where it did not get through."""

import pytest

from sluice.fleet.decision import Decision
from sluice.fleet.needs import Needed
from sluice.fleet.notifications import notify_reports, notify_verdicts
from sluice.fleet.rows import JobStatus
from sluice.ledger.ledger import Ledger


@pytest.fixture
def told(tmp_path):
    return Ledger(f"sqlite:///{tmp_path / 'ledger.db'}", "test").told


def row(verdict, job="a", state="RUNNING"):
    return JobStatus(job, state, verdict=verdict)


def fail(_news):
    raise OSError("no server")


def heard(news):
    return [(each["job"], each["old"], each["new"]) for each in news]


def test_each_listener_hears_what_it_has_not_heard(told):
    first, second = [], []
    untold = notify_verdicts(told, [row("failed")], {"first": first.extend, "second": fail})
    assert untold == ["second was not told, and will be at the next sweep: OSError: no server"]
    assert notify_verdicts(told, [row("degraded")], {"first": first.extend, "second": second.extend}) == []
    assert heard(first) == [("a", None, "failed"), ("a", "failed", "degraded")]
    assert heard(second) == [("a", None, "degraded")]
    notify_verdicts(told, [row("degraded")], {"first": fail, "second": fail})


def test_what_nobody_could_be_told_is_not_lost_by_other_looks(told):
    notify_verdicts(told, [row("healthy")], {"one": fail})
    assert notify_verdicts(told, [row("failed")], {"one": fail})
    news = []
    notify_verdicts(told, [row("failed")], {"one": news.extend})
    assert heard(news) == [("a", "healthy", "failed")]


def test_a_job_that_runs_twice_is_told_once(told):
    rows, news = [row("failed"), row("unknown", state="duplicate")], []
    for _ in range(2):
        notify_verdicts(told, rows, {"one": news.extend})
    assert heard(news) == [("a", None, "failed")]


def test_a_report_is_told_once_for_each_cause(told):
    news = []

    def sweep(cause, state="RUNNING"):
        news.clear()
        needs = [Needed("a", Decision("report", "look at it", cause=cause))]
        notify_reports(told, [row("healthy", state=state)], needs, {"one": news.extend})
        return [each["reasons"] for each in news]

    assert sweep("approval f5") == [["look at it"]]
    assert sweep("approval f5") == []
    # Not being able to look is no end of it.
    assert sweep(None, "unreachable") == []
    assert sweep("approval f5") == []
    assert sweep("approval f6") == [["look at it"]]
    assert sweep(None) == []
    assert sweep("approval f6") == [["look at it"]]
