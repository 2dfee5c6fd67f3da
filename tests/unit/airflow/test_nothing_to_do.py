"""A run of deploy.<job> ends after its plan task if nothing has changed; in a process of its own, as the DAGs."""

from tests.support.own_process import run_script

PREPARED = """
from types import SimpleNamespace
from airflow.sdk import DAG, BaseOperator
from sluice.airflow.deploy_tasks import deploy_group, deploy_tasks
from sluice.airflow.operators import _later
from sluice.operation.driver import Driver
from sluice.plan.model import Plan, TopicAction

def skipped(plan):
    return {task.task_id for task in _later(plan) if not getattr(task, "ends_group", False)}
"""
TASKS = """
with DAG("deploy.counts", schedule=None) as dag:
    deploy_tasks(common={"job": "counts"})
assert skipped(dag.get_task("plan")) == set(dag.task_ids) - {"plan"}, skipped(dag.get_task("plan"))
"""
GROUP = """
with DAG("mine", schedule=None) as dag:
    group = deploy_group("counts")
    after = BaseOperator(task_id="after")
    group >> after
own = {each for each in dag.task_ids if each.startswith("deploy_counts.")}
found = skipped(dag.get_task("deploy_counts.plan"))
assert found == own - {"deploy_counts.plan", "deploy_counts.settle"}, found
"""
IDLE = """
from sluice.airflow.approve import ApproveOperator
from sluice.airflow.operators import CreateTopicsOperator, PackageOperator, PlanOperator, _idle

def idle(task, action="keep"):
    plan = Plan(job="counts", action="redeploy", category="stateless", fingerprint="f",
                topics=(TopicAction(topic="t", action=action, words="w"),))
    return sorted(each.task_id for each in _idle(task, plan))

with DAG("deploy.counts", schedule=None) as dag:
    deploy_tasks(common={"job": "counts"})
plan = dag.get_task("plan")
assert idle(plan) == ["approve", "create_topics"], idle(plan)
assert idle(plan, "grow") == ["approve"]

with DAG("mine", schedule=None) as dag:
    first = PlanOperator(task_id="plan", job="counts")
    topics = CreateTopicsOperator(task_id="create_topics", job="counts")
    first >> topics >> PackageOperator(task_id="package", job="counts")
assert idle(first) == [], idle(first)

# A DAG with two jobs: a plan skips nothing of the other job, nor of a later plan of its own.
with DAG("two", schedule=None):
    more = {"trigger_rule": "none_failed"}
    first = PlanOperator(task_id="a", job="counts", **more)
    last = first
    for number, job in enumerate(("others", "counts")):
        steps = [PlanOperator(task_id=f"plan_{number}", job=job, **more),
                 ApproveOperator(task_id=f"approve_{number}", job=job, plan={}, **more),
                 CreateTopicsOperator(task_id=f"topics_{number}", job=job, **more),
                 PackageOperator(task_id=f"package_{number}", job=job, **more)]
        for step in steps:
            last >> step
            last = step
assert idle(first) == [], idle(first)
assert skipped(first) == set(), skipped(first)

# While an approval is waited for, no task is skipped: those after it would start.
def skips(allow, plan):
    task = PlanOperator(task_id="p", job="counts", asked={"allow_state_loss": allow})
    found = []
    task.skip = lambda ti, tasks: found.extend(tasks)
    task.project = lambda: SimpleNamespace(ledger=SimpleNamespace(refuse_busy=lambda *_: None))
    task.wait_for_lock = lambda *_: None
    task.driver = lambda *_: SimpleNamespace(has_nothing_to_do=lambda plan: False)
    task.is_gone, task.holder = (lambda context: None), (lambda context: "me")
    operation_run.make_plan = lambda *_a, **_k: plan
    operators._idle = lambda *_: ["idle"]
    task.execute({"ti": SimpleNamespace(xcom_push=lambda **_: None, map_index=-1, try_number=1, max_tries=0)})
    return found

from sluice.airflow import operators
from sluice.operation import run as operation_run
loses = Plan(job="counts", action="redeploy", category="state_breaking", fingerprint="f", needs_approval=True)
assert skips(False, loses) == []
assert skips(True, loses) == ["idle"]
assert skips(False, loses.model_copy(update={"needs_approval": False})) == ["idle"]
"""
CASES = """
base = Plan(job="counts", action="none", category="none", fingerprint="f", release=2)
grown = base.model_copy(update={"topics": (TopicAction(topic="t", action="grow", words="w"),)})
kept = base.model_copy(update={"topics": (TopicAction(topic="t", action="keep", words="w"),)})

def nothing(plan, healthy_at="then", active=None):
    release = SimpleNamespace(healthy_at=healthy_at)
    ledger = SimpleNamespace(release=lambda job, number: release, active=lambda job: active)
    return Driver(SimpleNamespace(ledger=ledger), "counts", "me", print).has_nothing_to_do(plan)

assert nothing(base)
assert nothing(kept)
assert not nothing(grown)
assert not nothing(base, healthy_at=None)
assert not nothing(base, active="another attempt")
assert not nothing(base.model_copy(update={"action": "redeploy"}))
"""


def test_all_tasks_after_the_plan_are_skipped(tmp_path):
    run_script(PREPARED + TASKS, tmp_path)


def test_last_task_of_a_group_is_not_skipped_since_other_tasks_wait_for_it(tmp_path):
    run_script(PREPARED + GROUP, tmp_path)


def test_tasks_without_work_are_skipped_unless_later_ones_would_be_skipped_with_them(tmp_path):
    run_script(PREPARED + IDLE, tmp_path)


def test_unproven_release_open_operation_or_a_topic_to_change_need_the_later_tasks(tmp_path):
    run_script(PREPARED + CASES, tmp_path)
