"""A release may use other directories than the one before: state is searched where it was written."""

from tests.simulator.cluster import SAVEPOINTS
from tests.simulator.simulated import JOB


def moved(simulated, option, directory):
    simulated.lab.deployment(f"jobs:\n  {JOB}:\n    flink: {{{option}: '{directory}'}}\n")


def test_checkpoints_of_a_running_job_are_found_after_a_change_of_directory(simulated):
    first = simulated.deploy()
    path = simulated.cluster.checkpoint(first.flink_job_id)
    moved(simulated, "execution.checkpointing.dir", "file:///others")
    assert simulated.operate(mode="last-state").restored_from == path


def test_checkpoints_of_a_lost_job_are_found_after_a_change_of_directory(simulated):
    first = simulated.deploy()
    path = simulated.cluster.checkpoint(first.flink_job_id)
    simulated.ledger.saw_checkpoint(JOB, first.flink_job_id)
    simulated.cluster.states.clear()
    moved(simulated, "execution.checkpointing.dir", "file:///others")
    assert simulated.operate().restored_from == path


def test_savepoint_of_an_interrupted_stop_is_found_after_a_change_of_directory(simulated):
    simulated.deploy()
    moved(simulated, "execution.checkpointing.savepoint-dir", "file:///others")
    with simulated.crash("before", "savepoint"):
        simulated.operate("crashed")
    moved(simulated, "execution.checkpointing.savepoint-dir", SAVEPOINTS)
    simulated.cluster.states.clear()
    started = simulated.operate()
    assert started.restored_from.startswith("file:///others/")
