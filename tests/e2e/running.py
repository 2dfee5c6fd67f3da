"""Runs of DAGs through Airflow's own API."""

from contextlib import suppress
from pathlib import Path

import httpx
import psutil

from sluice.fleet.status import fleet_status
from sluice.local.layout import Local
from sluice.project import Project
from sluice.settings import Settings
from tests.support.waiting import STUCK, wait_for

ENDED = ("success", "failed")
_LOG = 30
"""Lines of a failed task's log that are printed."""


class _AskedAgain(httpx.HTTPTransport):
    """Repeats requests that Airflow answers with 503: several processes write its one SQLite file."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        while (response := super().handle_request(request)).status_code == httpx.codes.SERVICE_UNAVAILABLE:
            response.close()
        return response


def api(local: Local) -> httpx.Client:
    """Airflow's API."""
    return httpx.Client(base_url=f"{local.airflow_url}/api/v2", timeout=STUCK, transport=_AskedAgain())


def get(airflow, path, **params):
    return airflow.get(path, params=params).raise_for_status().json()


def trigger(airflow, dag, **conf):
    """Trigger a DAG; the run's path."""
    response = airflow.post(f"/dags/{dag}/dagRuns", json={"logical_date": None, "conf": conf}).raise_for_status()
    return f"/dags/{dag}/dagRuns/{response.json()['dag_run_id']}"


def tasks_of(airflow, path):
    """The run's tasks by name."""
    return {task["task_id"]: task for task in get(airflow, f"{path}/taskInstances")["task_instances"]}


def parse_dags(airflow):
    """Have the DAG processor read the product's DAG files now; its own turn may be a minute away."""
    for dag in ("deploy.dead_letters", "backfill.session_metrics"):
        found = airflow.get(f"/dags/{dag}")
        if found.is_success:
            # Status 409: another test has just requested the same.
            airflow.put(f"/parseDagFile/{found.json()['file_token']}")


def await_dag(airflow, dag):
    """Wait until Airflow has read a DAG; an error in its file ends the wait."""
    files = (f"{dag}.py", "own.py", "pages.py")

    def broken():
        found = [
            each for each in get(airflow, "/importErrors")["import_errors"] if Path(each["filename"]).name in files
        ]
        return found[0]["stack_trace"] if found else None

    def is_read():
        if airflow.get(f"/dags/{dag}").is_success:
            return True
        # Each time: the file may have been read a moment before it was changed.
        parse_dags(airflow)
        return False

    wait_for(is_read, f"there is no DAG {dag}", lost=broken, pause=2.0)


def states_of(airflow, path):
    """State and number of tries of the run's tasks, mapped ones each."""
    found = get(airflow, f"{path}/taskInstances", limit=1000)["task_instances"]
    return {(task["task_id"], task["map_index"]): (task["state"], task["try_number"]) for task in found}


def await_task(airflow, path, task, state):
    """Wait until a task of a run is in a state; the end of the run ends the wait."""

    def over():
        run = get(airflow, path)["state"]
        return f"the run is {run}: {states_of(airflow, path)}" if run in ENDED else None

    return wait_for(
        lambda: (found := tasks_of(airflow, path)[task])["state"] == state and found,
        f"{task} is never {state}",
        watched=lambda: states_of(airflow, path),
        lost=over,
    )


def _processes(title):
    """The processes whose titles end with this; Airflow gives its own the id of a task's try."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if " ".join(process.cmdline()).rstrip().endswith(title):
                found.append(process)
    return found


def process_of(task):
    """The process of a task's newest try; None: it has ended, or has not begun."""
    return next(iter(_processes(f"airflow worker -- {task['id']}")), None)


def await_known_end(airflow, task):
    """Wait until the scheduler knows that the process of a waiting task has ended.

    If the task is resumed earlier, Airflow marks the try as failed ("state mismatch").
    """
    wait_for(lambda: not _processes(task["id"]), pause=0.1)

    def heartbeat():
        return get(airflow, "/monitor/health")["scheduler"]["latest_scheduler_heartbeat"]

    # The first heartbeat may belong to a loop that read the executor's events before the process ended.
    for _ in range(2):
        seen = heartbeat()
        wait_for(lambda seen=seen: heartbeat() != seen, pause=0.1)


def pool(airflow, name, slots):
    """Create a pool that only one DAG uses: other workers' runs hold slots of the default pool."""
    body = {"name": name, "slots": slots, "include_deferred": False}
    airflow.post("/pools", json=body).raise_for_status()


def ended(airflow, path):
    """The run at the path, once it has ended; of one that has failed, the last lines of its tasks' logs are printed."""
    run = wait_for(
        lambda: (run := get(airflow, path))["state"] in ENDED and run,
        f"{path} does not end",
        watched=lambda: states_of(airflow, path),
    )
    if run["state"] == "failed":
        print_logs(airflow, path)
    return run


def print_logs(airflow, path, states=("failed",)):
    """Print the last lines of the logs of the run's tasks in these states."""
    tasks = get(airflow, f"{path}/taskInstances")["task_instances"]
    for task in (task for task in tasks if task["state"] in states):
        place = f"{path}/taskInstances/{task['task_id']}/logs/{task['try_number']}"
        answer = airflow.get(place, params={"map_index": task["map_index"]}).json()
        lines = answer.get("content", [answer])
        print(f"{task['dag_id']} {task['task_id']} {task['map_index']}:", *map(_words, lines[-_LOG:]), sep="\n  ")


def _words(line):
    """A line of a task's log; Airflow keeps an exception beside the line that tells of it."""
    if not isinstance(line, dict):
        return line
    raised = [f"{each['exc_type']}: {each['exc_value']}" for each in line.get("error_detail") or ()]
    return " ".join([line.get("event", str(line)), *raised])


def run_dag(airflow, dag, meanwhile=lambda: None, **conf):
    """Trigger a DAG, wait for its end; the run and its tasks by name."""
    path = trigger(airflow, dag, **conf)
    meanwhile()
    return ended(airflow, path), tasks_of(airflow, path)


def deploy(airflow, job, meanwhile=lambda: None, **conf):
    """Trigger deploy.<job>, wait for its end; the run and its tasks by name."""
    return run_dag(airflow, f"deploy.{job}", meanwhile, **conf)


def status(root, *jobs):
    return fleet_status(Project(Settings(root=root)), list(jobs))
