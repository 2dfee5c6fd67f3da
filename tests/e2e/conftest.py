"""One stack with Airflow for all workers, on a copy of the project; the main job runs once, before all tests.

Test files that change the same jobs run in one worker, one after the other (tests/support/scheduling.py). Tests that
affect every job, such as a sweep or the death of a service, are marked `alone`: they wait until no other test uses the
stack.
"""

import os
import pickle
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import httpx
import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from sluice.fleet.rows import JobStatus
from sluice.fleet.status import sweep_and_record
from sluice.ledger.ledger import Ledger
from sluice.local import airflow as local_airflow
from sluice.local.flink import gather_jars
from sluice.local.layout import Local
from sluice.local.main_job import run_main_job, traffic_service
from sluice.local.service import Service
from sluice.local.stack import Stack
from sluice.project import Project
from sluice.settings import Settings
from tests.e2e.running import api, await_dag, run_dag
from tests.support import shared_client
from tests.support.api_server import api_server
from tests.support.pages import examples
from tests.support.postgres import BINARIES, dump, start_server, stop_server
from tests.support.scheduling import ByJobs, position
from tests.support.shared_client import client_service, interpreter, server_environment, write_interpreter
from tests.support.sharing import locked, shared_directory
from tests.support.stacks import ROOT, stack_on_a_copy, variables_for

QUICK = {
    # How often Airflow checks; its defaults suit installations of many machines.
    "AIRFLOW__SCHEDULER__TRIGGER_TIMEOUT_CHECK_INTERVAL": "2",
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
    "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10",
    # Parsing every few seconds, as the stack's own setting asks for, takes a tenth of two cores. `await_dag` has a file
    # parsed when its test needs that.
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "60",
}
"""Settings of the stack's Airflow."""
_variables: dict[str, str] = {}
"""What the stack's processes and the tests have in their environment, once the stack has been prepared."""
_STACK, _ROWS, _DATABASE = "stack.pickle", "main-job.pickle", "database"


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the run, which all workers use."""
    return shared_directory(tmp_path_factory)


@pytest.fixture(scope="session")
def local(shared: Path) -> Local:
    """The stack. The first worker that needs it starts it; `pytest_sessionfinish` stops it."""
    with locked(shared / "start.lock"):
        known = shared / _STACK
        is_first = not known.exists()
        local = _prepare(shared) if is_first else pickle.loads(known.read_bytes())
        client = _client_directory(shared)
        _variables.update(variables_for(local) | {"SLUICE_CLIENT_PYTHON": str(interpreter(client))})
        os.environ.update(_variables)
        if is_first:
            known.write_bytes(pickle.dumps(local))
            _start(local, shared)
    assert (shared / _ROWS).exists(), "the stack or its main job failed in another worker"
    return local


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Give the tests of this directory the stack's environment, and no others: a worker may run those, too.

    pytest calls this for every test, also of other directories.
    """
    if not item.path.is_relative_to(Path(__file__).parent):
        return (yield)
    before = dict(os.environ)
    os.environ.update(_variables)
    try:
        return (yield)
    finally:
        os.environ.clear()
        os.environ.update(before)


def _prepare(shared: Path) -> Local:
    """Copy the project and choose ports; checkpoints are frequent, since rows can be read once one has completed."""
    root = shared / "project"
    # As in production: with SQLite, a request may wait for a minute while both workers' runs write.
    database = {"airflow_database": _start_database(shared)} if BINARIES else {}
    # Each event is a request to the broker by every job that reads it.
    local = stack_on_a_copy(root, airflow_options=QUICK, traffic_rate=15, **database)
    file = root / "deployments" / "local.yaml"
    file.write_text(file.read_text().replace("checkpointing.interval: 10 s", "checkpointing.interval: 3 s"))
    shutil.copy(Path(__file__).parent / "dags" / "own.py", root / "dags")
    shown = {}
    for page in ("in-dags-of-your-own", "wait-for-a-job", "assets-and-lineage"):
        shown |= examples(ROOT / "docs" / f"{page}.md")
    # Its schedule would start a run before its job is deployed: its test writes the file.
    del shown["nightly.py"]
    shown["hourly_rows.py"] = shown["hourly_rows.py"].replace("hours=1", "minutes=1")
    # One file: the DAG processor parses each file again every few seconds.
    (root / "dags" / "pages.py").write_text("\n".join(shown.values()))
    return local


def _client_directory(shared: Path) -> Path:
    """Where the clients of all tasks are started; `own_clients` gives a task's client a JVM of its own."""
    return shared / "client"


def _extra_services(local: Local, shared: Path) -> tuple[Service, ...]:
    return traffic_service(local), client_service(_client_directory(shared), gather_jars(local))


def _start_database(shared: Path) -> str:
    directory = start_server("airflow")
    (shared / _DATABASE).write_text(str(directory))
    return f"postgresql+psycopg://airflow@/postgres?host={directory}"


def _start(local: Local, shared: Path) -> None:
    stack = Stack(local)
    client = _client_directory(shared)
    client.mkdir()
    write_interpreter(client, server_environment(gather_jars(local)))
    extra = _extra_services(local, shared)
    stack.up(extra=extra)
    for service in extra:
        stack.start(service)
    rows = run_main_job(stack)
    with api(local) as airflow:
        for dag in ("waiting", "campaign"):
            await_dag(airflow, dag)
        run_dag(airflow, "redeploy_and_verify")
    (shared / _ROWS).write_bytes(pickle.dumps(rows))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Stop the stack, in the process that started the workers: it ends after them."""
    factory = getattr(session.config, "_tmp_path_factory", None)
    if "PYTEST_XDIST_WORKER" in os.environ or factory is None:
        return
    known, database = (factory.getbasetemp() / name for name in (_STACK, _DATABASE))
    if known.exists():
        Stack(pickle.loads(known.read_bytes())).down()
    if database.exists():
        stop_server(Path(database.read_text()))


@pytest.fixture(scope="session")
def database_content(local: Local, shared: Path) -> Callable[[], str]:
    """Returns what Airflow's database holds; nothing if it is a file below the stack's directory."""
    known = shared / _DATABASE
    return lambda: dump(Path(known.read_text()), "airflow") if known.exists() else ""


@pytest.fixture(scope="session")
def extra_services(local: Local, shared: Path) -> tuple[Service, ...]:
    """The stack's services beside its own."""
    return _extra_services(local, shared)


@pytest.fixture
def own_clients(local: Local, shared: Path) -> Iterator[None]:
    """Start a JVM for each client process, as production does: for tests that kill one of them."""
    directory = shared_client.own_clients(_client_directory(shared))
    with tempfile.NamedTemporaryFile(dir=directory):
        yield


@pytest.fixture(scope="session")
def stack(local: Local) -> Stack:
    return Stack(local)


@pytest.fixture(scope="session")
def main_job(local: Local, shared: Path) -> list[JobStatus]:
    """The jobs' status after the main job; one sweep of the fleet has run since."""
    return pickle.loads((shared / _ROWS).read_bytes())


@pytest.fixture(scope="module")
def seen(local: Local) -> None:
    """Record a sample of every job in the ledger: the first step of a sweep, without its deploys."""
    sweep_and_record(Project(Settings(root=local.root)))


@pytest.fixture(autouse=True)
def access(request: pytest.FixtureRequest) -> Iterator[None]:
    """Hold the stack: exclusively for a test marked `alone`, otherwise shared with other workers."""
    if "local" not in request.fixturenames:
        yield
        return
    shared = request.getfixturevalue("shared")
    request.getfixturevalue("local")
    with locked(shared / "fleet.lock", shared=request.node.get_closest_marker("alone") is None):
        yield


@pytest.fixture(scope="session")
def url(main_job: list[JobStatus], local: Local, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A second API server on the same databases: the stack's own takes everybody for an admin."""
    with api_server(tmp_path_factory.mktemp("server"), local_airflow.environment(local)) as url:
        yield url


@pytest.fixture
def airflow(local: Local) -> Iterator[httpx.Client]:
    with api(local) as client:
        yield client


@pytest.fixture
def root(local: Local) -> Path:
    return local.root


@pytest.fixture
def ledger(root: Path) -> Ledger:
    return Project(Settings(root=root)).ledger


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling | None:
    return ByJobs(config, log) if config.getvalue("dist") == "loadfile" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: position(item.nodeid))
