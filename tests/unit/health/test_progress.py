"""What proves that a job gets on, look by look."""

from dataclasses import replace

from sluice.flink.models import JobState
from sluice.health.progress import Proof
from sluice.health.snapshot import CheckpointReading, Counters, SplitReading
from tests.unit.health.judging import GOOD, NOW

WAITED = {("t", 0): 1}


def look(second, following=0, checkpoint=None, **changes):
    """A job that began at the moment 0, with one record waiting, so many seconds later."""
    split = SplitReading(1 - min(1, following), None, following=following, end=1)
    given = {
        "cluster_ms": NOW + second * 1_000,
        "began_ms": NOW,
        "splits": {("t", 0): split},
        "checkpoints": CheckpointReading(
            completed=int(checkpoint is not None),
            triggered_ms=None if checkpoint is None else NOW + checkpoint * 1_000,
        ),
        "counters": Counters(records_in=following),
    }
    return replace(GOOD, **given | changes)


def test_what_waits_must_be_read():
    proof = Proof(WAITED, {("t", 0): 0})
    assert proof.missing(look(3, checkpoint=2)) == "of t-0 nothing that waits has been read"


def test_a_checkpoint_must_begin_after_what_waited_was_read():
    proof = Proof(WAITED, {("t", 0): 0})
    assert proof.missing(look(5, following=1, checkpoint=4)) == "no checkpoint yet that covers what was read"
    assert proof.missing(look(9, following=1, checkpoint=8)) is None


def test_a_restart_takes_the_proof_back():
    proof = Proof(WAITED, {("t", 0): 0})
    assert proof.missing(look(5, following=1, checkpoint=4))
    again = {"began_ms": NOW + 6_000, "has_restarted": True}
    assert "began anew" in (proof.missing(look(9, following=1, checkpoint=8, **again)) or "")
    assert proof.missing(look(25, following=1, checkpoint=20, **again)) == "no checkpoint yet that covers what was read"
    assert proof.missing(look(29, following=1, checkpoint=28, **again)) is None


def test_positions_of_tasks_before_a_restart_prove_nothing_however_long_the_next_ones_initialize():
    proof = Proof(WAITED, {("t", 0): 0})
    assert proof.missing(look(5, following=1, checkpoint=4))
    again = {"began_ms": NOW + 6_000, "has_restarted": True}
    assert proof.missing(look(90, following=1, checkpoint=4, tasks_running=1, **again)) == "not all tasks run"
    assert "began anew" in (proof.missing(look(91, following=1, checkpoint=90, **again)) or "")
    assert "began anew" in (proof.missing(look(93, following=1, checkpoint=92, **again)) or "")


def test_a_job_that_is_restarting_proves_nothing():
    proof = Proof(WAITED, {("t", 0): 0})
    assert proof.missing(look(9, following=1, checkpoint=8, state=JobState.RESTARTING)) == "not all tasks run"


def test_of_a_backlog_some_must_be_read_and_covered():
    proof = Proof({("t", 0): 1_000_000}, {("t", 0): 0})
    backlog = {"splits": {("t", 0): SplitReading(999_000, None, following=1_000, end=1_000_000)}}
    assert proof.missing(look(5, checkpoint=4, **backlog)) == "of t-0 not all that waited has been read"
    assert proof.missing(look(36, checkpoint=4, **backlog)) == "no checkpoint yet that covers what was read"
    assert proof.missing(look(45, checkpoint=34, **backlog)) is None


def test_without_any_input_each_checkpoint_of_its_tasks_will_do():
    proof = Proof({("t", 0): 0})
    quiet = {
        "splits": {("t", 0): SplitReading(0, None, following=0, end=0, is_guessed=True)},
        "counters": Counters(records_in=0),
    }
    assert proof.missing(look(3, **quiet)) == "no checkpoint yet"
    assert proof.missing(look(5, checkpoint=4, **quiet)) is None


def test_what_was_read_before_the_first_look_must_be_covered_though_its_counter_is_older():
    proof = Proof(WAITED)
    read = {"counters": Counters(records_in=0)}
    assert proof.missing(look(3, following=1, checkpoint=2, **read)) == "no checkpoint yet that covers what was read"
    assert proof.missing(look(6, following=1, checkpoint=5, **read)) is None


def test_a_position_that_is_not_known_is_not_taken_for_read():
    proof = Proof(WAITED)
    unknown = {"splits": {("t", 0): SplitReading(None, None)}}
    assert proof.missing(look(5, checkpoint=4, **unknown)) == "where it stands in t-0 is not known yet"
    assert proof.missing(look(5, checkpoint=4, splits=None)) == "where it stands in its topics is not known yet"
