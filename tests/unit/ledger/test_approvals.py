"""Plans that a person is asked about: one of a job at a time, and each answer once."""

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


def test_an_answer_says_who_gave_it_and_when(ledger):
    ask(ledger)
    assert newest(ledger).words.startswith("it waits for an answer until ")
    assert newest(ledger).words.endswith(": http://x/1")
    at = datetime(2026, 1, 31, 12, tzinfo=UTC)
    ledger.approvals.answer("counts", "airflow:deploy.counts/1", "approved", "ann", at)
    # The first one counts.
    ledger.approvals.answer("counts", "airflow:deploy.counts/1", "rejected", "bob")
    assert newest(ledger).words == "approved by ann at 2026-01-31 12:00 UTC"
    assert ledger.approvals.given("counts", "airflow:deploy.counts/1").plan == planned("f")
    assert ledger.approvals.given("counts", "airflow:deploy.counts/2") is None


def test_one_plan_of_a_job_waits_at_a_time(ledger):
    ask(ledger)
    with pytest.raises(BusyError, match="another plan of it waits for an approval since .* first: http://x/1"):
        ask(ledger, "airflow:deploy.counts/2")
    ledger.approvals.answer("counts", "airflow:deploy.counts/1", "rejected", "ann")
    ask(ledger, "airflow:deploy.counts/2")
    assert [row.answer for row in ledger.approvals.of("counts")] == [None, "rejected"]


def test_of_many_that_ask_at_once_one_waits(ledger):
    def one(number):
        try:
            ask(ledger, f"airflow:deploy.counts/{number}")
        except BusyError as busy:
            return str(busy)
        return None

    with ThreadPoolExecutor(8) as pool:
        refused = list(pool.map(one, range(8)))
    assert refused.count(None) == 1
    assert all("waits for an approval since" in words for words in refused if words)
    assert [row.answer for row in ledger.approvals.of("counts")] == [None]


@pytest.mark.parametrize("gone", ["over", "ended"])
def test_a_run_that_is_gone_waits_for_nothing(ledger, gone):
    ask(ledger, until=LATER if gone == "ended" else datetime.now(UTC))
    ask(ledger, "airflow:deploy.counts/2", is_gone=lambda asker: gone == "ended" and asker.endswith("/1"))
    assert [row.answer for row in ledger.approvals.of("counts")] == [None, "withdrawn"]


def test_a_run_that_asks_again_asks_about_its_newest_plan(ledger):
    ask(ledger)
    ask(ledger, fingerprint="g")
    assert [row.fingerprint for row in ledger.approvals.of("counts")] == ["g"]
    ledger.approvals.answer("counts", "airflow:deploy.counts/1", "approved", "ann")
    ask(ledger, fingerprint="h")
    # What was approved before is not what is asked now.
    assert ledger.approvals.given("counts", "airflow:deploy.counts/1") is None


def test_what_a_sweep_is_told_of_something_desired(ledger):
    assert ledger.approvals.about(planned()) is None
    ask(ledger)
    assert ledger.approvals.about(planned()).answer is None
    assert ledger.approvals.about(planned("g")) is None
    ledger.approvals.answer("counts", "airflow:deploy.counts/1", "timed_out")
    assert ledger.approvals.about(planned()).words.endswith(" UTC, and nobody answered")
    ask(ledger)
    ledger.approvals.answer("counts", "airflow:deploy.counts/1", "withdrawn")
    assert ledger.approvals.about(planned()) is None


def test_a_question_about_going_back_is_none_about_a_deploy(ledger):
    asker = "airflow:deploy.counts/1"
    back = planned("e", "rollback", 2)
    ledger.approvals.ask(asker, back, "w", until=LATER)
    ledger.approvals.answer("counts", asker, "rejected", "ann")
    assert ledger.approvals.about(planned("e", "deploy", 2)) is None
    # From another release it is another question.
    assert ledger.approvals.about(planned("e", "rollback", 3)) is None
    # What has been asked about since then, of another kind, changes nothing.
    for number in range(30):
        ask(ledger, fingerprint=f"f{number}")
        ledger.approvals.answer("counts", asker, "rejected", "ann")
    assert ledger.approvals.about(back).words.startswith("rejected by ann")


def test_another_plan_is_refused_before_it_is_shown(ledger):
    ledger.approvals.refuse_another("counts", "airflow:deploy.counts/2", lambda _asker: False)
    ask(ledger)
    with pytest.raises(BusyError, match="another plan of it waits for an approval since .* first: http://x/1"):
        ledger.approvals.refuse_another("counts", "airflow:deploy.counts/2", lambda _asker: False)
    ledger.approvals.refuse_another("counts", "airflow:deploy.counts/1", lambda _asker: False)
    ledger.approvals.refuse_another("counts", "airflow:deploy.counts/2", lambda _asker: True)
    assert newest(ledger).answer is None
