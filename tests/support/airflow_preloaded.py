"""What the scripts of the tests use of Airflow, imported once for all of them."""

from importlib import import_module

for name in ("approve", "assets", "dags", "operators", "savepoint", "sweep", "timetable", "triggers"):
    import_module(f"sluice.airflow.{name}")
import_module("airflow.sdk.execution_time.task_runner")
