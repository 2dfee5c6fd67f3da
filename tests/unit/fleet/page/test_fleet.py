"""The rows of the fleet page: the last sweep, unless the ledger has changed since."""

import threading
import time
from datetime import timedelta

import pytest
from sqlalchemy import text

from sluice.fleet.page.curves import POINTS, read_curves
from sluice.fleet.page.fleet import read_fleet, read_row
from sluice.ledger.ledger import Ledger
from tests.support.ledgers import NOW, Past, new_ledger


@pytest.fixture
def url(tmp_path):
    return new_ledger(tmp_path / ".sluice")


@pytest.fixture
def past(tmp_path, url):
    return Past(tmp_path, url)


def rows(past):
    with past.ledger.reading() as session:
        return {row.job: row for row in read_fleet(session, "test", past.root).rows}


def test_environment_without_a_sweep_shows_its_declared_jobs(past):
    with past.ledger.reading() as session:
        fleet = read_fleet(session, "test", past.root)
    assert (fleet.rows, fleet.swept_at) == ((), None)


def test_row_shows_the_last_sweep(past):
    past.sweep(-20, counts={"verdict": "failed"})
    past.sweep(-10, counts={"consumer_lag": 7, "lag_per_s": -1.5, "reasons": ["lag 7"], "drift": True})
    row = rows(past)["counts"]
    assert (row.verdict, row.consumer_lag, row.lag_per_s, row.reasons, row.drift) == (
        "healthy",
        7,
        -1.5,
        ("lag 7",),
        True,
    )
    assert row.seen_at == (NOW - timedelta(minutes=10)).timestamp()


def test_jobs_of_another_environment_are_not_shown(past):
    Ledger(past.url, "production").samples.add([], older_than=NOW)
    past.sweep(-10, counts={})
    with past.ledger.reading() as session:
        assert read_fleet(session, "production", None).rows == ()


def test_row_shows_the_last_deploy_with_its_downtime(past):
    past.deploy("counts")
    past.deploy("counts", "x = 2\n", outcome="rolled_back")
    past.deploy("counts", "x = 2\n", outcome="unchanged")
    past.sweep(1, counts={})
    last = rows(past)["counts"].last_deploy
    assert (last.kind, last.outcome, last.release, last.downtime_ms) == ("deploy", "rolled_back", 2, 640)


def test_row_shows_an_operation_in_progress(past):
    past.sweep(-10, counts={})
    past.deploy("counts")
    past.ledger.begin("counts", kind="suspend", holder="airflow:run", release=1)
    row = rows(past)["counts"]
    assert (row.going_on.kind, row.going_on.holder) == ("suspend", "airflow:run")


def test_row_shows_a_pending_approval_until_answer_or_expiry(past):
    past.sweep(-10, counts={}, other={}, late={})
    link, until = "http://airflow/dags/deploy.counts/runs/1/tasks/approve/required_actions", NOW + timedelta(hours=1)
    for job, end in (("counts", until), ("late", NOW - timedelta(hours=1))):
        plan = {"job": job, "kind": "deploy", "fingerprint": "f", "former_release": 1}
        past.ledger.approvals.ask("airflow:run", plan, "windows of another length", until=end, link=link)
    found = rows(past)
    shown = found["counts"].waiting
    assert (shown.kind, shown.why, shown.link) == ("deploy", "windows of another length", link)
    assert shown.since <= time.time() < shown.until == until.timestamp()
    assert (found["other"].waiting, found["late"].waiting) == (None, None)
    with past.ledger.reading() as session:
        assert read_row(session, "test", past.root, "counts").waiting == shown
        assert read_row(session, "test", past.root, "other").waiting is None
    past.ledger.approvals.answer("counts", "airflow:run", "rejected", "ada")
    assert rows(past)["counts"].waiting is None


@pytest.mark.parametrize("phase", ["suspended", "suspending", "stopped", "stopping"])
def test_job_stopped_after_the_sweep_is_not_shown_as_running(past, phase):
    past.sweep(-10, counts={})
    past.deploy("counts", place={"phase": phase})
    row = rows(past)["counts"]
    assert (row.state, row.verdict, row.consumer_lag, row.seen_at) == (phase, "unknown", None, None)
    assert f"{phase} since" in row.reasons[0]


def test_job_deployed_after_the_sweep_is_judged_by_its_gates(past):
    past.sweep(-10, counts={"verdict": "failed", "flink_job_id": "another"})
    past.deploy("counts")
    row = rows(past)["counts"]
    assert (row.state, row.verdict, row.release) == ("RUNNING", "healthy", 1)
    assert "has passed its gates" in row.reasons[0]
    past.deploy("other", outcome="failed")
    assert rows(past)["other"].verdict == "unknown"


def test_placement_older_than_the_sweep_does_not_change_the_row(past):
    past.deploy("counts")
    past.sweep(1, counts={"verdict": "degraded"})
    assert rows(past)["counts"].verdict == "degraded"


def test_job_declared_after_the_sweep_has_a_row(past):
    past.sweep(-10, counts={}, spoilt={"state": "broken", "verdict": "failed", "reasons": ["spoilt.py:1: SyntaxError"]})
    past.sweep(-5, **{"spoilt": {"state": "broken", "verdict": "failed"}, "a stranger": {"state": "undeclared"}})
    for name in ("fresh", "spoilt", "_no_job"):
        (past.root / "flink_jobs" / f"{name}.py").write_text("1 +\n")
    found = rows(past)
    assert {job: row.state for job, row in found.items()} == {
        "a stranger": "undeclared", "fresh": "new", "spoilt": "broken",
    }  # fmt: skip
    with past.ledger.reading() as session:
        assert read_row(session, "test", past.root, "fresh") == found["fresh"]
        assert read_row(session, "test", past.root, "nobody") is None


def test_curves_have_a_value_or_a_gap_for_each_sweep(past):
    for minutes in (-30, -20, -10):
        past.sweep(minutes, counts={"consumer_lag": -minutes}, **({"late": {}} if minutes == -10 else {}))
    past.sweep(-60 * 24, counts={"consumer_lag": 1})
    with past.ledger.reading() as session:
        curves = read_curves(session, "test")
        assert len(curves.at) == 3
        assert curves.jobs["counts"].lag == (30, 20, 10)
        assert curves.jobs["late"].lag == (None, None, 10)
        assert set(read_curves(session, "test", lambda job: job == "late").jobs) == {"late"}


def test_curves_of_frequent_sweeps_show_some_with_the_newest(past):
    for minute in range(100):
        past.sweep(-minute, counts={"consumer_lag": minute})
    with past.ledger.reading() as session:
        lag = read_curves(session, "test").jobs["counts"].lag
    assert POINTS / 2 < len(lag) <= POINTS
    assert lag[-1] == 0


def test_reading_the_fleet_neither_blocks_a_writer_nor_waits_for_one(past):
    past.sweep(-10, counts={})
    with past.ledger._sessions.begin() as writer:
        writer.execute(text("UPDATE samples SET consumer_lag = 99"))
        # The writer's transaction is open: the page shows the values before it.
        assert rows(past)["counts"].consumer_lag == 10
    with past.ledger.reading() as session:
        assert read_row(session, "test", None, "counts").consumer_lag == 99
        writing = threading.Thread(target=past.sweep, args=(-5,), kwargs={"counts": {"consumer_lag": 1}})
        writing.start()
        writing.join(10)
        assert not writing.is_alive()
        # A session sees one state of the ledger.
        assert read_row(session, "test", None, "counts").consumer_lag == 99
    assert rows(past)["counts"].consumer_lag == 1
