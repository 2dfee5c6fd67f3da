"""Which tasks of deploy.<job> the plan task skips, since they have nothing to do."""

from types import SimpleNamespace

import pytest
from airflow.sdk import DAG, BaseOperator

from sluice.airflow.approve import ApproveOperator
from sluice.airflow.deploy_tasks import deploy_group, deploy_tasks
from sluice.airflow.operators import CreateTopicsOperator, PackageOperator, PlanOperator, _idle, _later
from sluice.operation.driver import Driver
from sluice.plan.model import Plan, TopicAction
from tests.simulator.simulated import JOB
from tests.unit.airflow.tasks import context, execute, on


def plan_task():
    """The plan task of the DAG of a job."""
    with DAG(f"deploy.{JOB}", schedule=None) as dag:
        deploy_tasks(common={"job": JOB})
    return dag.get_task("plan")


def skipped(plan):
    """The tasks that are skipped if the job needs no operation."""
    return {task.task_id for task in _later(plan) if not getattr(task, "ends_group", False)}


def idle(task, action="keep"):
    """The tasks that are skipped for a plan without a loss of state that does this to the topic."""
    topics = (TopicAction(topic="t", action=action, words="w"),)
    plan = Plan(job=JOB, action="redeploy", category="stateless", fingerprint="f", topics=topics)
    return sorted(each.task_id for each in _idle(task, plan))


def test_all_tasks_after_the_plan_are_skipped_if_the_job_needs_no_operation():
    plan = plan_task()
    assert skipped(plan) == set(plan.dag.task_ids) - {"plan"}


def test_last_task_of_a_group_is_not_skipped_since_other_tasks_wait_for_it():
    with DAG("mine", schedule=None) as dag:
        group = deploy_group(JOB)
        after = BaseOperator(task_id="after")
        group >> after
    own = {each for each in dag.task_ids if each.startswith(f"deploy_{JOB}.")}
    found = skipped(dag.get_task(f"deploy_{JOB}.plan"))
    assert found == own - {f"deploy_{JOB}.plan", f"deploy_{JOB}.settle"}


@pytest.mark.parametrize(("action", "expected"), [("keep", ["approve", "create_topics"]), ("grow", ["approve"])])
def test_tasks_for_approval_and_topics_are_skipped_if_the_plan_needs_neither(action, expected):
    assert idle(plan_task(), action) == expected


def test_task_is_not_skipped_if_a_later_task_would_be_skipped_with_it():
    """By Airflow's default trigger rule."""
    with DAG("mine", schedule=None):
        plan = PlanOperator(task_id="plan", job=JOB)
        topics = CreateTopicsOperator(task_id="create_topics", job=JOB)
        plan >> topics >> PackageOperator(task_id="package", job=JOB)
    assert idle(plan) == []


def test_plan_skips_no_task_of_another_job_or_of_a_later_plan():
    more = {"trigger_rule": "none_failed"}
    with DAG("two", schedule=None):
        first = PlanOperator(task_id="a", job=JOB, **more)
        last = first
        for number, job in enumerate(("others", JOB)):
            steps = [
                PlanOperator(task_id=f"plan_{number}", job=job, **more),
                ApproveOperator(task_id=f"approve_{number}", job=job, plan={}, **more),
                CreateTopicsOperator(task_id=f"topics_{number}", job=job, **more),
                PackageOperator(task_id=f"package_{number}", job=job, **more),
            ]
            for step in steps:
                last >> step
                last = step
    assert idle(first) == []
    assert skipped(first) == set()


@pytest.mark.parametrize(
    ("asked", "loses_state", "expected"),
    [
        ({"config_hours": 2}, True, []),
        ({"config_hours": 2, "allow_state_loss": True}, True, ["approve", "create_topics"]),
        ({"config_least": 1}, False, ["approve", "create_topics"]),
    ],
)
def test_no_task_is_skipped_while_an_approval_is_awaited(simulated, asked, loses_state, expected):
    """The tasks after a skipped one would not wait for the approval."""
    simulated.deploy()
    task, found = on(simulated.project, plan_task()), []
    task.skip = lambda _ti, tasks: found.extend(each.task_id for each in tasks)
    values = execute(task, context(params=asked))
    assert values["needs_approval"] is loses_state
    assert sorted(found) == expected


def has_nothing_to_do(healthy_at="then", active=None, **changes):
    """Whether a plan for the running release has nothing to do."""
    plan = Plan(job=JOB, action="none", category="none", fingerprint="f", release=2).model_copy(update=changes)
    release = SimpleNamespace(healthy_at=healthy_at)
    ledger = SimpleNamespace(release=lambda _job, _number: release, active=lambda _job: active)
    return Driver(SimpleNamespace(ledger=ledger), JOB, "me", print).has_nothing_to_do(plan)


@pytest.mark.parametrize("topics", [(), (TopicAction(topic="t", action="keep", words="w"),)])
def test_plan_for_a_proven_running_release_has_nothing_to_do(topics):
    assert has_nothing_to_do(topics=topics)


@pytest.mark.parametrize(
    "difference",
    [
        {"topics": (TopicAction(topic="t", action="grow", words="w"),)},
        {"healthy_at": None},
        {"active": "another attempt"},
        {"action": "redeploy"},
    ],
    ids=["topic to change", "unproven release", "open operation", "other release"],
)
def test_later_tasks_are_needed_for_an_operation_a_topic_or_an_unproven_release(difference):
    assert not has_nothing_to_do(**difference)
