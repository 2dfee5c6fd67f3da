"""Approval requests: one open request per job, and one answer per request."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from sluice.errors import BusyError
from sluice.ledger.ledger import Ledger

LATER = datetime.now(UTC) + timedelta(hours=1)


@pytest.fixture
def ledger(url):
    return Ledger(url, "test")


def planned(fingerprint="f", kind="deploy", former_release=1):
    return {"job": "counts", "kind": kind, "fingerprint": fingerprint, "former_release": former_release}


def ask(ledger, asker="airflow:deploy.counts/1", fingerprint="f", until=LATER, **more):
    plan = planned(fingerprint)
    return ledger.approvals.ask(asker, plan, "windows of another length", until=until, link="http://x/1", **more)


def newest(ledger):
    return ledger.approvals.of("counts")[0]


def test_approval_answer_has_person_and_time(ledger):
    ask(ledger)
    assert newest(ledger).words.startswith("waiting for approval until ")
    assert newest(ledger).words.endswith(": http://x/1")
    at = datetime(2026, 1, 31, 12, tzinfo=UTC)
    ledger.approvals.answer("counts", "airflow:deploy.counts/1", "approved", "ann", at)
    # The first answer counts.
    ledger.approvals.answer("counts", "airflow:deploy.counts/1", "rejected", "bob")
    assert newest(ledger).words == "approved by ann at 2026-01-31 12:00 UTC"
    assert ledger.approvals.given("counts", "airflow:deploy.counts/1").plan == planned("f")
    assert ledger.approvals.given("counts", "airflow:deploy.counts/2") is None


def test_job_has_one_open_approval_request(ledger):
    ask(ledger)
    with pytest.raises(
        BusyError, match="another plan of this job has been waiting for approval since .* first: http://x/1"
    ):
        ask(ledger, "airflow:deploy.counts/2")
    ledger.approvals.answer("counts", "airflow:deploy.counts/1", "rejected", "ann")
    ask(ledger, "airflow:deploy.counts/2")
    assert [row.answer for row in ledger.approvals.of("counts")] == [None, "rejected"]


def test_of_concurrent_approval_requests_one_is_recorded(ledger):
    def one(number):
        try:
            ask(ledger, f"airflow:deploy.counts/{number}")
        except BusyError as busy:
            return str(busy)
        return None

    with ThreadPoolExecutor(8) as pool:
        refused = list(pool.map(one, range(8)))
    assert refused.count(None) == 1
    assert all("waiting for approval since" in words for words in refused if words)
    assert [row.answer for row in ledger.approvals.of("counts")] == [None]


@pytest.mark.parametrize("gone", ["over", "ended"])
def test_open_request_of_an_ended_run_is_withdrawn(ledger, gone):
    ask(ledger, until=LATER if gone == "ended" else datetime.now(UTC))
    ask(ledger, "airflow:deploy.counts/2", is_gone=lambda asker: gone == "ended" and asker.endswith("/1"))
    assert [row.answer for row in ledger.approvals.of("counts")] == [None, "withdrawn"]


def test_repeated_approval_request_has_the_newest_plan(ledger):
    ask(ledger)
    ask(ledger, fingerprint="g")
    assert [row.fingerprint for row in ledger.approvals.of("counts")] == ["g"]
    ledger.approvals.answer("counts", "airflow:deploy.counts/1", "approved", "ann")
    ask(ledger, fingerprint="h")
    # The approval was for an earlier plan.
    assert ledger.approvals.given("counts", "airflow:deploy.counts/1") is None


def test_approval_request_is_found_by_its_plan(ledger):
    assert ledger.approvals.about(planned()) is None
    ask(ledger)
    assert ledger.approvals.about(planned()).answer is None
    assert ledger.approvals.about(planned("g")) is None
    ledger.approvals.answer("counts", "airflow:deploy.counts/1", "timed_out")
    assert ledger.approvals.about(planned()).words.endswith(" UTC, not answered in time")
    ask(ledger)
    ledger.approvals.answer("counts", "airflow:deploy.counts/1", "withdrawn")
    assert ledger.approvals.about(planned()) is None


def test_approval_request_of_a_rollback_is_not_one_of_a_deploy(ledger):
    asker = "airflow:deploy.counts/1"
    back = planned("e", "rollback", 2)
    ledger.approvals.ask(asker, back, "w", until=LATER)
    ledger.approvals.answer("counts", asker, "rejected", "ann")
    assert ledger.approvals.about(planned("e", "deploy", 2)) is None
    # A rollback from another release is another change.
    assert ledger.approvals.about(planned("e", "rollback", 3)) is None
    # Later requests of another kind don't matter.
    for number in range(30):
        ask(ledger, fingerprint=f"f{number}")
        ledger.approvals.answer("counts", asker, "rejected", "ann")
    assert ledger.approvals.about(back).words.startswith("rejected by ann")


def test_another_runs_plan_is_refused_while_a_request_is_open(ledger):
    ledger.approvals.refuse_another("counts", "airflow:deploy.counts/2", lambda _asker: False)
    ask(ledger)
    with pytest.raises(
        BusyError, match="another plan of this job has been waiting for approval since .* first: http://x/1"
    ):
        ledger.approvals.refuse_another("counts", "airflow:deploy.counts/2", lambda _asker: False)
    ledger.approvals.refuse_another("counts", "airflow:deploy.counts/1", lambda _asker: False)
    ledger.approvals.refuse_another("counts", "airflow:deploy.counts/2", lambda _asker: True)
    assert newest(ledger).answer is None
