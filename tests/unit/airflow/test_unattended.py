"""Attempts of the sweep that fail before their operation begins count for its retry limits."""

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from sluice.airflow.operators import CreateTopicsOperator, PackageOperator, PlanOperator, SwitchOverOperator
from sluice.errors import BusyError, FlinkError, RefusedError, UnreachableError
from tests.simulator.simulated import JOB
from tests.unit.airflow.tasks import context, execute, on, raises

LAST = 3
"""The number of the last try of a task with two retries."""
REFUSED, UNREACHABLE = RefusedError("its state is missing"), UnreachableError("no answer")
TO_1 = {"operation": "rollback", "to_release": 1}


@pytest.fixture
def running(simulated):
    """The project, with release 2 running."""
    simulated.deploy()
    simulated.deploy(overrides={"least": 1})
    return simulated


def plan(running, error):
    running.compiler.during_compile = raises(error)
    return PlanOperator(task_id="t", job=JOB, asked=TO_1), running.project


def switch_over(running, error):
    running.compiler.during_compile = raises(error)
    return SwitchOverOperator(task_id="t", job=JOB, asked=TO_1, plan=None), running.project


def create_topics(running, error):
    running.brokers.describe = raises(error)
    operator = CreateTopicsOperator(task_id="t", job=JOB, asked={"operation": "deploy"})
    operator.brokers = lambda project: project.brokers
    return operator, running.project


def package(running, error):
    project = running.project
    project.catalog = FailingOnce(project.catalog, error)
    return PackageOperator(task_id="t", job=JOB, asked={"operation": "deploy"}), project


class FailingOnce:
    """A catalog whose first requested job can't be read."""

    def __init__(self, catalog, error):
        self._catalog, self._error = catalog, error

    def __getattr__(self, name):
        return getattr(self._catalog, name)

    def job(self, name):
        error, self._error = self._error, None
        if error is not None:
            raise error
        return self._catalog.job(name)


each_task = pytest.mark.parametrize(
    ("task", "attempt"),
    [
        (plan, ("rollback", 1)),
        (switch_over, ("rollback", 1)),
        (create_topics, ("deploy", 2)),
        (package, ("deploy", 2)),
    ],
    ids=["plan", "switch_over", "create_topics", "package"],
)


def failed_attempts(running, task, error, *, try_number=1, unattended=True):
    """Run the task, which fails with the error; the failed attempts in the ledger: kind, release and reason."""
    operator, project = task(running, error)
    operator.asked["unattended"] = unattended
    with pytest.raises(AirflowException) as failure:
        execute(on(project, operator), context(try_number=try_number))
    assert str(failure.value) == str(error)
    return recorded(running)


def recorded(running):
    operations = running.ledger.operations(JOB)
    return [(each.kind, each.release, each.reason) for each in operations if each.outcome == "failed"]


@each_task
def test_refused_attempt_is_recorded_at_its_first_try(running, task, attempt):
    assert failed_attempts(running, task, REFUSED) == [(*attempt, "its state is missing")]


@each_task
def test_attempt_without_an_answer_is_recorded_after_its_last_retry(running, task, attempt):
    assert failed_attempts(running, task, UNREACHABLE) == []
    assert failed_attempts(running, task, UNREACHABLE, try_number=LAST) == [(*attempt, "no answer")]


@each_task
def test_failed_attempt_of_a_person_is_not_recorded(running, task, attempt):
    assert failed_attempts(running, task, REFUSED, unattended=False) == []


@pytest.mark.parametrize("task", [plan, switch_over])
def test_attempt_blocked_by_another_operation_is_not_recorded(running, task):
    assert failed_attempts(running, task, BusyError("another operation is in progress")) == []


def test_failure_of_a_begun_operation_is_not_recorded_a_second_time(running):
    running.cluster.submit_errors = [FlinkError("its state can't be read")]
    operator = SwitchOverOperator(task_id="t", job=JOB, asked={**TO_1, "unattended": True}, plan=None)
    with pytest.raises(AirflowFailException, match="its state can't be read"):
        execute(on(running.project, operator), context())
    assert running.ledger.active(JOB).release == 1
    assert recorded(running) == []
