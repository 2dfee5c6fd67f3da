"""Plans that wait for an approval in Airflow, and answers to them by its API."""

from tests.e2e.running import await_known_end, await_task, states_of, tasks_of, trigger
from tests.support.waiting import wait_for

JOB = "processing_metrics"


def ask(airflow, minutes, **conf):
    """A run of the deploy DAG that waits for an approval; its path."""
    path = trigger(airflow, f"deploy.{JOB}", config_metrics_window_minutes=minutes, **conf)
    await_task(airflow, path, "approve", "awaiting_input")
    return path


def answer(airflow, path, option):
    """Answer as a person would, who reads first; what came of it.

    Airflow loses an answer that comes within a second of its asking, fails that try, and asks again, twice at the most.
    """
    await_known_end(airflow, tasks_of(airflow, path)["approve"])
    response = airflow.patch(f"{path}/taskInstances/approve/-1/hitlDetails", json={"chosen_options": [option]})
    given = response.raise_for_status().json()
    asked = tasks_of(airflow, path)["approve"]["try_number"]

    def taken():
        task = tasks_of(airflow, path)["approve"]
        is_asked_again = task["state"] == "awaiting_input" and task["try_number"] > asked
        return is_asked_again or task["state"] in ("success", "failed")

    wait_for(taken, watched=lambda: states_of(airflow, path))
    if tasks_of(airflow, path)["approve"]["state"] == "awaiting_input":
        return answer(airflow, path, option)
    return given


def clear(airflow, path, task):
    """Clear a task and what comes after it."""
    order = {"dag_run_id": path.rpartition("/")[2], "task_ids": [task], "include_downstream": True}
    order |= {"dry_run": False, "only_failed": False}
    airflow.post(f"/dags/deploy.{JOB}/clearTaskInstances", json=order).raise_for_status()


def log_of(airflow, path, task):
    tries = tasks_of(airflow, path)[task]["try_number"]
    return airflow.get(f"{path}/taskInstances/{task}/logs/{tries}").text
