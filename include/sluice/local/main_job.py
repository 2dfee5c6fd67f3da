"""The main job: traffic, and a run of every deploy DAG, watched to its end."""

from __future__ import annotations

import sys
import time
from typing import Any

import httpx

from sluice.errors import OperationError
from sluice.fleet import JobStatus, fleet_status
from sluice.local.layout import Local
from sluice.local.service import Service
from sluice.local.stack import Stack, wait_until
from sluice.project import Project
from sluice.settings import Settings
from sluice.terminal import console

_PARSE_TIMEOUT = 90.0
_RUN_TIMEOUT = 900.0
_HEALTHY_TIMEOUT = 120.0


def traffic_service(local: Local) -> Service:
    """The generator as a supervised process."""
    return Service(name="traffic", command=(sys.executable, "-m", "sluice.local", "traffic"), variables=local.variables)


def run_main_job(stack: Stack) -> list[JobStatus]:
    """Feed traffic, deploy every job through Airflow, and wait until each is inside its limits.

    Returns:
        The jobs' status.

    Raises:
        OperationError: a run failed, or a job doesn't become healthy; names it and where to look.
    """
    local = stack.local
    # The same places as the stack's own processes.
    project = Project(Settings(root=local.root, home=local.home, flink_lib=local.home / "flink" / "lib"))
    jobs = project.enabled_jobs()
    stack.start(traffic_service(local))
    with httpx.Client(base_url=f"{local.airflow_url}/api/v2", timeout=30) as airflow:
        with stack.step("Airflow has parsed the DAGs"):
            wait_until(lambda: _parsed(airflow, jobs), _PARSE_TIMEOUT, "Airflow has not parsed every deploy DAG")
        runs = {job: _trigger(airflow, job) for job in jobs}
        with stack.step(f"deploy {len(jobs)} jobs"):
            _await_runs(airflow, runs, local.airflow_url)
    with stack.step("all jobs are healthy"):
        wait_until(lambda: _healthy(project, jobs), _HEALTHY_TIMEOUT, "not every job is healthy (sluice status)")
    return fleet_status(project, jobs)


def _parsed(airflow: httpx.Client, jobs: list[str]) -> bool:
    answer = airflow.get("/dags", params={"tags": "deploy", "limit": 1000}).raise_for_status().json()
    return {f"deploy.{job}" for job in jobs} <= {dag["dag_id"] for dag in answer["dags"]}


def _trigger(airflow: httpx.Client, job: str) -> str:
    airflow.patch(f"/dags/deploy.{job}", json={"is_paused": False}).raise_for_status()
    answer = airflow.post(f"/dags/deploy.{job}/dagRuns", json={"logical_date": None}).raise_for_status().json()
    return str(answer["dag_run_id"])


def _await_runs(airflow: httpx.Client, runs: dict[str, str], url: str) -> None:
    deadline = time.monotonic() + _RUN_TIMEOUT
    shown: dict[str, Any] = {}
    waiting = dict(runs)
    failed: list[str] = []
    while waiting:
        for job, run in list(waiting.items()):
            path = f"/dags/deploy.{job}/dagRuns/{run}"
            state = airflow.get(path).raise_for_status().json()["state"]
            tasks = airflow.get(f"{path}/taskInstances").raise_for_status().json()["task_instances"]
            at = next((t["task_id"] for t in tasks if t["state"] not in (None, "success")), None)
            if at and shown.get(job) != at:
                console.print(f"    {job:<22} {at}")
                shown[job] = at
            if state in ("success", "failed"):
                del waiting[job]
                console.print(f"    {job:<22} {state}")
                if state == "failed":
                    failed.append(f"{url}/dags/deploy.{job}/runs/{run}")
        if waiting and time.monotonic() > deadline:
            raise OperationError(f"not deployed within {_RUN_TIMEOUT:.0f} s: {', '.join(waiting)}", remedy=f"see {url}")
        time.sleep(1)
    if failed:
        raise OperationError(f"{len(failed)} deploys failed", remedy=f"see {', '.join(failed)}")


def _healthy(project: Project, jobs: list[str]) -> bool:
    return all(row.verdict == "healthy" for row in fleet_status(project, jobs))
