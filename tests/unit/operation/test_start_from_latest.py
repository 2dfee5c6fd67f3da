"""A job that reads from `latest` starts at offsets that the ledger records: no later record is skipped."""

import pytest

from sluice.kafka.offsets import Offsets
from tests.simulator.simulated import JOB, TOPIC
from tests.support.windowed import source


@pytest.fixture
def latest(simulated):
    simulated.rewrite(source(JOB).replace('_lines", record', '_lines", start="latest", record'))
    return simulated


def test_first_start_at_latest_commits_the_end_offsets(latest):
    latest.deploy()
    assert latest.committed == {(TOPIC, 0): 1_000}
    assert latest.compiler.prepared[-1][1], "it is compiled to start at the committed offsets"
    assert latest.place.positions == {TOPIC: {"0": 1_000}}


@pytest.mark.parametrize("end", ["FAILED", None])
def test_job_lost_before_its_first_checkpoint_restarts_at_its_start_offsets(latest, end):
    first = latest.deploy()
    if end is None:
        del latest.cluster.states[first.flink_job_id]
    else:
        latest.cluster.states[first.flink_job_id] = end
    latest.brokers.ends = {(TOPIC, 0): Offsets(0, 1_500)}
    latest.deploy()
    assert latest.committed == {(TOPIC, 0): 1_000}
    assert latest.place.positions == {TOPIC: {"0": 1_000}}


def test_new_release_reads_the_records_on_which_its_predecessor_failed(latest):
    first = latest.deploy()
    latest.cluster.states[first.flink_job_id] = "RESTARTING"
    latest.cluster.failures[first.flink_job_id] = [(5_000, "ValueError: poison")]
    latest.cluster.checkpoints_never_complete = True
    latest.brokers.ends = {(TOPIC, 0): Offsets(0, 1_500)}
    latest.deploy(overrides={"least": 1})
    assert latest.committed == {(TOPIC, 0): 1_000}
    assert latest.place.positions == {TOPIC: {"0": 1_000}}


def test_end_of_a_recreated_topic_replaces_the_committed_offset(latest):
    first = latest.deploy()
    latest.cluster.checkpoint(first.flink_job_id, position=700)
    latest.brokers.group = {(TOPIC, 0): 30}
    latest.brokers.ends = {(TOPIC, 0): Offsets(0, 50)}
    latest.deploy(overrides={"least": 1}, mode="stateless", approved=True)
    assert latest.committed == {(TOPIC, 0): 50}
    assert latest.place.positions == {TOPIC: {"0": 50}}


def test_partition_without_a_position_in_the_state_keeps_its_start_offset(latest):
    first = latest.deploy()
    latest.cluster.checkpoint(first.flink_job_id, position=-3)
    latest.brokers.ends = {(TOPIC, 0): Offsets(0, 1_500)}
    latest.deploy(overrides={"least": 1})
    assert latest.place.restored_from is not None
    assert latest.place.positions == {TOPIC: {"0": 1_000}}
