"""The whole stack with Airflow, on a copy of the project; the main job runs once for all tests."""

import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from sluice.fleet.rows import JobStatus
from sluice.local import airflow as local_airflow
from sluice.local.layout import Local
from sluice.local.main_job import run_main_job, traffic_service
from sluice.local.stack import Stack
from tests.e2e.running import run_dag
from tests.support.api_server import api_server
from tests.support.stacks import stack_on_a_copy, variables_for


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    local = stack_on_a_copy(tmp_path_factory.mktemp("project"))
    before = dict(os.environ)
    os.environ.update(variables_for(local))
    yield local
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
def stack(local: Local) -> Iterator[Stack]:
    stack = Stack(local)
    try:
        stack.up(extra=(traffic_service(local),))
        yield stack
    finally:
        stack.down()


@pytest.fixture(scope="session")
def main_job(stack: Stack) -> list[JobStatus]:
    return run_main_job(stack)


@pytest.fixture(scope="session")
def swept(main_job: list[JobStatus], local: Local) -> None:
    """The sweep of the fleet has looked."""
    with _api(local) as airflow:
        run_dag(airflow, "redeploy_and_verify")


@pytest.fixture(scope="session")
def url(main_job: list[JobStatus], local: Local, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A second API server on the same databases: the stack's own takes everybody for an admin."""
    with api_server(tmp_path_factory.mktemp("server"), local_airflow.environment(local)) as url:
        yield url


@pytest.fixture
def airflow(local: Local) -> Iterator[httpx.Client]:
    with _api(local) as client:
        yield client


def _api(local: Local) -> httpx.Client:
    return httpx.Client(base_url=f"{local.airflow_url}/api/v2", timeout=30)


@pytest.fixture
def root(local: Local) -> Path:
    return local.root


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The stack as it comes up is looked at before other tests change its jobs."""
    items.sort(key=lambda item: item.path.parent == Path(__file__).parent and item.path.name != "test_main_job.py")
