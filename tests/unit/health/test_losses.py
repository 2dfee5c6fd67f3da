"""How much of its input a job leaves out, as verdict and gates see it."""

from dataclasses import replace

import pytest

from sluice import Health
from sluice.health.gates import judge
from sluice.health.losses import losses
from sluice.health.metrics import Reported
from sluice.health.snapshot import Trend
from sluice.health.tally import ReadCounts, Tally, WindowCounts
from sluice.health.trend import compare
from sluice.health.verdict import verdict
from tests.unit.health.judging import GOOD, HEALTH, NOW, splits


def tally(at_ms, windows=(), **counts):
    return Tally(at_ms, (ReadCounts("orders", **counts),), tuple(windows))


def counted(windows=(), *, past=(), **counts):
    """A snapshot of a job whose tasks have run for ten minutes."""
    return replace(GOOD, tally=tally(NOW, windows, **counts), past=past)


@pytest.mark.parametrize(
    ("snapshot", "state", "words"),
    [
        (counted(records=2_600, malformed=2_600), "failed", "orders: 2,600 of 2,600 records malformed"),
        (counted(records=1_000, malformed=11), "degraded", "11 of 1,000 records malformed"),
        (counted(records=1_000, malformed=10), "healthy", "10 of 1,000 records malformed"),
        (counted(records=1_000, old=600), "failed", "event time more than watermark_delay before"),
        (counted(records=1_000, ahead=600), "failed", "event time more than future_tolerance after"),
        (counted(records=1_000, timeless=600), "failed", "no event time"),
        # Read on purpose.
        (counted(records=1_000, reported=1_000), "healthy", ""),
        (counted([WindowCounts("Window[5]", 200, 150)]), "failed", "Window[5]: 150 of 200 rows dropped"),
        # Of few records a single one says nothing.
        (counted(records=20, malformed=1), "healthy", "1 of 20 records malformed"),
        (counted(records=20, malformed=2), "degraded", "2 of 20 records malformed"),
    ],
)
def test_a_verdict_counts_what_is_left_out_of_the_input(snapshot, state, words):
    judged = verdict(snapshot, HEALTH)
    assert judged.state == state
    assert words in " ".join(judged.reasons)


def test_the_newest_minute_with_enough_records_is_judged():
    past = (
        tally(NOW - 300_000, records=0),
        tally(NOW - 90_000, records=50_000),
        tally(NOW - 30_000, records=50_500, malformed=500),
    )
    (loss,) = losses(counted(past=past, records=51_000, malformed=1_000), HEALTH)
    assert (loss.lost, loss.of, loss.is_most) == (1_000, 1_000, True)


def test_too_few_records_over_too_short_a_time_are_not_judged():
    snapshot = replace(counted(records=20, malformed=20), running_ms=20_000)
    (loss,) = losses(snapshot, HEALTH)
    assert not loss.is_judged
    assert verdict(snapshot, HEALTH).state == "healthy"
    assert not judge("consumer_lag", snapshot, HEALTH).passed


@pytest.mark.parametrize("gate", ["running", "consumer_lag", "watermark"])
def test_no_gate_passes_a_job_most_of_whose_input_is_malformed(gate):
    snapshot = replace(counted(records=120, malformed=120), reasons={"orders": ("wrong type: amount", "empty")})
    reading = judge(gate, snapshot, HEALTH)
    assert reading.hopeless
    assert reading.words == "orders: 120 of 120 records malformed; first reason wrong type: amount; last empty"


def test_a_gate_waits_while_more_is_left_out_than_the_limit_allows():
    reading = judge("consumer_lag", counted(records=1_000, malformed=100), HEALTH)
    assert (reading.passed, reading.hopeless) == (False, False)
    assert judge("consumer_lag", counted(records=1_000, malformed=100), Health(malformed=0.2)).passed


def test_an_old_watermark_is_no_sign_of_no_input_where_records_are_left_out():
    snapshot = replace(counted(records=20, malformed=20), splits=splits((0, None)), running_ms=20_000)
    assert not judge("watermark", snapshot, HEALTH).passed
    assert verdict(snapshot, HEALTH).state != "idle"


def test_losses_within_the_limit_keep_no_job_that_read_all_from_its_watermark_gate():
    snapshot = replace(counted(records=1_000, malformed=9, old=8), splits=splits((0, NOW - 3_600_000)))
    assert judge("watermark", snapshot, HEALTH).passed
    assert not judge("watermark", replace(snapshot, tally=tally(NOW, records=1_000, old=11)), HEALTH).passed


def test_rows_that_windows_drop_are_judged_where_no_read_counts_records():
    told = Reported(windows={"Window[5]": {"rows": 1_000, "late": 900}}).tally(NOW)
    snapshot = replace(GOOD, tally=told)
    assert verdict(snapshot, HEALTH).state == "failed"
    assert judge("consumer_lag", snapshot, HEALTH).hopeless
    # Nothing is known of malformed records, nor whether any record came.
    later = compare(replace(snapshot, at_ms=NOW + 10_000, tally=replace(told, at_ms=NOW + 10_000)), snapshot)
    assert (later.trend.malformed_per_s, later.trend.late_per_s) == (None, 0.0)
    assert not snapshot.nothing_arrives


def test_dropped_rows_without_the_rows_that_came_are_not_judged_for_a_job_of_an_older_sluice():
    assert Reported(windows={"Window[5]": {"late": 3}}).tally(NOW) is None


def test_a_read_that_does_not_count_what_it_leaves_out_is_unknown():
    snapshot = replace(GOOD, uncounted=("orders",))
    assert verdict(snapshot, HEALTH).state == "unknown"
    assert not judge("consumer_lag", snapshot, HEALTH).passed
    assert judge("consumer_lag", snapshot, HEALTH, must_count=False).passed


def test_an_uncounted_read_is_redeployed_to_be_counted_once_the_job_runs_for_long():
    snapshot = replace(GOOD, uncounted=("orders",))
    (words,) = [words for words in verdict(snapshot, HEALTH).reasons if "not counted" in words]
    assert words.endswith("is not counted: redeploy the job with --mode savepoint to count it")
    starting = replace(snapshot, running_ms=5_000)
    (words,) = [words for words in verdict(starting, HEALTH).reasons if "not counted" in words]
    assert words.endswith("is not counted yet")


def test_records_that_came_and_were_read_at_once_are_no_lack_of_input():
    former = replace(GOOD, at_ms=NOW - 60_000, splits=splits((0, None, 5, 5)))
    moved = compare(replace(GOOD, splits=splits((0, None, 9, 9))), former)
    assert (moved.trend.arrived, verdict(moved, HEALTH).state) == (4, "healthy")
    still = compare(replace(GOOD, splits=splits((0, None, 5, 5))), former)
    assert (still.trend.arrived, verdict(still, HEALTH).state) == (0, "idle")


def test_counters_of_tasks_that_began_anew_are_not_compared():
    former = replace(GOOD, at_ms=NOW - 60_000, tally=tally(NOW - 60_000, records=500), past=(tally(0, records=1),))
    began = compare(counted(records=5, malformed=5), former)
    assert (began.past, began.trend.malformed_per_s) == ((), None)
    goes_on = compare(counted(records=620, malformed=120), former)
    assert (goes_on.past[-1].records, goes_on.trend.malformed_per_s) == (500, 2.0)
    assert Trend().malformed_per_s is None
