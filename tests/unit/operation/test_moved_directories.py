"""A release may keep its state elsewhere than the one before: each one's is looked for where it was put."""

import pytest

from sluice.operation.stop import Stop
from tests.support.simulated import JOB, SAVEPOINTS, Died


def moved(simulated, option, directory):
    simulated.lab.deployment(f"jobs:\n  {JOB}:\n    flink: {{{option}: '{directory}'}}\n")


def test_the_checkpoints_of_what_runs_are_found_with_another_directory_for_the_new_release(simulated):
    first = simulated.deploy()
    path = simulated.checkpoint(first.flink_job_id)
    moved(simulated, "execution.checkpointing.dir", "file:///others")
    assert simulated.operate(mode="last-state").restored_from == path


def test_so_are_those_of_a_lost_job(simulated):
    first = simulated.deploy()
    path = simulated.checkpoint(first.flink_job_id)
    simulated.ledger.saw_checkpoint(JOB, first.flink_job_id)
    simulated.states.clear()
    moved(simulated, "execution.checkpointing.dir", "file:///others")
    assert simulated.operate().restored_from == path


def test_a_savepoint_is_found_where_the_stop_that_died_has_put_it(simulated, monkeypatch):
    complete = Stop.complete

    def stops_and_dies(self, place):
        complete(self, place)
        raise Died

    simulated.deploy()
    moved(simulated, "execution.checkpointing.savepoint-dir", "file:///others")
    with monkeypatch.context() as patched:
        patched.setattr(Stop, "complete", stops_and_dies)
        with pytest.raises(Died):
            simulated.operate("gone")
    moved(simulated, "execution.checkpointing.savepoint-dir", SAVEPOINTS)
    simulated.states.clear()
    started = simulated.operate()
    assert started.restored_from.startswith("file:///others/")
