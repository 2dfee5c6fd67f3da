"""The settings of the local stack's Airflow."""

from sluice.local.airflow import environment
from sluice.local.layout import Local


def test_new_job_file_is_read_within_seconds(tmp_path):
    """By default Airflow reads a DAG file again after half a minute, and so a new job of the user appears late."""
    variables = environment(Local(root=tmp_path, home=tmp_path, airflow_port=1))
    assert float(variables["AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL"]) <= 5
    assert float(variables["AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL"]) <= 10


def test_given_settings_replace_those_of_the_stack(tmp_path):
    name = "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL"
    local = Local(root=tmp_path, home=tmp_path, airflow_port=1, airflow_options={name: "60"})
    assert environment(local)[name] == "60"
