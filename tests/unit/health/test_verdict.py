"""Verdicts: a healthy job with one figure changed, case by case."""

from dataclasses import replace

import pytest

from sluice.flink.models import JobState
from sluice.health.snapshot import CheckpointReading, Counters, Load, SplitReading, Trend
from sluice.health.tally import ReadCounts, Tally
from sluice.health.verdict import verdict
from tests.unit.health.judging import GOOD, HEALTH, NOW, failures, splits

RESTARTING = {"state": JobState.RESTARTING, "tasks_running": 0}
STARTING = {"running_ms": 5_000, "checkpoints": CheckpointReading()}
NOTHING = Trend(since_ms=NOW - 60_000, records_in_per_s=0.0)
RUNNING_LONG = {"running_ms": 600_000}


def stalled(*ages_ms, lag=7):
    """Splits whose position has not moved for so long; None: it moves."""
    return {
        ("t", number): SplitReading(lag, NOW - 11_000, stalled_since_ms=None if age is None else NOW - age)
        for number, age in enumerate(ages_ms)
    }


def age(age_ms, **more):
    return {"checkpoints": CheckpointReading(completed=3, age_ms=age_ms, **more)}


def rate(lag_per_s, **more):
    return Trend(since_ms=NOW - 60_000, lag_per_s=lag_per_s, **more)


LOADS = (Load("Source: events", busy=0.02, backpressured=0.97), Load("slow[3] -> sink: Writer", 0.99, 0.0))

CASES = {
    "healthy job": ({}, "healthy", None),
    # Ended.
    "unknown to Flink": ({"state": None}, "failed", "Flink does not know the job"),
    "failed": (
        {"state": JobState.FAILED, "failures": failures(1_000)},
        "failed",
        "the job is FAILED: c.Root: the reason",
    ),
    "cancelled by hand": (
        {"state": JobState.CANCELED},
        "failed",
        "the job is CANCELED: no operation of Sluice cancelled it",
    ),
    "finished": (
        {"state": JobState.FINISHED},
        "failed",
        "the job is FINISHED: no operation of Sluice stopped it",
    ),
    # Tasks and restarts.
    "starting": (
        {**STARTING, "tasks_running": 1},
        "unknown",
        "running: 1 of 2 tasks running: it is starting",
    ),
    "restarting": (RESTARTING, "degraded", "restarting: 0 of 2 tasks running"),
    "without slots for a long time": (
        {**RESTARTING, **age(301_000)},
        "failed",
        ("restarting: 0 of 2 tasks running", "the last checkpoint is 301.0 s old > 60.0 s"),
    ),
    "restarted once": (
        {"restarts": 1, "failures": failures(60_000)},
        "healthy",
        "restarted once in 10 min, the last at 01:45:40 UTC: c.Root: the reason",
    ),
    "restarted long ago": ({"restarts": 5, "failures": failures(*[700_000] * 5)}, "healthy", None),
    "restart loop": (
        {"restarts": 9, "failures": failures(1_000, 4_000, 7_000)},
        "failed",
        "restarted 3 times in 10 min > 2, the last at 01:46:39 UTC: c.Root: the reason",
    ),
    "restarts, with progress between them": (
        {"restarts": 3, "failures": failures(30_000, 90_000, 150_000)},
        "degraded",
        "restarted 3 times in 10 min > 2, the last at 01:46:10 UTC: c.Root: the reason",
    ),
    # Checkpoints.
    "old checkpoint": (age(61_000), "degraded", "the last checkpoint is 61.0 s old > 60.0 s"),
    "no checkpoint": ({"checkpoints": CheckpointReading()}, "degraded", "no checkpoint for 600.0 s > 60.0 s"),
    "no checkpoint yet": (STARTING, "healthy", None),
    "old checkpoint since others fail": (
        age(61_000, failures=failures(2_000, words="expired"), failed_in_a_row=6),
        "degraded",
        "the last checkpoint is 61.0 s old > 60.0 s, 6 failed since, the last at 01:46:38 UTC: expired",
    ),
    "three failed in a row": (
        age(31_000, failures=failures(2_000, 12_000, 22_000, words="expired"), failed_in_a_row=3),
        "degraded",
        "3 checkpoints failed in a row in 31.0 s, the last at 01:46:38 UTC: expired",
    ),
    "three failed in a row within moments": (
        age(3_000, failures=failures(500, 1_500, 2_500, words="expired"), failed_in_a_row=3),
        "healthy",
        "3 checkpoints failed in 10 min, the last at 01:46:39 UTC: expired",
    ),
    "one failed": (age(3_000, failures=failures(500), failed_in_a_row=1), "healthy", None),
    # Lag.
    "behind": ({"splits": splits((101, NOW))}, "degraded", "consumer lag 101 > 100 records"),
    "behind and rising": (
        {"splits": splits((48_210, NOW)), "trend": rate(310)},
        "degraded",
        "consumer lag 48,210 > 100 records, rising 310/s",
    ),
    "behind and catching up": (
        {"splits": splits((5_100, NOW)), "trend": rate(-500)},
        "degraded",
        "consumer lag 5,100 > 100 records, falling 500/s: inside the limit in 10.0 s",
    ),
    "behind and steady": (
        {"splits": splits((5_100, NOW)), "trend": rate(0.5)},
        "degraded",
        "consumer lag 5,100 > 100 records, steady",
    ),
    "one position unknown at the start": (
        {**STARTING, "splits": splits((None, NOW))},
        "unknown",
        "the consumer lag of t-0 is not known yet",
    ),
    "one position unknown after the start": (
        {"splits": splits((None, NOW))},
        "unknown",
        "the consumer lag of t-0 is not known: its readers report no position; only Kafka's readers do",
    ),
    "its topic is read by no Kafka source": (
        {**STARTING, "splits": splits((None, None)), "unread": ("t",)},
        "unknown",
        "no Kafka source of the job reads t: use its table in the pipeline, or remove it from the job's reads",
    ),
    "its topic is read by no Kafka source, after the start": (
        {"splits": splits((None, None)), "unread": ("t",)},
        "unknown",
        "no Kafka source of the job reads t: use its table in the pipeline, or remove it from the job's reads",
    ),
    "its topic is missing": (
        {"splits": None, "problems": ("topic t: unknown topic",)},
        "unknown",
        "topic t: unknown topic",
    ),
    "reads nothing": ({"splits": {}}, "healthy", None),
    # Stalled splits.
    "one split has stalled": (
        {"splits": stalled(61_000, None)},
        "failed",
        "partition t-0 not consumed since 01:45:39 UTC, with 7 records to read: 61.0 s > 60.0 s",
    ),
    "all splits have stalled": (
        {"splits": stalled(61_000, 70_000)},
        "failed",
        "2 of 2 partitions, t-0, t-1 not consumed since 01:45:30 UTC, with 14 records to read: 70.0 s > 60.0 s",
    ),
    "a split does not move for a moment": ({"splits": stalled(59_000, None)}, "healthy", None),
    "stale metrics": (
        {"trend": Trend(since_ms=NOW - 40_000, is_stale=True)},
        "unknown",
        "Flink has fetched no new metrics since 01:46:00 UTC",
    ),
    # Watermarks.
    "late": ({"splits": splits((3, NOW - 61_000))}, "degraded", "watermark 61.0 s behind > 60.0 s"),
    "no watermark": ({"splits": splits((5, NOW), (1, None))}, "degraded", "there is no watermark of t-1 yet"),
    "no watermark at the start": (
        {**STARTING, "splits": splits((1, None))},
        "unknown",
        "there is no watermark of t-0 yet",
    ),
    "no watermark since its tasks restarted": (
        {"splits": splits((1, None)), "restarts": 1, "failures": failures(20_000)},
        "unknown",
        (
            "restarted once in 10 min, the last at 01:46:20 UTC: c.Root: the reason",
            "there is no watermark of t-0 yet",
        ),
    ),
    "no watermark while its tasks restart": (
        {**RESTARTING, "splits": splits((1, None))},
        "degraded",
        "restarting: 0 of 2 tasks running",
    ),
    "one partition silent": ({"splits": splits((5, NOW), (0, NOW - 900_000))}, "healthy", None),
    "one partition without records, marked as idle": (
        {"splits": splits((5, NOW), (0, NOW - 900_000, 1, 1, None, True))},
        "healthy",
        None,
    ),
    "one partition without records, and it holds the watermark back": (
        {"splits": splits((5, NOW), (0, NOW - 900_000, 1, 1, None, False))},
        "degraded",
        "watermark 900.0 s behind > 60.0 s: t-1 has no input and no idle_timeout",
    ),
    "one partition never had a record, and holds the watermark back": (
        {"splits": splits((5, NOW), (0, None, 0, 0, None, False))},
        "degraded",
        "there is no watermark of t-1 yet: t-1 has no input and no idle_timeout",
    ),
    "without event time": ({"splits": splits((5, None)), "untimed": ("t",)}, "healthy", None),
    "without event time, and everything read for a moment": (
        {"splits": splits((0, None)), "untimed": ("t",), "trend": Trend(records_in_per_s=3.0)},
        "healthy",
        None,
    ),
    "without event time, at the first snapshot": ({"splits": splits((0, None)), "untimed": ("t",)}, "healthy", None),
    "without event time, and no input": (
        {"splits": splits((0, None)), "untimed": ("t",), "trend": Trend(records_in_per_s=0.0)},
        "idle",
        "no input",
    ),
    "one topic without event time, the other late": (
        {"splits": {("u", 0): SplitReading(5, NOW - 61_000), **splits((5, None))}, "untimed": ("t",)},
        "degraded",
        "watermark 61.0 s behind > 60.0 s",
    ),
    # No input.
    "no input": ({"splits": splits((0, NOW - 900_000)), "trend": NOTHING}, "idle", "no input"),
    "never any input": ({"splits": splits((0, None)), "tally": Tally(NOW, (ReadCounts("t"),))}, "idle", "no input"),
    "old watermark with everything read at the first snapshot": (
        {"splits": splits((0, NOW - 900_000))},
        "healthy",
        None,
    ),
    "records come without advancing the watermark": (
        {"splits": splits((0, None)), "trend": Trend(records_in_per_s=20.0)},
        "healthy",
        None,
    ),
    "no input for a moment": ({"splits": splits((0, NOW - 5_000))}, "healthy", None),
    # Backpressure.
    "backpressure with rising lag": (
        {"splits": splits((50, NOW)), "trend": rate(3, loads=LOADS), "backpressured": 0.97},
        "degraded",
        "backpressure: the source waits 97% of the time, lag 50 rising 3.0/s; "
        "busiest: slow[3] -> sink: Writer, 99% of the time",
    ),
    "backpressure without rising lag": (
        {"splits": splits((50, NOW)), "trend": rate(0, loads=LOADS), "backpressured": 0.97},
        "healthy",
        None,
    ),
    "backpressure with a small lag": (
        {"splits": splits((9, NOW)), "trend": rate(3, loads=LOADS), "backpressured": 0.97},
        "healthy",
        None,
    ),
    "rising lag without backpressure": ({"trend": rate(3, loads=LOADS), "backpressured": 0.1}, "healthy", None),
    # Worth knowing, without effect on the verdict.
    "dropped rows": (
        {"counters": Counters(late_dropped=1_234)},
        "healthy",
        "windows have dropped 1,234 rows that came behind the watermark",
    ),
}


@pytest.mark.parametrize(("changes", "state", "reason"), CASES.values(), ids=CASES)
def test_verdict_of_one_changed_figure(changes, state, reason):
    judged = verdict(replace(GOOD, **changes), HEALTH)
    reasons = reason if isinstance(reason, tuple) else (reason,) if reason else ()
    assert (judged.state, judged.reasons) == (state, reasons)


def test_worst_finding_decides_the_verdict_and_all_reasons_are_given():
    judged = verdict(replace(GOOD, splits=stalled(61_000, lag=101), trend=rate(20), **age(61_000)), HEALTH)
    assert judged.state == "failed"
    assert judged.reasons == (
        "the last checkpoint is 61.0 s old > 60.0 s",
        "partition t-0 not consumed since 01:45:39 UTC, with 101 records to read: 61.0 s > 60.0 s",
        "consumer lag 101 > 100 records, rising 20/s",
    )


def test_idle_verdict_still_reports_dropped_rows():
    snapshot = replace(GOOD, splits=splits((0, NOW - 900_000)), counters=Counters(late_dropped=2), trend=NOTHING)
    judged = verdict(snapshot, HEALTH)
    assert judged.state == "idle"
    assert judged.reasons == ("no input", "windows have dropped 2 rows that came behind the watermark")
