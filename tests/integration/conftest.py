"""One Kafka and one Flink for the whole run."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from sluice.flink import calls
from sluice.flink.client import FlinkClient
from sluice.local.layout import Local
from sluice.local.stack import Stack
from sluice.project import Project
from sluice.settings import Settings
from tests.integration.running import wait_for
from tests.support.stacks import ROOT, local_stack

DEPLOYMENT = """
kafka:
  config: {{bootstrap.servers: "{servers}"}}
flink: {{url: "{url}"}}
defaults:
  flink:
    execution.checkpointing.interval: 1 s
    execution.checkpointing.externalized-checkpoint-retention: RETAIN_ON_CANCELLATION
{rest}
"""


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    local = local_stack(tmp_path_factory.mktemp("stack"))
    stack = Stack(local)
    try:
        stack.up(with_airflow=False)
        yield local
    finally:
        stack.down()


class Lab:
    """A project of a test's own, on the run's Kafka and Flink."""

    def __init__(self, local: Local, root: Path, environment: str) -> None:
        self.local = local
        self.root = root
        self.environment = environment
        (root / "flink_jobs").mkdir()
        (root / "deployments").mkdir()
        self.deployment("")

    def deployment(self, rest: str) -> None:
        text = DEPLOYMENT.format(servers=self.local.kafka_servers, url=self.local.flink_url, rest=rest)
        (self.root / "deployments" / f"{self.environment}.yaml").write_text(text)

    def job(self, name: str, source: str) -> None:
        (self.root / "flink_jobs" / f"{name}.py").write_text(source)

    def product_jobs(self) -> None:
        shutil.copytree(ROOT / "flink_jobs", self.root / "flink_jobs", dirs_exist_ok=True)

    @property
    def project(self) -> Project:
        """Read anew each time: files change between two deploys."""
        return Project(
            Settings(
                root=self.root,
                home=self.root / ".sluice",
                environment=self.environment,
                flink_lib=self.local.home / "flink" / "lib",
                client_cache=ROOT / ".sluice" / "client",
            )
        )

    def cancel_all(self) -> None:
        """Cancel every job and wait for their ends: the next test may use the same names."""
        with FlinkClient(self.local.flink_url) as flink:
            for job in flink.send(calls.jobs()).jobs:
                if not job.state.is_terminal:
                    flink.send(calls.cancel(job.id))
            wait_for(lambda: all(job.state.is_terminal for job in flink.send(calls.jobs()).jobs))


@pytest.fixture
def lab(local: Local, tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(local, tmp_path, "test")
    yield lab
    lab.cancel_all()
