"""The main job of `make up`: traffic, and a run of every deploy DAG until all jobs are healthy."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from rich.markup import escape

from sluice.errors import OperationError
from sluice.fleet.rows import JobStatus
from sluice.fleet.status import fleet_status
from sluice.local.layout import HOST, Local
from sluice.local.service import Service
from sluice.local.stack import Stack, wait_until
from sluice.project import Project
from sluice.settings import Settings
from sluice.terminal import console

_PARSE_TIMEOUT = 90.0
_RUN_TIMEOUT = 900.0
_HEALTHY_TIMEOUT = 120.0
_SWEEP = "redeploy_and_verify"
_CONNECTION = "flink_default"
_OURS = "The cluster of the local stack; make up keeps it"
"""The description of a connection that `make up` has created."""
_PAGE = 100
_PAUSE = 1.0
"""Seconds between two requests."""


class Airflow:
    """Airflow's API, with retries while it doesn't answer.

    Args:
        client: A client with its base URL.
        logs: The directory of its logs, for messages.
        patience: Seconds from now until which requests are retried.
    """

    def __init__(self, client: httpx.Client, logs: Path, patience: float = _RUN_TIMEOUT) -> None:
        self._client = client
        self._logs = logs
        self.deadline = time.monotonic() + patience

    def ask(self, method: str, path: str, **given: Any) -> Any:
        """The response to an idempotent request, as JSON.

        Raises:
            OperationError: Airflow refuses the request, or does not answer by the deadline.
        """
        while True:
            try:
                answer = self._client.request(method, path, **given)
            except httpx.TransportError as error:
                words = str(error) or type(error).__name__
            else:
                if answer.status_code < 500:
                    break
                words = f"status {answer.status_code}"
            if time.monotonic() > self.deadline:
                raise OperationError(
                    f"Airflow does not answer {method} {path}: {words}", remedy=f"see {self._logs}/airflow-*.log"
                )
            time.sleep(_PAUSE)
        # A run that exists already is the one that this request created, whose first response was lost.
        if answer.is_error and not (method == "POST" and answer.status_code == httpx.codes.CONFLICT):
            raise OperationError(f"Airflow refuses {method} {path}: {answer.status_code} {answer.text[:500]}")
        return answer.json()


def traffic_service(local: Local) -> Service:
    """The traffic generator as a supervised process."""
    variables = {**local.variables, "SLUICE_TRAFFIC_RATE": str(local.traffic_rate)}
    if local.traffic_seed is not None:
        variables["SLUICE_TRAFFIC_SEED"] = str(local.traffic_seed)
    return Service(name="traffic", command=(sys.executable, "-m", "sluice.local", "traffic"), variables=variables)


def run_main_job(stack: Stack) -> list[JobStatus]:
    """Start the traffic, deploy every job through Airflow, and wait until each is healthy.

    Returns:
        The jobs' status; each broken file has a row of its own.

    Raises:
        OperationError: a run failed, or a job doesn't become healthy; with its name and the logs to read.
    """
    local = stack.local
    # The same directories as the stack's own processes use.
    project = Project(Settings(root=local.root, home=local.home, flink_lib=local.home / "flink" / "lib"))
    jobs = project.enabled_jobs()
    stack.start(traffic_service(local))
    with httpx.Client(base_url=f"{local.airflow_url}/api/v2", timeout=30) as client:
        airflow = Airflow(client, local.logs, _PARSE_TIMEOUT)
        with stack.step("Airflow has parsed the DAGs"):
            wait_until(
                lambda: _parsed(airflow, jobs),
                _PARSE_TIMEOUT,
                "Airflow has not parsed every DAG",
                f"see {local.logs}/airflow-dag-processor.log",
            )
        airflow = Airflow(client, local.logs)
        show_cluster(airflow, local)
        runs = {job: _trigger(airflow, job) for job in jobs}
        with stack.step(f"deploy {len(jobs)} jobs"):
            _await_runs(airflow, runs, local.airflow_url)
        airflow.ask("PATCH", f"/dags/{_SWEEP}", json={"is_paused": False})
    with stack.step("all jobs are healthy"):
        wait_until(
            lambda: _healthy(project, jobs),
            _HEALTHY_TIMEOUT,
            "not every job is healthy",
            f"see sluice status, and {local.logs}",
        )
    return fleet_status(project, [*jobs, *(file.name for file in project.catalog.broken)])


def show_cluster(airflow: Airflow, local: Local) -> None:
    """Create the connection `flink_default` in Airflow, as an example of its form and test button.

    A connection of this name that a user has created, to another cluster or with a login, stays unchanged.
    """
    entity = {"connection_id": _CONNECTION, "conn_type": "flink", "host": HOST, "port": local.flink_port}
    entity |= {"schema": "http", "description": _OURS}
    found = _connection(airflow)
    if found is not None and not _is_ours(found, entity):
        where = ":".join(str(found[name]) for name in ("host", "port") if found[name])
        console.print(
            f"    Airflow's connection {_CONNECTION} ({escape(where)}) is not this stack's: it stays unchanged"
        )
        return
    # A user may have created one since the request above.
    existing = "skip" if found is None else "overwrite"
    action = {"action": "create", "entities": [entity], "action_on_existence": existing}
    airflow.ask("PATCH", "/connections", json={"actions": [action]})


def _connection(airflow: Airflow) -> dict[str, Any] | None:
    params = {"connection_id_prefix_pattern": _CONNECTION, "order_by": "connection_id", "limit": 1}
    found = airflow.ask("GET", "/connections", params=params)["connections"]
    return next((each for each in found if each["connection_id"] == _CONNECTION), None)


def _is_ours(found: dict[str, Any], entity: dict[str, Any]) -> bool:
    """Whether `make up` created it, for any port, and no user has added to it since."""
    if found["login"] or found["password"] or found["extra"] not in (None, "", "{}"):
        return False
    same = ("conn_type", "host", "schema")
    is_local = all(found[name] == entity[name] for name in same)
    return is_local and (found["description"] == _OURS or found["port"] == entity["port"])


def _parsed(airflow: Airflow, jobs: list[str]) -> bool:
    return {_SWEEP, *(f"deploy.{job}" for job in jobs)} <= _dags(airflow)


def _dags(airflow: Airflow) -> set[str]:
    """The ids of the product's DAGs, page by page: Airflow returns at most 100 at once."""
    found: set[str] = set()
    offset = 0
    while True:
        page = airflow.ask("GET", "/dags", params={"tags": "sluice", "limit": _PAGE, "offset": offset})["dags"]
        found.update(dag["dag_id"] for dag in page)
        if len(page) < _PAGE:
            return found
        offset += _PAGE


def _trigger(airflow: Airflow, job: str) -> str:
    run = f"up__{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}"
    airflow.ask("PATCH", f"/dags/deploy.{job}", json={"is_paused": False})
    airflow.ask("POST", f"/dags/deploy.{job}/dagRuns", json={"logical_date": None, "dag_run_id": run})
    return run


def _await_runs(airflow: Airflow, runs: dict[str, str], url: str) -> None:
    shown: dict[str, Any] = {}
    waiting = dict(runs)
    failed: list[str] = []
    while waiting:
        for job, run in list(waiting.items()):
            path = f"/dags/deploy.{job}/dagRuns/{run}"
            state = airflow.ask("GET", path)["state"]
            tasks = airflow.ask("GET", f"{path}/taskInstances")["task_instances"]
            at = next((t["task_id"] for t in tasks if t["state"] not in (None, "success", "skipped")), None)
            if at and shown.get(job) != at:
                console.print(f"    {job:<22} {at}")
                shown[job] = at
            if state in ("success", "failed"):
                del waiting[job]
                console.print(f"    {job:<22} {state}")
                if state == "failed":
                    failed.append(f"{url}/dags/deploy.{job}/runs/{run}")
        if waiting and time.monotonic() > airflow.deadline:
            raise OperationError(f"not deployed within {_RUN_TIMEOUT:.0f} s: {', '.join(waiting)}", remedy=f"see {url}")
        time.sleep(1)
    if failed:
        raise OperationError(f"{len(failed)} deploys failed", remedy=f"see {', '.join(failed)}")


def _healthy(project: Project, jobs: list[str]) -> bool:
    return all(row.verdict == "healthy" for row in fleet_status(project, jobs))
