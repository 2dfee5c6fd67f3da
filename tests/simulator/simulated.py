"""A real project and ledger over a cluster and a client that functions stand for: no Java, no network."""

import json
import re
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from types import SimpleNamespace

import httpx

from sluice.client.protocol import Found, Graph, Operator, OperatorState, Ready, State, Vertex
from sluice.errors import FlinkError, OperationError, StateError
from sluice.flink import stale_metrics
from sluice.flink.client import FlinkClient
from sluice.flink.exchange import NoAnswerError
from sluice.health.gates import Reading
from sluice.kafka.topic_steps import Step, declare
from sluice.operation import roll_back_cause
from sluice.operation import stop as stop_module
from sluice.operation.context import OperationContext
from sluice.operation.executor import Executor
from sluice.operation.roll_back import roll_back
from sluice.plan.approval import Approval
from sluice.plan.planner import Planner
from sluice.plan.request import DeployRequest
from sluice.ports import Ports
from sluice.project import Project
from sluice.release.jars import stored_jars
from tests.simulator.brokers import FakeBrokers, partition
from tests.simulator.job_files import TrustedFiles
from tests.support.answering import answered_by
from tests.support.lab import Lab
from tests.support.ledgers import forget_operators, new_ledger
from tests.support.windowed import source

JOB = "counts"
TOPIC = f"{JOB}_lines"
CHECKPOINTS, SAVEPOINTS = "file:///checkpoints", "file:///savepoints"


class Died(BaseException):
    """As by SIGKILL: nothing catches it."""


def state(*operators, position=7):
    """What a checkpoint holds: these operators, and where partition 0 is read on."""
    held = (
        OperatorState(id=id_, name=id_, parallelism=1, max_parallelism=128, size=10)
        for id_ in ("Source: lines", *operators)
    )
    return State(checkpoint_id=1, operators=tuple(held), positions={TOPIC: {0: position}})


def graph(*operators, digest="d", computes=""):
    """What a release compiles to; its operators all compute the same."""
    compiled = tuple(
        Operator(id=id_, uid=None, name=id_, description=computes) for id_ in ("Source: lines", *operators)
    )
    vertex = Vertex(id="v", name="v", parallelism=1, max_parallelism=-1, operators=compiled)
    return Graph(vertices=(vertex,), slots=1, columns={}, digest=digest)


async def pass_all(_project, order):
    """Readings by which a job passes every gate."""
    for gate in order.gates:
        yield gate, Reading(passed=True, words="passed")


class Simulated:
    """The project `counts`, whose windows hold state.

    Attributes:
        states: Flink's state of each job that the cluster knows, by its id.
        completed: The newest checkpoint of a job, by its id.
        files: What lies in the checkpoints and savepoints that exist, by their paths.
        asked: Each request: method, path, body.
        orders: Each order that was submitted.
        jars: The URLs of those that the last compiled release is shipped with.
        prepared: What was compiled: its settings, and whether offsets are carried over.
        compiles_to: The operators, beside the source, for a value of the setting `least`; others: a window.
        computes: What the operators compute, for a value of the setting `least`; others: nothing is said of it.
        brokers: Kafka's brokers.
        dies_at: Submitting dies before (`before`) or after (`after`) the cluster has the job.
        refuses: What each submission fails with, first come, first served.
        vanishes: What the next looks at a checkpoint fail with.
        fails_while_stopping: A job that is told to stop fails instead.
        during_compile: Called once, while a release is compiled.
        savepoint_fails: What the savepoint of a stop fails with; the job runs on, unless it `fails_while_stopping`.
        retains: Checkpoints outlive a cancel.
        failures: What each job has failed with, newest first, by its id: epoch milliseconds and the exception's words.
        stands_still: The cluster's metrics don't change any more.
        lets_nothing_through: No checkpoint that is asked for comes to an end.
        releases: The release that each job was submitted as, by its id.
        loses: How many of the next submissions are given up, and are under way from then on.
        under_way: Those orders, in their order; `arrive` lets one come up.
        arrives_in: After how many requests and submissions the first of them comes up by itself; None: never.
        twice: The jobs that ran at the same moment, wherever there was more than one.
        gates: Yields the readings of a started job's gates; by default all pass.
        url: The address of the cluster that the project names.
        clusters: Other clusters by their addresses: the states of the jobs that each knows, or None: it doesn't answer.
        options: Of the cluster at each address, beside its directories.
    """

    def __init__(self, root, monkeypatch):
        self.states, self.completed, self.files = {}, {}, {}
        self.asked, self.orders, self.prepared, self.log_lines = [], [], [], []
        self.releases, self.under_way, self.twice = {}, [], []
        self.loses, self.arrives_in = 0, None
        self.url, self.clusters, self.options = "http://flink", {}, {}
        self.jars = ()
        self.compiles_to = {}
        self.computes = {}
        self.brokers = FakeBrokers(partition(TOPIC, 0, 1_000))
        self.dies_at = self.refuses = self.savepoint_fails = None
        self.fails_while_stopping = self.stands_still = self.lets_nothing_through = False
        self.retains = True
        self.vanishes = []
        self.failures = {}
        self.during_compile = None
        self.gates = pass_all
        self.lab = Lab(SimpleNamespace(kafka_servers="kafka:9092", flink_url="http://flink", home=root), root, "test")
        self.lab.job(JOB, source(JOB))
        new_ledger(root / ".sluice")
        ports = Ports(
            flink=lambda access: self.client(access.url),
            brokers=self.brokers,
            compiler=lambda *_arguments, **_named: Client(self),
            gates=self._read_gates,
            file_check=TrustedFiles(),
        )
        self._project = Project(self.lab.project.settings, ports=ports)
        self.brokers.apply(Step(topic, "create") for topic in declare(self._project.desired(JOB).topics.values()))
        self.flink = self.client(self.url)
        monkeypatch.setattr(stale_metrics, "_DEFAULT", timedelta(0))
        monkeypatch.setattr(stop_module, "_SETTLES", 0.01)
        for module, name in ((stale_metrics, "_SLACK"), (stale_metrics, "_PAUSE"), (roll_back_cause, "_RECOVERY")):
            monkeypatch.setattr(module, name, 0.01)

    def _read_gates(self, project, order):
        return self.gates(project, order)

    @property
    def ends(self):
        """Start and end offset of each partition."""
        return self.brokers.ends

    @ends.setter
    def ends(self, ends):
        self.brokers.ends = ends

    @property
    def committed(self):
        """The committed offsets of the job's consumer group."""
        return self.brokers.group

    @committed.setter
    def committed(self, offsets):
        self.brokers.group = offsets

    @property
    def project(self):
        """Read anew each time: files change between two deploys."""
        return self._project.reread()

    @property
    def ledger(self):
        return self.project.ledger

    @property
    def place(self):
        return self.ledger.placement(JOB)

    def rewrite(self, text):
        """Change the job's file, for what reads it as another process would."""
        self.lab.job(JOB, text)
        sys.modules.pop(f"flink_jobs.{JOB}", None)

    def plan(self, **request):
        """A plan, with what it takes to do it."""
        self.compiler = Client(self)
        return Planner(self.project, JOB, DeployRequest(**request), self.flink, self.compiler).plan()

    def operate(self, holder="me", *, approved=False, **request):
        """An operation up to the start; it is left open, as at its gates."""
        return self.switch_over(self.plan(**request), holder, approved=approved)

    def switch_over(self, planned, holder="me", *, approved=False):
        """Do a plan up to the start."""
        approval = Approval(holder, datetime.now(UTC)) if approved is True else approved or None
        return Executor(self.context(holder), planned, approval=approval).start()

    def context(self, holder):
        """The context of an operation of this holder, to whom all others have ended."""
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
        """Its gates are passed."""
        self.ledger.resume(started.operation).finish("healthy")

    def deploy(self, **request):
        """An operation that passes its gates."""
        started = self.operate(**request)
        self.settle(started)
        return started

    def roll_back(self, operation):
        """The way back of an operation that does not pass its gates."""
        context = replace(self.context("me"), compiler=Client(self), begun=self.ledger.resume(operation))
        return roll_back(context, "it is bad")

    def forget_operators(self):
        """Leave the releases as those are that were entered before what operators compute was kept."""
        forget_operators(self.project, JOB)

    def checkpoint(self, job, *operators, number=1, position=7):
        """Let a job complete a checkpoint; its path."""
        path = f"{CHECKPOINTS}/{job}/chk-{number}"
        self.files[path] = state(*(operators or ("Window",)), position=position)
        self.completed[job] = path
        return path

    def alive(self):
        """The jobs that run."""
        return [job for job, stands in self.states.items() if stands == "RUNNING"]

    def submit(self, order):
        self._goes_on()
        if self.dies_at == "before":
            raise Died
        if self.refuses:
            raise self.refuses.pop(0)
        self.orders.append(order)
        if self.loses:
            self.loses -= 1
            self.under_way.append(order)
            raise OperationError("client process: submit took longer than 60 s")
        if not self._admit(order):
            raise FlinkError("DuplicateJobSubmissionException: Job has already been submitted.")
        if self.dies_at == "after":
            raise Died

    def arrive(self):
        """The first submission that is under way comes to the cluster."""
        self._admit(self.under_way.pop(0))

    def _admit(self, order):
        """Flink runs one job of an id, and none again of an id that it has had."""
        if order.flink_job_id in self.states:
            return False
        self.states[order.flink_job_id] = "RUNNING"
        self.releases[order.flink_job_id] = order.release
        if len(self.alive()) > 1:
            self.twice.append(self.alive())
        return True

    def _goes_on(self):
        if self.arrives_in is not None and self.under_way:
            self.arrives_in -= 1
            if self.arrives_in < 0:
                self.arrives_in = None
                self.arrive()

    def client(self, url):
        """A client of the cluster at an address."""

        def exchange(method, target, body):
            if self.clusters.get(url, {}) is None:
                raise NoAnswerError("connection refused")
            here, there = self.states, self.clusters.get(url, {})
            asks_here = url == self.url
            self.states = here if asks_here else there
            try:
                return answered_by(partial(self._answer, url=url))(method, target, body)
            finally:
                self.states = here

        return FlinkClient(url, exchange=exchange, pauses=())

    def move(self, url, **options):
        """Let the project name another cluster, which knows no job; the former one goes on."""
        self.clusters[self.url], self.states, self.url = self.states, {}, url
        self.options[url] = options
        self.flink = self.client(url)
        self.lab.local.flink_url = url
        self.lab.deployment("")

    def _answer(self, request, url=None):
        self._answers_for = url or self.url
        self._goes_on()
        body = json.loads(request.content) if request.content else {}
        self.asked.append((request.method, request.url.path, body))
        for pattern, answer in _ROUTES.items():
            if found := re.fullmatch(pattern, f"{request.method} {request.url.path}"):
                return answer(self, body, *found.groups())
        raise AssertionError(request.url)

    def _overview(self, _body):
        jobs = [
            {
                "jid": job,
                "name": JOB,
                "state": stands,
                "start-time": 1,
                "tasks": {"total": 1, "running": int(stands == "RUNNING")},
            }
            for job, stands in self.states.items()
        ]
        return httpx.Response(200, json={"jobs": jobs})

    def _status(self, _body, job):
        if job not in self.states:
            return httpx.Response(404, json={"errors": [f"Job {job} not found"]})
        return httpx.Response(200, json={"status": self.states[job]})

    def _checkpoints(self, _body, job):
        if job not in self.states:
            return httpx.Response(404, json={"errors": [f"Job {job} not found"]})
        path = self.completed.get(job)
        newest = {"id": 1, "external_path": path, "trigger_timestamp": 1}
        counts = {"restored": 0, "in_progress": 0, "failed": 0, "completed": int(path is not None)}
        return httpx.Response(200, json={"counts": counts, "latest": {"completed": newest if path else None}})

    def _exceptions(self, _body, job):
        entries = [{"timestamp": at, "stacktrace": words} for at, words in self.failures.get(job, ())]
        return httpx.Response(200, json={"exceptionHistory": {"entries": entries}})

    def _job_plan(self, _body, job):
        return httpx.Response(404, json={"errors": [f"Job {job} not found"]})

    def _stop(self, body, job):
        if self.fails_while_stopping:
            self.states[job] = "FAILED"
        if self.fails_while_stopping or self.savepoint_fails:
            return httpx.Response(202, json={"request-id": body["triggerId"]})
        path = f"{body['targetDirectory']}/savepoint-1"
        held = self.files[self.completed[job]] if job in self.completed else state("Window")
        self.files[path], self.states[job] = held, "FINISHED"
        self._stopped = path
        return httpx.Response(202, json={"request-id": body["triggerId"]})

    def _result(self, _body, job, trigger):
        if self.savepoint_fails:
            cause = {"class": "c", "stack-trace": self.savepoint_fails}
            return httpx.Response(200, json={"status": {"id": "COMPLETED"}, "operation": {"failure-cause": cause}})
        if self.states[job] != "FINISHED":
            error = f"There is no savepoint operation with triggerId={trigger} for job {job}."
            return httpx.Response(404, json={"errors": [error]})
        return httpx.Response(200, json={"status": {"id": "COMPLETED"}, "operation": {"location": self._stopped}})

    def _take_checkpoint(self, body, job):
        if not self.lets_nothing_through:
            self.checkpoint(job)
        return httpx.Response(202, json={"request-id": body["triggerId"]})

    def _taken(self, _body, job, _trigger):
        if self.lets_nothing_through and self.states[job] == "RUNNING":
            return httpx.Response(200, json={"status": {"id": "IN_PROGRESS"}})
        return httpx.Response(200, json={"status": {"id": "COMPLETED"}, "operation": {"checkpointId": 1}})

    def _cancel(self, _body, job):
        self.states[job] = "CANCELED"
        if not self.retains:
            self.files.pop(self.completed.pop(job, None), None)
        return httpx.Response(202, json={})

    def _job_config(self, _body, job):
        if job not in self.states:
            return httpx.Response(404, json={"errors": [f"Job {job} not found"]})
        parameters = {} if self.releases.get(job) is None else {"sluice.release": str(self.releases[job])}
        return httpx.Response(200, json={"jid": job, "name": JOB, "execution-config": {"user-config": parameters}})

    def _config(self, _body):
        options = {"execution.checkpointing.dir": CHECKPOINTS, "execution.checkpointing.savepoint-dir": SAVEPOINTS}
        options |= self.options.get(self._answers_for, {})
        return httpx.Response(200, json=[{"key": key, "value": value} for key, value in options.items()])

    def _metrics(self, _body):
        moment = 1 if self.stands_still else len(self.asked)
        return httpx.Response(200, json=[{"id": "Status.JVM.CPU.Time", "value": str(moment)}])

    def _retained(self, _body, _job):
        kept = {"enabled": self.retains, "delete_on_cancellation": not self.retains}
        return httpx.Response(200, json={"interval": 1, "timeout": 1, "externalization": kept})

    def _cluster(self, _body):
        return httpx.Response(
            200, json={"taskmanagers": 1, "slots-total": 4, "slots-available": 4, "flink-version": "2.3.0"}
        )

    def _detail(self, _body, job):
        if job not in self.states:
            return httpx.Response(404, json={"errors": [f"Job {job} not found"]})
        return httpx.Response(
            200,
            json={
                "jid": job,
                "name": JOB,
                "state": self.states[job],
                "start-time": 1,
                "end-time": -1,
                "now": 2,
                "vertices": [],
            },
        )


_ROUTES = {
    "GET /jobs/overview": Simulated._overview,
    "GET /overview": Simulated._cluster,
    "GET /jobmanager/config": Simulated._config,
    "GET /jobmanager/metrics": Simulated._metrics,
    r"GET /jobs/(\w+)": Simulated._detail,
    r"GET /jobs/(\w+)/status": Simulated._status,
    r"GET /jobs/(\w+)/config": Simulated._job_config,
    r"GET /jobs/(\w+)/exceptions": Simulated._exceptions,
    r"GET /jobs/(\w+)/plan": Simulated._job_plan,
    r"GET /jobs/(\w+)/checkpoints": Simulated._checkpoints,
    r"GET /jobs/(\w+)/checkpoints/config": Simulated._retained,
    r"POST /jobs/(\w+)/checkpoints": Simulated._take_checkpoint,
    r"GET /jobs/(\w+)/checkpoints/(\w+)": Simulated._taken,
    r"POST /jobs/(\w+)/stop": Simulated._stop,
    r"GET /jobs/(\w+)/savepoints/(\w+)": Simulated._result,
    r"PATCH /jobs/(\w+)": Simulated._cancel,
}


class Client:
    """Stands for the client process."""

    def __init__(self, simulated):
        self._simulated = simulated

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def prepare(self, target, *, carry_over=False):
        doing, self._simulated.during_compile = self._simulated.during_compile, None
        if doing:
            doing()
        settings = self._simulated.project.settings
        self._simulated.jars = stored_jars(target.resolved.get("jars") or {}, settings.root, settings.artifacts)
        self._simulated.prepared.append((target.resolved["config"], carry_over))
        config = target.resolved["config"]
        operators = self._simulated.compiles_to.get(config["least"], ("Window",))
        digest, computes = str((config, target.resolved["options"])), self._simulated.computes.get(config["least"], "")
        return Ready(graph=graph(*operators, digest=digest, computes=computes))

    def inspect(self, path):
        if self._simulated.vanishes:
            raise self._simulated.vanishes.pop()
        if path not in self._simulated.files:
            raise StateError(f"{path} does not exist")
        return self._simulated.files[path]

    def find(self, *directories):
        found = [path for path in self._simulated.files if path.rpartition("/")[0] in directories]
        return Found(path=found[-1] if found else None, checkpoint_id=1 if found else None)

    def submit(self, order):
        self._simulated.submit(order)

    def close(self):
        pass
