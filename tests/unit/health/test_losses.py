"""The share of its input that a job leaves out, in verdicts and gates."""

from dataclasses import replace

import pytest

from sluice import Health
from sluice.health.gates import judge
from sluice.health.losses import losses
from sluice.health.metrics import TaskMetrics
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
        # The job reads them on purpose.
        (counted(records=1_000, reported=1_000), "healthy", ""),
        (counted([WindowCounts("Window[5]", 200, 150)]), "failed", "Window[5]: 150 of 200 rows dropped"),
        # A single one of few records doesn't count.
        (counted(records=20, malformed=1), "healthy", "1 of 20 records malformed"),
        (counted(records=20, malformed=2), "degraded", "2 of 20 records malformed"),
    ],
)
def test_verdict_counts_malformed_and_late_records(snapshot, state, words):
    judged = verdict(snapshot, HEALTH)
    assert judged.state == state
    assert words in " ".join(judged.reasons)


def test_losses_are_judged_over_the_newest_minute_with_enough_records():
    past = (
        tally(NOW - 300_000, records=0),
        tally(NOW - 90_000, records=50_000),
        tally(NOW - 30_000, records=50_500, malformed=500),
    )
    (loss,) = losses(counted(past=past, records=51_000, malformed=1_000), HEALTH)
    assert (loss.lost, loss.of, loss.is_most) == (1_000, 1_000, True)


def test_losses_of_few_records_in_a_short_time_are_not_judged():
    snapshot = replace(counted(records=20, malformed=20), running_ms=20_000)
    (loss,) = losses(snapshot, HEALTH)
    assert not loss.is_judged
    assert verdict(snapshot, HEALTH).state == "healthy"
    assert not judge("consumer_lag", snapshot, HEALTH).passed


@pytest.mark.parametrize("gate", ["running", "consumer_lag", "watermark"])
def test_no_gate_passes_if_most_of_the_input_is_malformed(gate):
    snapshot = replace(counted(records=120, malformed=120), reasons={"orders": ("wrong type: amount", "empty")})
    reading = judge(gate, snapshot, HEALTH)
    assert reading.hopeless
    assert reading.words == "orders: 120 of 120 records malformed; first reason wrong type: amount; last empty"


def test_gate_waits_while_losses_exceed_the_limit():
    reading = judge("consumer_lag", counted(records=1_000, malformed=100), HEALTH)
    assert (reading.passed, reading.hopeless) == (False, False)
    assert judge("consumer_lag", counted(records=1_000, malformed=100), Health(malformed=0.2)).passed


def test_old_watermark_with_left_out_records_does_not_count_as_no_input():
    snapshot = replace(counted(records=20, malformed=20), splits=splits((0, None)), running_ms=20_000)
    assert not judge("watermark", snapshot, HEALTH).passed
    assert verdict(snapshot, HEALTH).state != "idle"


def test_job_that_read_all_passes_the_watermark_gate_with_losses_within_limit():
    snapshot = replace(counted(records=1_000, malformed=9, old=8), splits=splits((0, NOW - 3_600_000)))
    assert judge("watermark", snapshot, HEALTH).passed
    assert not judge("watermark", replace(snapshot, tally=tally(NOW, records=1_000, old=11)), HEALTH).passed


def test_rows_dropped_by_windows_are_judged_without_counters_of_reads():
    tally = TaskMetrics(windows={"Window[5]": {"rows": 1_000, "late": 900}}).tally(NOW)
    snapshot = replace(GOOD, tally=tally)
    assert verdict(snapshot, HEALTH).state == "failed"
    assert judge("consumer_lag", snapshot, HEALTH).hopeless
    # Without counters of reads, neither malformed records nor records that came are known.
    later = compare(replace(snapshot, at_ms=NOW + 10_000, tally=replace(tally, at_ms=NOW + 10_000)), snapshot)
    assert (later.trend.malformed_per_s, later.trend.late_per_s) == (None, 0.0)
    assert not snapshot.nothing_arrives


def test_dropped_rows_are_not_judged_without_the_number_of_rows_in():
    assert TaskMetrics(windows={"Window[5]": {"late": 3}}).tally(NOW) is None


def test_read_without_loss_counters_gives_verdict_unknown():
    snapshot = replace(GOOD, uncounted=("orders",))
    assert verdict(snapshot, HEALTH).state == "unknown"
    assert not judge("consumer_lag", snapshot, HEALTH).passed
    assert judge("consumer_lag", snapshot, HEALTH, must_count=False).passed


def test_read_without_loss_counters_advises_a_redeploy_after_the_start():
    snapshot = replace(GOOD, uncounted=("orders",))
    (words,) = [words for words in verdict(snapshot, HEALTH).reasons if "not counted" in words]
    assert words.endswith("is not counted: redeploy the job with --mode savepoint to count it")
    starting = replace(snapshot, running_ms=5_000)
    (words,) = [words for words in verdict(starting, HEALTH).reasons if "not counted" in words]
    assert words.endswith("is not counted yet")


def test_records_read_at_once_count_as_input():
    previous = replace(GOOD, at_ms=NOW - 60_000, splits=splits((0, None, 5, 5)))
    moved = compare(replace(GOOD, splits=splits((0, None, 9, 9))), previous)
    assert (moved.trend.arrived, verdict(moved, HEALTH).state) == (4, "healthy")
    still = compare(replace(GOOD, splits=splits((0, None, 5, 5))), previous)
    assert (still.trend.arrived, verdict(still, HEALTH).state) == (0, "idle")


def test_counters_from_before_a_restart_are_not_compared():
    previous = replace(GOOD, at_ms=NOW - 60_000, tally=tally(NOW - 60_000, records=500), past=(tally(0, records=1),))
    began = compare(counted(records=5, malformed=5), previous)
    assert (began.past, began.trend.malformed_per_s) == ((), None)
    goes_on = compare(counted(records=620, malformed=120), previous)
    assert (goes_on.past[-1].records, goes_on.trend.malformed_per_s) == (500, 2.0)
    assert Trend().malformed_per_s is None
