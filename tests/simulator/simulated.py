"""A real project and ledger over a simulated cluster, brokers, compiler and clock: no Java, no network."""

import sys
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from types import SimpleNamespace

import pytest

from sluice.health.gates import Reading
from sluice.kafka.topic_steps import Step, declare
from sluice.operation.context import OperationContext
from sluice.operation.executor import Executor
from sluice.operation.roll_back import roll_back
from sluice.plan.approval import Approval
from sluice.plan.planner import Planner
from sluice.plan.request import DeployRequest
from sluice.ports import Ports
from sluice.project import Project
from sluice.settings import make_private
from tests.simulator.brokers import SimulatedBrokers, partition
from tests.simulator.clock import SimulatedClock
from tests.simulator.cluster import Died, SimulatedCluster
from tests.simulator.compiler import SimulatedCompiler
from tests.simulator.job_files import TrustedFiles
from tests.simulator.ledger import HookedLedger
from tests.support.lab import Lab
from tests.support.ledgers import forget_operators, new_ledger
from tests.support.windowed import source

JOB = "counts"
TOPIC = f"{JOB}_lines"


async def pass_all(_project, order):
    """The readings of a job that passes every gate."""
    for gate in order.gates:
        yield gate, Reading(passed=True, words="passed")


class Simulated:
    """The project of the job `counts`, whose windows hold state.

    Args:
        root: The project's directory.
        clock: Its clock; None: a `SimulatedClock`.

    Attributes:
        clock: The clock of the project.
        cluster: The Flink cluster, and its client.
        brokers: The Kafka brokers.
        compiler: The client process.
        gates: Yields the readings of a started job's gates; by default all pass.
        log_lines: The progress messages of the operations.
        lab: The project's files.
    """

    def __init__(self, root, clock=None):
        self.clock = clock or SimulatedClock()
        self.cluster = SimulatedCluster(JOB, TOPIC, self.clock)
        self.brokers = SimulatedBrokers(partition(TOPIC, 0, 1_000))
        self.gates = pass_all
        self.log_lines = []
        self.lab = Lab(SimpleNamespace(kafka_servers="kafka:9092", flink_url=self.cluster.url, home=root), root, "test")
        self.lab.job(JOB, source(JOB))
        new_ledger(root / ".sluice")
        self._settings = self.lab.project.settings
        self.compiler = SimulatedCompiler(self._settings, self.cluster)
        self._ports = Ports(
            flink=lambda access: self.cluster.client(access.url),
            brokers=self.brokers,
            compiler=lambda *_arguments, **_named: self.compiler,
            gates=self._read_gates,
            file_check=TrustedFiles(),
            clock=self.clock,
        )
        topics = Project(self._settings, ports=self._ports).desired(JOB).topics.values()
        self.brokers.apply(Step(topic, "create") for topic in declare(topics))

    def _read_gates(self, project, order):
        return self.gates(project, order)

    @property
    def flink(self):
        """A client of the cluster."""
        return self.cluster.client()

    @property
    def project(self):
        """The project with its files read again, since they change between two operations."""
        project = Project(self._settings, ports=self._ports)
        project.ledger = self.ledger
        return project

    @cached_property
    def ledger(self):
        """The project's ledger."""
        make_private(self._settings.home)
        return HookedLedger(self._settings.ledger, self._settings.environment, clock=self.clock)

    @property
    def place(self):
        """The placement of the job."""
        return self.ledger.placement(JOB)

    @property
    def committed(self):
        """The committed offsets of the job's consumer group."""
        return self.brokers.group

    def rewrite(self, text):
        """Change the job's file, as another process would."""
        self.lab.job(JOB, text)
        sys.modules.pop(f"flink_jobs.{JOB}", None)

    def move(self, url, **options):
        """Let the deployment file name another cluster, which knows no job; the former one continues."""
        self.cluster.move(url, **options)
        self.lab.local.flink_url = url
        self.lab.deployment("")

    def plan(self, **request):
        """A plan, with what is needed to execute it."""
        return Planner(self.project, JOB, DeployRequest(**request), self.flink, self.compiler).plan()

    def operate(self, holder="me", *, approved=False, **request):
        """Start an operation, and execute its stages before the gates; it stays open."""
        return self.switch_over(self.plan(**request), holder, approved=approved)

    def switch_over(self, planned, holder="me", *, approved=False):
        """Execute the stages of a plan before the gates."""
        approval = Approval(holder, self.clock.now()) if approved is True else approved or None
        return Executor(self.context(holder), planned, approval=approval).start()

    def context(self, holder):
        """The context of an operation of this holder; every other holder is known to have ended."""
        return OperationContext(
            self.project,
            JOB,
            self.flink,
            self.compiler,
            holder,
            self.log_lines.append,
            is_gone=lambda other: other != holder,
        )

    def settle(self, started):
        """End an operation whose job has passed its gates."""
        self.ledger.resume(started.operation).finish("healthy")

    def deploy(self, **request):
        """An operation whose job passes its gates."""
        started = self.operate(**request)
        self.settle(started)
        return started

    def roll_back(self, operation):
        """Roll back an operation whose job does not pass its gates."""
        return roll_back(replace(self.context("me"), begun=self.ledger.resume(operation)), "it is bad")

    @contextmanager
    def crash(self, when, write):
        """The process inside dies `before` or `after` a write to the journal; see `HookedLedger.at_write`."""
        with self.ledger.at_write(when, write, die), pytest.raises(Died):
            yield

    def forget_operators(self):
        """Leave the releases as an older Sluice recorded them, without what their operators compute."""
        forget_operators(self.project, JOB)


def die():
    """End the process."""
    raise Died
