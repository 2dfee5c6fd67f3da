"""A release is added once, by the operation that holds the job's lock."""

from dataclasses import replace

import pytest

from sluice.errors import BusyError
from sluice.operation.executor import Executor
from tests.simulator.cluster import Died
from tests.simulator.simulated import JOB


def numbers(simulated):
    return [release.number for release in simulated.ledger.releases(JOB)]


def test_refused_deploy_adds_no_release_and_the_lock_holder_continues(simulated):
    simulated.deploy()
    simulated.cluster.dies_at_submit = "before"
    with pytest.raises(Died):
        simulated.operate("airflow", overrides={"least": 1})
    simulated.cluster.dies_at_submit = None
    planned = simulated.plan(overrides={"least": 2})
    other = Executor(replace(simulated.context("other"), is_gone=lambda _holder: False), planned)
    with pytest.raises(BusyError, match="deploy by airflow has been in progress"):
        other.start()
    assert numbers(simulated) == [2, 1]
    operation = simulated.ledger.active(JOB).id
    again = simulated.operate("airflow")
    assert (again.operation, again.release) == (operation, 2)


def test_deploy_that_crashed_before_its_first_stage_is_continued(simulated):
    simulated.deploy()
    with simulated.crash("before", 1):
        simulated.operate("airflow", overrides={"least": 1})
    operation = simulated.ledger.active(JOB).id
    assert simulated.operate("airflow", overrides={"least": 1}).operation == operation
    assert numbers(simulated) == [2, 1]


def test_deploy_after_a_rollback_finds_the_former_release_unchanged(simulated):
    simulated.deploy()
    simulated.deploy(overrides={"least": 1})
    back = simulated.deploy(kind="rollback")
    again = simulated.operate()
    assert (back.release, again.release, again.unchanged) == (1, 1, True)
    assert numbers(simulated) == [2, 1]
