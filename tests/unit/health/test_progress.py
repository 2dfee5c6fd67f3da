"""The proof that a job makes progress, snapshot by snapshot."""

from dataclasses import replace

from sluice.flink.models import JobState
from sluice.health.progress import MetricsAge, Proof
from sluice.health.snapshot import CheckpointReading, Counters, SplitReading
from tests.unit.health.judging import GOOD, NOW

WAITED = {("t", 0): 1}
UNCOVERED = "no checkpoint yet that covers what was read"
UNCOUNTED = "how many of the records read are left out is not counted yet"


def snapshot(second, next_offset=0, checkpoint=None, **changes):
    """A snapshot so many seconds after the job's start, with one waiting record."""
    split = SplitReading(1 - min(1, next_offset), None, next_offset=next_offset, end=1)
    given = {
        "cluster_ms": NOW + second * 1_000,
        "began_ms": NOW,
        "splits": {("t", 0): split},
        "checkpoints": CheckpointReading(
            completed=int(checkpoint is not None),
            triggered_ms=None if checkpoint is None else NOW + checkpoint * 1_000,
            in_metrics=int(checkpoint is not None),
        ),
        "are_names_complete": True,
        "counters": Counters(records_in=next_offset),
    }
    return replace(GOOD, **given | changes)


def missing(proof, look):
    """What is missing once the counters are new: in the second of two equal snapshots."""
    assert proof.missing(look) == UNCOUNTED
    return proof.missing(look)


def test_proof_requires_that_waiting_records_are_read():
    proof = Proof(WAITED, {("t", 0): 0})
    assert proof.missing(snapshot(3, checkpoint=2)) == "none of the records that wait in t-0 has been read"


def test_proof_requires_a_checkpoint_after_the_waiting_records_were_read():
    proof = Proof(WAITED, {("t", 0): 0})
    assert proof.missing(snapshot(5, next_offset=1, checkpoint=4)) == UNCOVERED
    assert missing(proof, snapshot(9, next_offset=1, checkpoint=8)) is None


def test_proof_requires_counters_that_are_newer_than_the_checkpoint():
    proof = Proof(WAITED, {("t", 0): 0})
    before = {"checkpoints": CheckpointReading(completed=4, triggered_ms=NOW + 8_000, in_metrics=3)}
    after = {"checkpoints": CheckpointReading(completed=9, triggered_ms=NOW + 13_000, in_metrics=4)}
    unknown = {"checkpoints": CheckpointReading(completed=9, triggered_ms=NOW + 13_000, in_metrics=None)}
    assert proof.missing(snapshot(5, next_offset=1, checkpoint=4)) == UNCOVERED
    for _ in range(3):
        assert proof.missing(snapshot(9, next_offset=1, **before)) == UNCOUNTED
    assert proof.missing(snapshot(10, next_offset=1, **unknown)) == UNCOUNTED
    # The first checkpoint that covers the records is enough, however many have followed.
    assert proof.missing(snapshot(14, next_offset=1, **after)) == UNCOUNTED
    assert proof.missing(snapshot(15, next_offset=1, **after)) is None


def test_metrics_of_a_former_job_master_are_not_newer_than_the_checkpoint():
    proof = Proof(WAITED, {("t", 0): 0})
    assert proof.missing(snapshot(5, next_offset=1, checkpoint=4)) == UNCOVERED
    former = {"checkpoints": CheckpointReading(completed=1, triggered_ms=NOW + 8_000, in_metrics=50)}
    for second in (9, 10):
        assert proof.missing(snapshot(second, next_offset=1, **former)) == UNCOUNTED


def test_proof_requires_all_metrics_of_the_operators():
    proof = Proof(WAITED, {("t", 0): 0})
    assert proof.missing(snapshot(5, next_offset=1, checkpoint=4, are_names_complete=False)) == UNCOVERED
    assert missing(proof, snapshot(9, next_offset=1, checkpoint=8, are_names_complete=False)) == (
        "its operators have not registered all metrics yet"
    )
    # The gate of the consumer lag says that a declared topic is never read.
    assert proof.missing(snapshot(9, next_offset=1, checkpoint=8, are_names_complete=False, unread=("u",))) is None


def test_restart_discards_the_proof():
    proof = Proof(WAITED, {("t", 0): 0})
    assert proof.missing(snapshot(5, next_offset=1, checkpoint=4))
    again = {"began_ms": NOW + 6_000, "has_restarted": True}
    assert "restarted" in (proof.missing(snapshot(9, next_offset=1, checkpoint=8, **again)) or "")
    assert proof.missing(snapshot(25, next_offset=1, checkpoint=20, **again)) == UNCOVERED
    assert missing(proof, snapshot(29, next_offset=1, checkpoint=28, **again)) is None


def test_positions_from_before_a_restart_prove_nothing():
    proof = Proof(WAITED, {("t", 0): 0})
    assert proof.missing(snapshot(5, next_offset=1, checkpoint=4))
    again = {"began_ms": NOW + 6_000, "has_restarted": True}
    assert (
        proof.missing(snapshot(90, next_offset=1, checkpoint=4, tasks_running=1, **again))
        == "not all tasks are running"
    )
    assert "restarted" in (proof.missing(snapshot(91, next_offset=1, checkpoint=90, **again)) or "")
    assert "restarted" in (proof.missing(snapshot(93, next_offset=1, checkpoint=92, **again)) or "")


def test_restarting_job_proves_nothing():
    proof = Proof(WAITED, {("t", 0): 0})
    assert (
        proof.missing(snapshot(9, next_offset=1, checkpoint=8, state=JobState.RESTARTING))
        == "not all tasks are running"
    )


def test_proof_requires_the_first_records_of_a_backlog_in_a_checkpoint():
    proof = Proof({("t", 0): 1_000_000}, {("t", 0): 0})
    backlog = {"splits": {("t", 0): SplitReading(999_000, None, next_offset=1_000, end=1_000_000)}}
    assert proof.missing(snapshot(5, checkpoint=4, **backlog)) == "not all records that wait in t-0 have been read"
    assert proof.missing(snapshot(36, checkpoint=4, **backlog)) == UNCOVERED
    assert missing(proof, snapshot(45, checkpoint=34, **backlog)) is None


def test_without_input_any_checkpoint_of_the_tasks_is_proof():
    proof = Proof({("t", 0): 0})
    quiet = {
        "splits": {("t", 0): SplitReading(0, None, next_offset=0, end=0, is_guessed=True)},
        "counters": Counters(records_in=0),
    }
    assert proof.missing(snapshot(3, **quiet)) == "no checkpoint yet"
    assert proof.missing(snapshot(5, checkpoint=4, **quiet)) is None


def test_records_read_before_the_first_snapshot_must_be_in_a_checkpoint():
    proof = Proof(WAITED)
    read = {"counters": Counters(records_in=0)}
    assert proof.missing(snapshot(3, next_offset=1, checkpoint=2, **read)) == UNCOVERED
    assert missing(proof, snapshot(6, next_offset=1, checkpoint=5, **read)) is None


def test_unknown_position_does_not_count_as_read():
    proof = Proof(WAITED)
    unknown = {"splits": {("t", 0): SplitReading(None, None)}}
    assert proof.missing(snapshot(5, checkpoint=4, **unknown)) == "its position in t-0 is not known yet"
    assert proof.missing(snapshot(5, checkpoint=4, splits=None)) == "its positions in its topics are not known yet"


def stale_ms(*looks):
    """The age of the metrics at the last look; a look: second, completed checkpoints, those that the metrics show."""
    age = MetricsAge()
    found = 0
    for second, completed, shown in looks:
        found = age.stale_ms(
            snapshot(second, checkpoints=CheckpointReading(completed=completed, triggered_ms=NOW, in_metrics=shown))
        )
    return found


def test_metrics_are_as_old_as_their_last_change_once_they_miss_a_checkpoint():
    assert stale_ms((0, 5, 4), (10, 6, 4), (40, 9, 4)) == 40_000
    assert stale_ms((0, 5, None), (50, 9, None)) == 50_000
    assert stale_ms((0, 5, 4), (10, 6, 4), (40, 9, 8)) == 0
    # No checkpoint has completed since.
    assert stale_ms((0, 5, 5), (600, 5, 5)) == 0
    # One has completed only now.
    assert stale_ms((0, 5, 5), (600, 6, 5), (601, 6, 5)) == 1_000
