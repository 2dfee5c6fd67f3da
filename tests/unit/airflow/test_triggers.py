"""Triggers: what Airflow stores of them, and how long queued chunks wait."""

import asyncio
import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest

from sluice.airflow.event_time import EventTimeTrigger
from sluice.airflow.lock_trigger import OperationTrigger
from sluice.airflow.triggers import ChunkQueueTrigger, GateTrigger, ReplayTrigger, SavepointTrigger
from sluice.clock import MACHINE
from sluice.errors import UnreachableError
from sluice.flink.access import Access
from sluice.job.limits import Health
from sluice.kafka.client import Brokers
from sluice.ledger.chunk_scheduling import QueuePosition
from sluice.operation.gate_order import GateOrder, gate_order
from sluice.operation.started import Started
from tests.simulator.clock import SimulatedClock
from tests.unit.airflow.tasks import event_of

WHERE = {"root": "/here", "environment": "there"}


def test_gate_trigger_serializes_topics_without_event_time_and_no_secrets():
    """The triggerer finds brokers and cluster by itself, since Airflow's database has the trigger's arguments."""
    job = SimpleNamespace(reads={"lines": SimpleNamespace(has_watermark=False)}, health=Health())
    release = SimpleNamespace(job="copy", resolved={"reads": {"lines": {"topic": "t"}}})
    project = SimpleNamespace(
        desired=lambda _: job,
        flink=Access.of("http://me:planted@flink"),
        brokers=Brokers({"sasl.password": "planted"}),
        catalog=SimpleNamespace(jobs={"copy": job}),
        ledger=SimpleNamespace(release=lambda *_: release),
        group=str,
        clock=MACHINE,
    )
    started = Started("o", 1, "a", None, unchanged=False)
    order = gate_order(project, "copy", started, ("watermark",), print, deadline=1.0)
    assert order.untimed == ("t",)
    path, kept = GateTrigger(order=order.model_dump(mode="json"), **WHERE).serialize()
    assert path.endswith(GateTrigger.__name__)
    kept = json.loads(json.dumps(kept))
    assert GateOrder.model_validate(kept["order"]) == order
    assert (kept["root"], kept["environment"]) == ("/here", "there")
    assert "planted" not in str(kept)


class Cluster(BaseHTTPRequestHandler):
    """A cluster that knows no job; its server has a list `asked`."""

    def answer(self):
        self.server.asked.append((self.command, self.headers.get("Authorization")))
        content = json.dumps({"errors": [f"Job {'a' * 32} not found"]}).encode()
        self.send_response(404)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_PATCH = answer  # noqa: N815 - what the base class calls

    def log_message(self, *_arguments):
        pass


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """A cluster that the environment `there` names by an Airflow connection with a token."""
    for name in [name for name in os.environ if name.lower() in ("http_proxy", "https_proxy")]:
        monkeypatch.delenv(name)
    (tmp_path / "deployments").mkdir()
    (tmp_path / "deployments" / "there.yaml").write_text("flink: {connection: team}\n")
    with ThreadingHTTPServer(("127.0.0.1", 0), Cluster) as server:
        server.asked = []
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        flink = {"conn_type": "flink", "host": "127.0.0.1", "port": server.server_port, "extra": {"token": "planted"}}
        monkeypatch.setenv("AIRFLOW_CONN_TEAM", json.dumps(flink))
        kafka = {"conn_type": "kafka", "extra": {"bootstrap.servers": "b:1"}}
        monkeypatch.setenv("AIRFLOW_CONN_KAFKA_DEFAULT", json.dumps(kafka))
        yield server
        server.shutdown()


def test_chunk_trigger_reads_the_cluster_and_credentials_itself(cluster, tmp_path, capfd, caplog):
    given = {"root": str(tmp_path), "environment": "there", "flink_job_id": "a" * 32, "name": "chunk", "total": 1}
    _, kept = ReplayTrigger(**given, begun=1.0).serialize()
    assert "planted" not in json.dumps(kept)
    trigger = ReplayTrigger(**kept)
    # The cluster doesn't know the job.
    assert event_of(trigger)["state"] is None
    asyncio.run(trigger.on_kill())
    asyncio.run(ReplayTrigger(**kept).on_kill())
    assert cluster.asked == [("GET", "Bearer planted"), ("PATCH", "Bearer planted"), ("PATCH", "Bearer planted")]
    printed = capfd.readouterr()
    assert "Flink does not know job" in printed.out + printed.err + caplog.text
    assert "planted" not in printed.out + printed.err + caplog.text


class CountingClock(SimulatedClock):
    """A clock that keeps the pauses."""

    def __init__(self):
        super().__init__()
        self.pauses = []

    async def pause(self, seconds):
        self.pauses.append(seconds)
        await super().pause(seconds)


class Queued:
    """A trigger of chunk 9, of which two run side by side.

    Args:
        positions: Its positions in the queue at each reading, or errors instead; the last one stays.

    Attributes:
        clock: Its clock.
        logged: The arguments of its log lines.
    """

    def __init__(self, *positions):
        self._positions, self.clock, self.logged = list(positions), CountingClock(), []
        given = {"root": None, "environment": None, "replay": "r", "number": 9, "taker": "me"}
        self.trigger = ChunkQueueTrigger(**given, parallel=2, most=4)
        self.trigger.project = self._project
        self.trigger._read_position = self._read_position
        self.trigger._words = lambda position, _slots: f"{position.before} go before"
        log = {"info": lambda *words: self.logged.append(words), "warning": lambda *_words: None}
        self.trigger._log = SimpleNamespace(**log)

    async def _project(self):
        return SimpleNamespace(clock=self.clock)

    def _read_position(self, _project):
        position = self._positions.pop(0) if len(self._positions) > 1 else self._positions[0]
        if isinstance(position, Exception):
            raise position
        return position, None

    def pauses(self):
        """The pauses until the trigger fires."""
        event_of(self.trigger)
        return self.clock.pauses


def startable(before):
    """The position of a chunk that may start; so many with lower numbers wait."""
    return QueuePosition(False, True, before)


BUSY = QueuePosition(False, False, 0)
"""The position while others use the slots."""


@pytest.mark.parametrize(
    ("positions", "expected"),
    [
        ([startable(1)], []),
        ([BUSY, startable(0)], [3.0]),
        ([QueuePosition(True, False, 40)], []),
    ],
    ids=["may start", "may start later", "cancelled"],
)
def test_queued_chunk_that_is_among_the_first_starts_as_soon_as_it_may(positions, expected):
    assert Queued(*positions).pauses() == expected


def test_queued_chunk_gives_those_with_lower_numbers_time_to_start():
    assert sum(Queued(startable(8)).pauses()) >= 24
    assert Queued(startable(8), startable(7), BUSY, startable(0)).pauses()[:2] == [15.0, 12.0]


def test_last_of_many_queued_chunks_asks_seldom_and_waits_no_longer_for_ended_tasks():
    assert Queued(startable(160)).pauses() == [30.0, 30.0]


def test_queued_chunk_logs_each_minute_what_it_waits_for():
    queued = Queued(*[BUSY] * 40, startable(0))
    assert sum(queued.pauses()) == 120.0
    assert queued.logged == [("%s", "0 go before")]


def test_queued_chunk_waits_for_a_cluster_that_does_not_answer_for_ten_minutes():
    assert len(Queued(*[UnreachableError("no answer")] * 9, startable(0)).pauses()) == 9
    queued = Queued(UnreachableError("no answer"))
    with pytest.raises(UnreachableError):
        queued.pauses()
    assert queued.clock.waited >= 600


@pytest.mark.parametrize(
    "trigger",
    [
        EventTimeTrigger(**WHERE, job="counts", seconds=60.0),
        OperationTrigger(**WHERE, operation="o"),
        ReplayTrigger(**WHERE, flink_job_id="a" * 32, name="chunk", total=1, begun=1.0),
        SavepointTrigger(**WHERE, ordered={"operation": "o"}, deadline=1.0, token=2),
        ChunkQueueTrigger(**WHERE, replay="r", number=1, taker="t", parallel=2, most=3),
    ],
    ids=lambda trigger: type(trigger).__name__,
)
def test_each_trigger_can_be_rebuilt_from_its_serialization(trigger):
    path, kept = trigger.serialize()
    assert path == f"{type(trigger).__module__}.{type(trigger).__name__}"
    assert WHERE.items() <= kept.items()
    assert type(trigger)(**kept).serialize() == (path, kept)
