"""A job that reads from `latest` begins at offsets that the ledger knows: nothing that comes afterwards is skipped."""

import pytest

from sluice.kafka.offsets import Offsets
from tests.support.simulated import JOB, TOPIC
from tests.support.windowed import source


@pytest.fixture
def latest(simulated):
    simulated.rewrite(source(JOB).replace('_lines", record', '_lines", start="latest", record'))
    return simulated


def test_first_start_commits_the_ends_to_the_group_and_begins_there(latest):
    latest.deploy()
    assert latest.committed == {(TOPIC, 0): 1_000}
    assert latest.prepared[-1][1], "it is compiled to begin at the offsets of its group"
    assert latest.place.positions == {TOPIC: {"0": 1_000}}


@pytest.mark.parametrize("end", ["FAILED", None])
def test_job_that_is_lost_before_its_first_checkpoint_begins_again_where_it_began(latest, end):
    first = latest.deploy()
    if end is None:
        del latest.states[first.flink_job_id]
    else:
        latest.states[first.flink_job_id] = end
    latest.ends = {(TOPIC, 0): Offsets(0, 1_500)}
    latest.deploy()
    assert latest.committed == {(TOPIC, 0): 1_000}
    assert latest.place.positions == {TOPIC: {"0": 1_000}}


def test_fix_of_a_release_without_a_checkpoint_reads_what_that_one_failed_on(latest):
    first = latest.deploy()
    latest.states[first.flink_job_id] = "RESTARTING"
    latest.failures[first.flink_job_id] = [(5_000, "ValueError: poison")]
    latest.lets_nothing_through = True
    latest.ends = {(TOPIC, 0): Offsets(0, 1_500)}
    latest.deploy(overrides={"least": 1})
    assert latest.committed == {(TOPIC, 0): 1_000}
    assert latest.place.positions == {TOPIC: {"0": 1_000}}


def test_end_of_a_topic_that_was_made_anew_replaces_the_offset_that_the_group_has(latest):
    first = latest.deploy()
    latest.checkpoint(first.flink_job_id, position=700)
    latest.committed = {(TOPIC, 0): 30}
    latest.ends = {(TOPIC, 0): Offsets(0, 50)}
    latest.deploy(overrides={"least": 1}, mode="stateless", approved=True)
    assert latest.committed == {(TOPIC, 0): 50}
    assert latest.place.positions == {TOPIC: {"0": 50}}


def test_state_that_has_read_nothing_of_a_partition_keeps_the_offset_where_the_job_began(latest):
    first = latest.deploy()
    latest.checkpoint(first.flink_job_id, position=-3)
    latest.ends = {(TOPIC, 0): Offsets(0, 1_500)}
    latest.deploy(overrides={"least": 1})
    assert latest.place.restored_from is not None
    assert latest.place.positions == {TOPIC: {"0": 1_000}}
