"""A release is entered by the operation that holds the job, and once."""

import pytest

from sluice.errors import BusyError
from sluice.operation.executor import Executor
from tests.support.simulated import JOB, Died


def numbers(simulated):
    return [release.number for release in simulated.ledger.releases(JOB)]


def test_a_refused_deploy_enters_none_and_the_other_goes_on_with_its_own(simulated):
    simulated.deploy()
    simulated.dies_at = "before"
    with pytest.raises(Died):
        simulated.operate("airflow", overrides={"least": 1})
    simulated.dies_at = None
    planned = simulated.plan(overrides={"least": 2})
    other = Executor(simulated.project, planned, simulated.flink, simulated.compiler, "other", print)
    with pytest.raises(BusyError, match="deploy by airflow has been in progress"):
        other.start()
    assert numbers(simulated) == [2, 1]
    operation = simulated.ledger.active(JOB).id
    again = simulated.operate("airflow")
    assert (again.operation, again.release) == (operation, 2)


def test_one_that_dies_before_its_first_effect_is_gone_on_with(simulated, monkeypatch):
    simulated.deploy()

    def dies(*_arguments):
        raise Died

    with monkeypatch.context() as patched:
        patched.setattr(Executor, "_prepare", dies)
        with pytest.raises(Died):
            simulated.operate("airflow", overrides={"least": 1})
    operation = simulated.ledger.active(JOB).id
    assert simulated.operate("airflow", overrides={"least": 1}).operation == operation
    assert numbers(simulated) == [2, 1]


def test_what_runs_again_after_a_rollback_is_the_release_that_runs(simulated):
    simulated.deploy()
    simulated.deploy(overrides={"least": 1})
    back = simulated.deploy(kind="rollback")
    again = simulated.operate()
    assert (back.release, again.release, again.unchanged) == (1, 1, True)
    assert numbers(simulated) == [2, 1]
