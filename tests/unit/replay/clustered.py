"""Chunks of a replay with a real ledger and a fake cluster and compiler."""

import re
from types import SimpleNamespace

import httpx

from sluice.flink.client import AsyncFlinkClient, FlinkClient
from sluice.kafka.offsets import Offsets
from sluice.ledger.ledger import Ledger
from sluice.replay import chunk as chunk_module
from sluice.replay.chunk import Chunk
from tests.simulator.brokers import FakeBrokers
from tests.support.answering import answered_by
from tests.support.ledgers import new_ledger
from tests.unit.replay.plans import plan


class Clustered:
    """A replay of `counts`, and the cluster that its chunks run on.

    Attributes:
        states: The state of each Flink job that the cluster knows, by its id.
        silent: How many further requests get no answer.
        slots: How many task slots are free.
        submits: What the client does to submit; its argument is the Flink job's id.
        arrives: Flink jobs that the cluster registers only after so many requests for them.
        tasks: By job the numbers of its running and finished tasks; one running task by default.
        undying: Flink jobs that don't end when they are cancelled.
        logged: The progress messages.
        others: Returns a client of another cluster, by its address.
    """

    def __init__(self, root, monkeypatch, **more):
        self.states, self.arrives, self.undying, self.logged, self.silent, self.slots = {}, {}, set(), [], 0, 7
        self.tasks = {}
        self.submits = self.run
        self.ledger = Ledger(new_ledger(root), "test")
        given = {"artifact": "a", "module": "flink_jobs.counts", "resolved": {"parallelism": 1}}
        release = self.ledger.add_release("counts", fingerprint="f" * 64, **given)
        resolved = {"reads": {"events": {"topic": "lines"}}}
        self.plan = plan(**{"release": release.number, "output": "other", "resolved": resolved, **more})
        names = [chunk.name for chunk in self.plan.chunks]
        kept = self.plan.model_dump(mode="json")
        self.ledger.replays.add(self.plan.id, "counts", "one", release.number, kept, names, None)
        self.brokers = FakeBrokers({("lines", number): Offsets(0, 1_000) for number in (0, 1)})
        self.others = None
        self.project = SimpleNamespace(
            ledger=self.ledger,
            connect=self.client,
            connect_async=lambda: AsyncFlinkClient(self.client()),
            compiler=lambda *_arguments: _Compiler(self),
            brokers=self.brokers,
            flink_name=None,
        )
        monkeypatch.setattr(chunk_module, "PAUSE", 0.0)

    def client(self, url=None):
        if url is not None:
            return self.others(url)
        return FlinkClient("http://flink", exchange=answered_by(self._answer), pauses=())

    def chunk(self, number=1, taker="one"):
        return Chunk(self.project, self.plan, number, self.logged.append, taker=taker)

    def row(self, number=1):
        return self.ledger.replays.chunk(self.plan.id, number)

    def run(self, flink_job_id):
        """Submit as a client does whose submission is answered."""
        self.states[flink_job_id] = "RUNNING"

    def alive(self):
        return [job for job, state in self.states.items() if state == "RUNNING"]

    def _tasks(self, job):
        running, finished = self.tasks.get(job, (1, 0))
        return {"total": 1, "running": running, "finished": finished}

    def _answer(self, request):
        if self.silent:
            self.silent -= 1
            raise httpx.ConnectError("refused")
        method, path = request.method, request.url.path
        if path == "/jobs/overview":
            jobs = [{"jid": job, "name": job, "state": state, "start-time": 1, "tasks": self._tasks(job)}
                    for job, state in self.states.items()]  # fmt: skip
            return httpx.Response(200, json={"jobs": jobs})
        if path == "/jobmanager/config":
            return httpx.Response(200, json=[{"key": "rest.port", "value": "8081"}])
        if path == "/overview":
            figures = {"taskmanagers": 1, "slots-total": 9, "slots-available": self.slots, "flink-version": "2.3.0"}
            return httpx.Response(200, json=figures)
        job, of_status = re.fullmatch(r"/jobs/(\w+)(/status)?", path).groups()
        if job in self.arrives:
            self.arrives[job] -= 1
            if self.arrives[job] <= 0:
                del self.arrives[job]
                self.run(job)
        if job not in self.states:
            return httpx.Response(404, json={"errors": [f"Job {job} not found"]})
        if method == "PATCH":
            self.states[job] = "CANCELLING" if job in self.undying else "CANCELED"
            return httpx.Response(202, json={})
        assert of_status, path
        return httpx.Response(200, json={"status": self.states[job]})


class _Compiler:
    def __init__(self, clustered):
        self._clustered = clustered

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def prepare(self, _target, *, part):
        self._part = part

    def submit(self, order):
        self._clustered.submits(order.flink_job_id)

    def close(self):
        pass
