"""The private parts of Airflow that sluice.airflow.task_api uses exist in the installed Airflow as it expects them."""

import ast
import inspect
from pathlib import Path

import pytest
from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk.exceptions import ErrorType
from airflow.sdk.execution_time import comms, hitl, task_runner

PACKAGE = Path(__file__).resolve().parents[3] / "include" / "sluice" / "airflow"


@pytest.mark.parametrize(
    ("request_", "sent"),
    [
        (
            comms.CreateHITLDetailPayload,
            {"ti_id", "options", "subject", "body", "defaults", "params", "multiple", "assigned_users"},
        ),
        (comms.TriggerDagRun, {"dag_id", "run_id", "logical_date", "conf", "reset_dag_run"}),
    ],
)
def test_airflows_requests_have_the_fields_that_are_sent_and_require_no_others(request_, sent):
    fields = request_.model_fields
    assert sent <= set(fields)
    assert not {name for name, field in fields.items() if field.is_required()} - sent


def test_airflows_answers_have_the_fields_that_are_read():
    assert "body" in comms.HITLDetailRequestResult.model_fields
    assert "error" in comms.ErrorResponse.model_fields
    assert ErrorType.DAGRUN_ALREADY_EXISTS


def test_airflows_own_function_sends_the_same_question_and_returns_nothing():
    text = inspect.getsource(hitl.upsert_hitl_detail)
    assert "SUPERVISOR_COMMS.send(" in text
    assert "CreateHITLDetailPayload(" in text
    assert "return" not in text
    assert "SUPERVISOR_COMMS" in inspect.get_annotations(task_runner) or hasattr(task_runner, "SUPERVISOR_COMMS")


@pytest.mark.parametrize(
    "name", ["options", "subject", "body", "defaults", "serialized_params", "multiple", "assigned_users"]
)
def test_airflows_hitl_operator_has_the_attributes_that_are_read(name):
    assert f"self.{name}" in inspect.getsource(HITLOperator)


def test_airflows_task_instance_has_the_methods_that_a_trigger_calls():
    instance = task_runner.RuntimeTaskInstance
    assert {"dag_id", "run_ids"} <= set(inspect.signature(instance.get_dr_count).parameters)
    assert list(inspect.signature(instance.get_dagrun_state).parameters) == ["dag_id", "run_id"]


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
