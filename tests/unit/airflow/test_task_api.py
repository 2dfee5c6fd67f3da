"""The private parts of Airflow that sluice.airflow.task_api uses exist in the installed Airflow as it expects them.

In a process of its own, as the DAGs.
"""

import ast
from pathlib import Path

from tests.support.own_process import run_script

PACKAGE = Path(__file__).resolve().parents[3] / "include" / "sluice" / "airflow"
SCRIPT = """
import inspect
from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk.exceptions import ErrorType
from airflow.sdk.execution_time import comms, hitl, task_runner

# The requests have the fields that are sent, and require no others.
asked = comms.CreateHITLDetailPayload.model_fields
sent = {"ti_id", "options", "subject", "body", "defaults", "params", "multiple", "assigned_users"}
assert sent <= set(asked), asked
assert not {name for name, field in asked.items() if field.is_required()} - sent, asked
assert "body" in comms.HITLDetailRequestResult.model_fields
triggered = comms.TriggerDagRun.model_fields
sent = {"dag_id", "run_id", "logical_date", "conf", "reset_dag_run"}
assert sent <= set(triggered), triggered
assert not {name for name, field in triggered.items() if field.is_required()} - sent, triggered
assert "error" in comms.ErrorResponse.model_fields and ErrorType.DAGRUN_ALREADY_EXISTS

# Airflow's own function sends the same request for a question, and returns nothing.
text = inspect.getsource(hitl.upsert_hitl_detail)
assert "SUPERVISOR_COMMS.send(" in text and "CreateHITLDetailPayload(" in text and "return" not in text, text
assert "SUPERVISOR_COMMS" in task_runner.__dict__.get("__annotations__", {}) or hasattr(task_runner, "SUPERVISOR_COMMS")
for name in ("options", "subject", "body", "defaults", "serialized_params", "multiple", "assigned_users"):
    assert f"self.{name}" in inspect.getsource(HITLOperator), name

instance = task_runner.RuntimeTaskInstance
assert {"dag_id", "run_ids"} <= set(inspect.signature(instance.get_dr_count).parameters)
assert list(inspect.signature(instance.get_dagrun_state).parameters) == ["dag_id", "run_id"]
"""


def test_private_parts_of_airflow_are_as_expected(tmp_path):
    run_script(SCRIPT, tmp_path)


def test_no_other_module_uses_airflows_task_runner():
    users = {
        file.name
        for file in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ImportFrom)
        and (node.module or "").startswith("airflow.sdk.execution_time.")
        and node.module != "airflow.sdk.execution_time.xcom"
    }
    assert users == {"task_api.py"}
