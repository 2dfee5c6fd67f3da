"""Runs of DAGs through Airflow's own API."""

import time

from sluice.fleet.status import fleet_status
from sluice.project import Project
from sluice.settings import Settings

_LOG = 30
"""Lines of a failed task's log that are printed."""


def wait_for(condition, timeout=90, instead=lambda: "nothing"):
    """Ask until the answer is true; returns it.

    Args:
        condition: What is asked.
        timeout: Seconds.
        instead: What is the case where it doesn't come about.
    """
    deadline = time.monotonic() + timeout
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"it did not happen; instead: {instead()}"
        time.sleep(1)
    return answer


def get(airflow, path, **params):
    return airflow.get(path, params=params).raise_for_status().json()


def trigger(airflow, dag, **conf):
    """Trigger a DAG; the run's path."""
    response = airflow.post(f"/dags/{dag}/dagRuns", json={"logical_date": None, "conf": conf}).raise_for_status()
    return f"/dags/{dag}/dagRuns/{response.json()['dag_run_id']}"


def tasks_of(airflow, path):
    """The run's tasks by name."""
    return {task["task_id"]: task for task in get(airflow, f"{path}/taskInstances")["task_instances"]}


def ended(airflow, path, timeout=120):
    """The run at the path, once it has ended; of one that has failed, the last lines of its tasks' logs are printed."""

    def states():
        return {name: (task["state"], task["try_number"]) for name, task in tasks_of(airflow, path).items()}

    run = wait_for(lambda: (run := get(airflow, path))["state"] in ("success", "failed") and run, timeout, states)
    if run["state"] == "failed":
        _print_logs(airflow, path)
    return run


def _print_logs(airflow, path):
    tasks = get(airflow, f"{path}/taskInstances")["task_instances"]
    for task in (task for task in tasks if task["state"] == "failed"):
        place = f"{path}/taskInstances/{task['task_id']}/logs/{task['try_number']}"
        told = airflow.get(place, params={"map_index": task["map_index"]}).json()
        lines = told.get("content", [told])
        events = [line.get("event", line) if isinstance(line, dict) else line for line in lines]
        print(f"{task['dag_id']} {task['task_id']} {task['map_index']}:", *events[-_LOG:], sep="\n  ")


def run_dag(airflow, dag, meanwhile=lambda: None, timeout=180, **conf):
    """Trigger a DAG, wait for its end; the run and its tasks by name."""
    path = trigger(airflow, dag, **conf)
    meanwhile()
    return ended(airflow, path, timeout), tasks_of(airflow, path)


def deploy(airflow, job, meanwhile=lambda: None, **conf):
    """Trigger deploy.<job>, wait for its end; the run and its tasks by name."""
    return run_dag(airflow, f"deploy.{job}", meanwhile, **conf)


def status(root, *jobs):
    return fleet_status(Project(Settings(root=root)), list(jobs))
