"""A project of a test's own, on the run's Kafka and Flink."""

import os
import shutil
import signal
import sys
from pathlib import Path

from sluice.flink import calls
from sluice.flink.client import FlinkClient
from sluice.local.layout import Local
from sluice.local.supervise import Supervisor
from sluice.project import Project
from sluice.settings import Settings
from tests.support.running import slots
from tests.support.stacks import ROOT
from tests.support.waiting import wait_for

DEPLOYMENT = """
kafka:
  config: {{bootstrap.servers: "{servers}"}}
flink: {{url: "{url}"}}
defaults:
  # The generator makes one event in a hundred malformed, and one late.
  health: {{malformed: 0.05, late: 0.05}}
  flink:
    execution.checkpointing.interval: 1 s
    execution.checkpointing.externalized-checkpoint-retention: RETAIN_ON_CANCELLATION
{rest}
"""


class Lab:
    """A project of a test's own, on the run's Kafka and Flink.

    Args:
        local: The stack.
        root: The project's directory.
        environment: Its name.
        client_python: What starts the client processes; None: the interpreter of the tests.
    """

    def __init__(self, local: Local, root: Path, environment: str, client_python: Path | None = None) -> None:
        self.local = local
        self.root = root
        self.environment = environment
        self.client_python = client_python or Path(sys.executable)
        self.has_lost_tasks = False
        (root / "flink_jobs").mkdir()
        (root / "deployments").mkdir()
        self.deployment("")

    def use_own_clients(self) -> None:
        """Start a JVM for each client process, as production does: where a test kills one of them."""
        self.client_python = Path(sys.executable)

    def deployment(self, rest: str) -> None:
        text = DEPLOYMENT.format(servers=self.local.kafka_servers, url=self.local.flink_url, rest=rest)
        file = self.root / "deployments" / f"{self.environment}.yaml"
        # By renaming: another thread of the test may be reading it.
        written = file.with_suffix(".new")
        written.write_text(text)
        written.rename(file)

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
                client_python=self.client_python,
            )
        )

    @property
    def variables(self) -> dict[str, str]:
        """The environment of a `sluice` of the shell."""
        return {
            **os.environ,
            "SLUICE_ROOT": str(self.root),
            "SLUICE_HOME": str(self.root / ".sluice"),
            "SLUICE_ENVIRONMENT": self.environment,
            "SLUICE_CLIENT_CACHE": str(ROOT / ".sluice" / "client"),
            "SLUICE_CLIENT_PYTHON": str(self.client_python),
            "SLUICE_FLINK_LIB": str(self.local.home / "flink" / "lib"),
        }

    def kill_service(self, name: str) -> None:
        """SIGKILL to a service's processes; the supervisor starts it again."""
        self.has_lost_tasks |= name == "flink-taskmanager"
        pid = Supervisor(self.local.home, self.local.logs).states()[name]["pid"]
        os.killpg(os.getpgid(pid), signal.SIGKILL)

    def mend(self) -> None:
        """A JobManager anew after a test that has killed a TaskManager: it may fetch no metrics any more.

        See sluice.flink.stale_metrics: nor of any job of the tests that follow.
        """
        if self.has_lost_tasks:
            self.kill_service("flink-jobmanager")
            wait_for(lambda: slots(self.local.flink_url))

    def cancel_all(self) -> None:
        """Cancel every job and wait for their ends: the next test may use the same names."""
        with FlinkClient(self.local.flink_url) as flink:
            for job in flink.send(calls.jobs()).jobs:
                if not job.state.is_terminal:
                    flink.send(calls.cancel(job.id))
            wait_for(lambda: all(job.state.is_terminal for job in flink.send(calls.jobs()).jobs))
