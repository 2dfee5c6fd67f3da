"""Text from outside is never a template: Airflow's own rendering, in a process of its own, with hostile text."""

from pathlib import Path

from tests.support.own_process import run_script

PREPARED = """
import sys
from copy import copy
from pathlib import Path
from types import SimpleNamespace
from airflow.sdk import DAG, BaseOperator
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

HOSTILE = [
    "{{ ti.__class__ }}", "{{ 7 * 7 }}", "{% for", "{%", "{# x", "}}", "{{", "$(id)", "['a']", "12", "%s %(x)s {0}",
]
HOSTILE.append("{{ open('" + sys.argv[1] + "/executed', 'w').close() }}")


class Task:
    map_index = 0
    def __init__(self, value, map_index=0):
        self.value, self.map_index = value, map_index
    def xcom_pull(self, **_):
        return self.value
    def get_relevant_upstream_map_indexes(self, **_):
        return None


def rendered(task, value, map_index=0):
    # As the worker does before it runs a task.
    task = task if task.is_mapped else copy(task)
    stub = Task(value, map_index)
    ti = RuntimeTaskInstance.model_construct(task=task, map_index=map_index)
    context = {
        "ti": stub, "task": task, "dag": task.dag, "dag_run": SimpleNamespace(conf={"reason": HOSTILE[0]}),
        "params": {"reason": HOSTILE[0]}, "ds": "2026-01-01",
    }
    stub.task = task
    ti.render_templates(context=context)
    return context["task"]


def gives(dag):
    with dag:
        return BaseOperator(task_id="gives").output
"""


def run(tmp_path: Path, script: str) -> None:
    run_script(PREPARED + script, tmp_path, str(tmp_path))
    assert not (tmp_path / "executed").exists()


def test_reason_of_a_run_triggered_by_the_sweep_is_not_a_template(tmp_path):
    run(
        tmp_path,
        """
from sluice.airflow.dags import sweep_dag
from sluice.airflow.sweep import _run
from sluice.fleet.decision import Decision
from sluice.fleet.needs import Needed
from sluice.plan.request import DeployRequest

(Path(sys.argv[1]) / "flink_jobs").mkdir()
operate = sweep_dag(Path(sys.argv[1])).get_task("operate")
for text in HOSTILE:
    request = DeployRequest(kind="rollback", target_release=1, expected_release=2)
    wanted = _run(Needed(text, Decision("recover", text), request), request, waits=True)
    task = rendered(operate, [wanted])
    assert task.conf == {**wanted["conf"], "reason": f"redeploy_and_verify: {text}: recover: {text}"}, task.conf
    assert (task.trigger_dag_id, task.wait_for_completion) == (f"deploy.{text}", True), task.trigger_dag_id
""",
    )


def test_value_passed_from_task_to_task_is_not_a_template(tmp_path):
    run(
        tmp_path,
        """
from sluice.airflow.deploy_tasks import deploy_tasks
from sluice.airflow.backfill import replay_tasks

for native in (False, True):
    with DAG("mine", schedule=None, render_template_as_native_obj=native) as dag:
        deploy_tasks(common={"job": "counts"})
    with DAG("replays", schedule=None, render_template_as_native_obj=native) as replays:
        replay_tasks(common={"job": "counts"})
    fields = {"approve": "plan", "switch_over": "plan", "check_running": "started", "settle": "started"}
    for text in HOSTILE:
        given = {"reasons": [text], "config": {text: text}, "savepoint": text}
        for name, field in fields.items():
            assert getattr(rendered(dag.get_task(name), given, -1), field) == given, (name, text)
        for name in ("report", "promote", "end_chunks"):
            assert rendered(replays.get_task(name), [given], -1).chunks == [given], (name, text)
        assert rendered(replays.get_task("replay"), [given]).chunk == given, text
""",
    )


def test_text_of_an_approval_request_is_not_a_template(tmp_path):
    run(
        tmp_path,
        """
from sluice.airflow.approve import ApproveOperator

with DAG("mine", schedule=None):
    approve = ApproveOperator(task_id="approve", job="counts", plan={})
for text in HOSTILE:
    approve.subject = approve.body = text
    task = rendered(approve, None, -1)
    assert (task.subject, task.body) == (text, text)
""",
    )


def test_settings_and_reasons_of_mapped_operators_are_not_templates(tmp_path):
    run(
        tmp_path,
        """
from sluice.airflow import BackfillOperator, DeployOperator, SavepointOperator
from sluice.airflow.gates import GateOperator

for text in HOSTILE:
    given = [{"job": "counts", "config": {"window": text}, "reason": text}]
    dag = DAG("mine", schedule=None)
    output = gives(dag)
    with dag:
        whole = DeployOperator.partial(task_id="whole").expand_kwargs(output)
        one = DeployOperator.partial(task_id="one", job="counts", reason="by {{ ds }}").expand(config=output)
        again = BackfillOperator.partial(task_id="again").expand_kwargs(output)
        gate = GateOperator.partial(task_id="gate", gate="running").expand_kwargs(output)
        taken = SavepointOperator.partial(task_id="taken", job="counts").expand(reason=output)
    task = rendered(whole, given)
    assert (task.asked["config_window"], task.asked["reason"]) == (text, text), task.asked
    assert rendered(one, [{"window": text}]).asked["config_window"] == text
    assert rendered(taken, [text]).reason == text
    given = [{"job": "counts", "asked": {"chunk": text}}]
    assert rendered(again, given).asked["chunk"] == text
    given = [{"job": "counts", "started": {"savepoint": text, "of": [text]}}]
    assert rendered(gate, given).started == given[0]["started"]
""",
    )


def test_text_of_a_dags_author_is_rendered_once(tmp_path):
    run(
        tmp_path,
        """
from sluice.airflow import DeployOperator

with DAG("mine", schedule=None):
    more = {"config": {"window": "{{ ds }}"}, "reason": "{{ dag_run.conf.reason }}"}
    plain = DeployOperator(task_id="plain", job="counts", **more)
    mapped = DeployOperator.partial(task_id="mapped", job="counts").expand(config=[{"window": "{{ ds }}"}])
task = rendered(plain, None, -1)
assert (task.asked["config_window"], task.asked["reason"]) == ("2026-01-01", HOSTILE[0]), task.asked
assert rendered(mapped, None).asked["config_window"] == "2026-01-01"
""",
    )


def test_only_fields_for_authors_and_values_of_other_tasks_are_template_fields(tmp_path):
    run(
        tmp_path,
        """
import importlib, inspect, pkgutil
import sluice.airflow

known = {"asked", "plan", "started", "chunk", "chunks", "reason"}
found = {}
for module in pkgutil.iter_modules(sluice.airflow.__path__, "sluice.airflow."):
    for name, value in vars(importlib.import_module(module.name)).items():
        if inspect.isclass(value) and issubclass(value, BaseOperator) and value.__module__.startswith("sluice."):
            found[name] = set(value.template_fields)
assert len(found) > 10, found
assert {name: fields - known for name, fields in found.items() if fields - known} == {}
assert found["DeployRunOperator"] == set()
""",
    )
