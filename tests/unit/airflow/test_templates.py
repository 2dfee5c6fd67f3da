"""Text from outside is never a template: Airflow's own rendering, with hostile text."""

import importlib
import inspect
import pkgutil
from copy import copy
from types import SimpleNamespace

import pytest
from airflow.sdk import DAG, BaseOperator
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

import sluice.airflow
from sluice.airflow import BackfillOperator, DeployOperator, SavepointOperator
from sluice.airflow.approve import ApproveOperator
from sluice.airflow.backfill import replay_tasks
from sluice.airflow.dags import sweep_dag
from sluice.airflow.deploy_tasks import deploy_tasks
from sluice.airflow.gates import GateOperator
from sluice.airflow.sweep import _run
from sluice.fleet.decision import Decision
from sluice.fleet.needs import Needed
from sluice.plan.request import DeployRequest

REASON = "{{ ti.__class__ }}"
OPENS_FILE = "{{ open('executed', 'w').close() }}"
HOSTILE = [
    REASON,
    "{{ 7 * 7 }}",
    "{% for",
    "{%",
    "{# x",
    "}}",
    "{{",
    "$(id)",
    "['a']",
    "12",
    "%s %(x)s {0}",
    OPENS_FILE,
]
each_hostile_text = pytest.mark.parametrize("text", HOSTILE)


@pytest.fixture(autouse=True)
def nothing_is_executed(tmp_path, monkeypatch):
    """No text of these tests is executed, which would create a file."""
    monkeypatch.chdir(tmp_path)
    yield
    assert not (tmp_path / "executed").exists()


class Task:
    """The task instance of a task that gets this value from another task."""

    def __init__(self, value, map_index):
        self.value, self.map_index = value, map_index

    def xcom_pull(self, **_):
        return self.value

    def get_relevant_upstream_map_indexes(self, **_):
        return None


def rendered(task, value, map_index=0):
    """The task as the worker renders it before it runs it."""
    task = task if task.is_mapped else copy(task)
    stub = Task(value, map_index)
    ti = RuntimeTaskInstance.model_construct(task=task, map_index=map_index)
    context = {
        "ti": stub,
        "task": task,
        "dag": task.dag,
        "dag_run": SimpleNamespace(conf={"reason": REASON}),
        "params": {"reason": REASON},
        "ds": "2026-01-01",
    }
    stub.task = task
    ti.render_templates(context=context)
    return context["task"]


@each_hostile_text
def test_reason_of_a_run_triggered_by_the_sweep_is_not_a_template(tmp_path, text):
    (tmp_path / "flink_jobs").mkdir()
    operate = sweep_dag(tmp_path).get_task("operate")
    request = DeployRequest(kind="rollback", target_release=1, expected_release=2)
    wanted = _run(Needed(text, Decision("recover", text), request), request, waits=True)
    task = rendered(operate, [wanted])
    assert task.conf == {**wanted["conf"], "reason": f"redeploy_and_verify: {text}: recover: {text}"}
    assert (task.trigger_dag_id, task.wait_for_completion) == (f"deploy.{text}", True)


@pytest.mark.parametrize("native", [False, True])
def test_value_passed_from_task_to_task_is_not_a_template(native):
    with DAG("mine", schedule=None, render_template_as_native_obj=native) as dag:
        deploy_tasks(common={"job": "counts"})
    with DAG("replays", schedule=None, render_template_as_native_obj=native) as replays:
        replay_tasks(common={"job": "counts"})
    fields = {
        "approve": "plan",
        "create_topics": "plan",
        "package": "plan",
        "switch_over": "plan",
        "check_running": "started",
        "settle": "started",
    }
    for text in HOSTILE:
        given = {"reasons": [text], "config": {text: text}, "savepoint": text}
        for name, field in fields.items():
            assert getattr(rendered(dag.get_task(name), given, -1), field) == given, (name, text)
        for name in ("report", "promote", "end_chunks"):
            assert rendered(replays.get_task(name), [given], -1).chunks == [given], (name, text)
        assert rendered(replays.get_task("replay"), [given]).chunk == given, text


@each_hostile_text
def test_text_of_an_approval_request_is_not_a_template(text):
    with DAG("mine", schedule=None):
        approve = ApproveOperator(task_id="approve", job="counts", plan={})
    approve.subject = approve.body = text
    task = rendered(approve, None, -1)
    assert (task.subject, task.body) == (text, text)


@each_hostile_text
def test_settings_and_reasons_of_mapped_operators_are_not_templates(text):
    with DAG("mine", schedule=None):
        output = BaseOperator(task_id="gives").output
        whole = DeployOperator.partial(task_id="whole").expand_kwargs(output)
        one = DeployOperator.partial(task_id="one", job="counts", reason="by {{ ds }}").expand(config=output)
        again = BackfillOperator.partial(task_id="again").expand_kwargs(output)
        gate = GateOperator.partial(task_id="gate", gate="running").expand_kwargs(output)
        taken = SavepointOperator.partial(task_id="taken", job="counts").expand(reason=output)
    task = rendered(whole, [{"job": "counts", "config": {"window": text}, "reason": text}])
    assert (task.asked["config_window"], task.asked["reason"]) == (text, text)
    assert rendered(one, [{"window": text}]).asked["config_window"] == text
    assert rendered(taken, [text]).reason == text
    assert rendered(again, [{"job": "counts", "asked": {"chunk": text}}]).asked["chunk"] == text
    given = [{"job": "counts", "started": {"savepoint": text, "of": [text]}}]
    assert rendered(gate, given).started == given[0]["started"]


def test_text_of_a_dags_author_is_rendered_once():
    with DAG("mine", schedule=None):
        more = {"config": {"window": "{{ ds }}"}, "reason": "{{ dag_run.conf.reason }}"}
        plain = DeployOperator(task_id="plain", job="counts", **more)
        mapped = DeployOperator.partial(task_id="mapped", job="counts").expand(config=[{"window": "{{ ds }}"}])
    task = rendered(plain, None, -1)
    assert (task.asked["config_window"], task.asked["reason"]) == ("2026-01-01", REASON)
    assert rendered(mapped, None).asked["config_window"] == "2026-01-01"


def test_only_fields_for_authors_and_values_of_other_tasks_are_template_fields():
    known = {"asked", "plan", "started", "chunk", "chunks", "reason"}
    found = {}
    for module in pkgutil.iter_modules(sluice.airflow.__path__, "sluice.airflow."):
        for name, value in vars(importlib.import_module(module.name)).items():
            if inspect.isclass(value) and issubclass(value, BaseOperator) and value.__module__.startswith("sluice."):
                found[name] = set(value.template_fields)
    assert len(found) > 10
    assert {name: fields - known for name, fields in found.items() if fields - known} == {}
    assert found["DeployRunOperator"] == set()
