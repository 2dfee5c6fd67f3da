"""A process that paused for longer than its lease finds that another one has taken over, and leaves no job behind."""

import pytest

from sluice.errors import BusyError
from tests.simulator.simulated import JOB


@pytest.fixture
def first(simulated):
    started = simulated.deploy()
    simulated.cluster.checkpoint(started.flink_job_id)
    return started


@pytest.mark.parametrize("outcome", ["healthy", None])
def test_job_that_is_submitted_after_a_takeover_is_cancelled(simulated, first, outcome):
    def take_over():
        started = simulated.operate("other", overrides={"least": 1})
        if outcome:
            simulated.settle(started)

    at_submit = simulated.ledger.at_write("after", "start submit", take_over)
    with at_submit, pytest.raises(BusyError, match="was taken over by another process"):
        simulated.operate("sleeper", overrides={"least": 1})
    assert len(simulated.cluster.submissions) == 3
    assert simulated.cluster.running_jobs() == [simulated.place.flink_job_id]
    assert simulated.ledger.operations(JOB)[0].outcome == outcome


def test_job_submitted_under_an_id_that_the_cluster_has_forgotten_is_cancelled(simulated, first):
    def take_over():
        simulated.deploy(holder="other", overrides={"least": 1})
        simulated.cluster.checkpoint(simulated.place.flink_job_id)
        # The cluster restarts, and the new holder starts the job under another id.
        simulated.cluster.states.clear()
        simulated.deploy(holder="other")

    with simulated.ledger.at_write("after", "start submit", take_over), pytest.raises(BusyError):
        simulated.operate("sleeper", overrides={"least": 1})
    late = simulated.cluster.submissions[-1].flink_job_id
    assert simulated.cluster.states[late] == "CANCELED"
    assert simulated.cluster.running_jobs() == [simulated.place.flink_job_id]


def test_job_that_the_new_holder_has_adopted_is_not_cancelled(simulated, first):
    adopted = []

    def take_over():
        adopted.append(simulated.operate("other"))

    with simulated.ledger.at_write("before", "start submitted", take_over), pytest.raises(BusyError):
        simulated.operate("sleeper", overrides={"least": 1})
    [other] = adopted
    assert (other.unchanged, simulated.cluster.running_jobs()) == (True, [other.flink_job_id])


def test_deploy_with_an_expired_lease_does_not_stop_the_job_of_the_new_holder(simulated, first):
    def take_over():
        simulated.deploy(holder="other", overrides={"least": 1})

    with simulated.ledger.at_write("after", "stop stop", take_over), pytest.raises(BusyError):
        simulated.operate("sleeper", overrides={"least": 2})
    assert (simulated.cluster.running_jobs(), simulated.place.release) == ([simulated.place.flink_job_id], 3)


def test_rollback_with_an_expired_lease_does_not_stop_the_job_of_the_new_holder(simulated, first):
    bad = simulated.operate("sleeper", overrides={"least": 1})

    def take_over():
        simulated.deploy(holder="other", overrides={"least": 2})
        with simulated.crash("after", "stop stop"):
            simulated.operate("crashed", overrides={"least": 3})

    with simulated.ledger.at_write("after", "back cancel", take_over), pytest.raises(BusyError):
        simulated.roll_back(bad.operation)
    assert simulated.place.phase == "stopping"
    assert simulated.cluster.running_jobs() == [simulated.place.flink_job_id]
