"""Samples of the fleet in the ledger."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from sluice.ledger.ledger import Ledger
from sluice.ledger.samples import Sample

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def samples(url):
    return Ledger(url, "test").samples


def sample(job, minutes, environment="test", **more):
    at = NOW + timedelta(minutes=minutes)
    given = {"state": "RUNNING", "verdict": "healthy", "reasons": [], "readings": {}, **more}
    return Sample(environment=environment, job=job, at=at, **given)


def test_written_samples_are_read(samples):
    wide = {"consumer_lag": 2**40, "watermark_lag_ms": 2**41, "checkpoint_bytes": 2**42, "lag_per_s": -1.5}
    readings = {"splits": {"t": {"0": [1, 2]}}}
    samples.add([sample("a", 0, reasons=["consumer lag 1 > 0"], readings=readings, **wide)], older_than=NOW)
    [found] = samples.of("a", NOW)
    assert {name: getattr(found, name) for name in wide} == wide
    assert (found.at, found.reasons, found.readings, found.restarts) == (NOW, ["consumer lag 1 > 0"], readings, None)


def test_newest_sample_of_each_job(samples):
    samples.add([sample("a", 0), sample("b", 0), sample("c", -90)], older_than=NOW - timedelta(days=1))
    samples.add([sample("a", 10, verdict="failed")], older_than=NOW - timedelta(days=1))
    newest = samples.newest(NOW - timedelta(hours=1))
    assert {job: found.verdict for job, found in newest.items()} == {"a": "failed", "b": "healthy"}


def test_samples_of_a_job_are_in_order(samples):
    samples.add([sample("a", minutes) for minutes in (0, 20, 10)], older_than=NOW)
    later = samples.of("a", NOW + timedelta(minutes=5))
    assert [found.at - NOW for found in later] == [timedelta(minutes=10), timedelta(minutes=20)]
    assert len(samples.of("a", NOW, NOW + timedelta(minutes=10))) == 2


def test_old_samples_are_deleted(samples, url):
    other = Ledger(url, "production").samples
    other.add([sample("a", -100, "production")], older_than=NOW - timedelta(days=1))
    assert samples.add([sample("a", -100), sample("a", -10)], older_than=NOW - timedelta(days=1)) == 0
    assert samples.add([sample("a", 0)], older_than=NOW - timedelta(minutes=30)) == 1
    assert len(samples.of("a", NOW - timedelta(days=1))) == 2
    # Samples of other environments are kept.
    assert len(other.of("a", NOW - timedelta(days=1))) == 1


def test_queries_over_all_jobs_use_an_index(samples, url):
    if not url.startswith("sqlite"):
        pytest.skip("PostgreSQL reads a table this small as a whole")
    with Ledger(url, "local").reading() as session:
        plan = session.execute(
            text("EXPLAIN QUERY PLAN SELECT job, consumer_lag FROM samples WHERE environment = 'local' AND at = '2026'")
        )
        assert "USING COVERING INDEX ix_samples_curves" in str(plan.all())
