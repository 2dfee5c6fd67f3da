"""Triggers survive a restart of the triggerer; in a process of its own, as the DAGs."""

import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.support.own_process import run_script

SCRIPT = """
import json
from types import SimpleNamespace
from sluice.clock import MACHINE
from sluice.operation.gate_order import GateOrder, gate_order
from sluice.operation.started import Started
from sluice.airflow.triggers import GateTrigger
from sluice.flink.access import Access
from sluice.job.limits import Health
from sluice.kafka.client import Brokers
cluster = SimpleNamespace(flink=Access.of("http://me:planted@flink"), brokers=Brokers({"sasl.password": "planted"}))
job = SimpleNamespace(reads={"lines": SimpleNamespace(has_watermark=False)}, health=Health())
release = SimpleNamespace(job="copy", resolved={"reads": {"lines": {"topic": "t"}}})
project = SimpleNamespace(
    desired=lambda _: job, flink=cluster.flink, brokers=cluster.brokers,
    catalog=SimpleNamespace(jobs={"copy": job}), ledger=SimpleNamespace(release=lambda *_: release), group=str,
    clock=MACHINE,
)
started = Started("o", 1, "a", None, unchanged=False)
order = gate_order(project, "copy", started, ("watermark",), print, deadline=1.0)
assert order.untimed == ("t",)
trigger = GateTrigger(order=order.model_dump(mode="json"), root="/here", environment="there")
# The triggerer finds brokers and cluster by itself: what it keeps is in Airflow's database for all to read.
path, kept = trigger.serialize()
assert path.endswith(GateTrigger.__name__)
kept = json.loads(json.dumps(kept))
assert GateOrder.model_validate(kept["order"]) == order
assert (kept["root"], kept["environment"]) == ("/here", "there")
assert "planted" not in str(kept)
"""


def test_gate_trigger_serializes_topics_without_event_time(tmp_path):
    run_script(SCRIPT, tmp_path)


REPLAY = """
import asyncio, json, sys
from sluice.airflow.triggers import ReplayTrigger

async def see():
    given = {"root": sys.argv[1], "environment": "there", "flink_job_id": "a" * 32, "name": "chunk", "total": 1}
    path, kept = ReplayTrigger(**given, begun=1.0).serialize()
    assert "planted" not in json.dumps(kept)
    trigger = ReplayTrigger(**kept)
    events = [event async for event in trigger.run()]
    await trigger.on_kill()
    await ReplayTrigger(**kept).on_kill()
    return events[0].payload

assert asyncio.run(see())["state"] is None  # the cluster doesn't know the job
"""


def test_chunk_trigger_reads_the_cluster_and_credentials_itself(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.lower() in ("http_proxy", "https_proxy")]:
        monkeypatch.delenv(name)
    asked = []

    class Cluster(BaseHTTPRequestHandler):
        def answer(self):
            asked.append((self.command, self.headers.get("Authorization")))
            content = json.dumps({"errors": [f"Job {'a' * 32} not found"]}).encode()
            self.send_response(404)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PATCH = answer  # noqa: N815 - what the base class calls

        def log_message(self, *_arguments):
            pass

    (tmp_path / "deployments").mkdir()
    (tmp_path / "deployments" / "there.yaml").write_text("flink: {connection: team}\n")
    with ThreadingHTTPServer(("127.0.0.1", 0), Cluster) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        connection = {"conn_type": "flink", "host": "127.0.0.1", "port": server.server_port}
        connections = {
            "AIRFLOW_CONN_TEAM": json.dumps({**connection, "extra": {"token": "planted"}}),
            "AIRFLOW_CONN_KAFKA_DEFAULT": json.dumps({"conn_type": "kafka", "extra": {"bootstrap.servers": "b:1"}}),
        }
        done = run_script(REPLAY, tmp_path, str(tmp_path), **connections)
        server.shutdown()
    assert asked == [("GET", "Bearer planted"), ("PATCH", "Bearer planted"), ("PATCH", "Bearer planted")]
    assert "planted" not in done.stdout + done.stderr


TURN = """
import asyncio
from sluice.airflow import project_trigger
from sluice.airflow.triggers import ChunkQueueTrigger
from sluice.errors import UnreachableError
from sluice.ledger.chunk_scheduling import QueuePosition
from tests.simulator.clock import SimulatedClock

pauses, logged = [], []

class Clock(SimulatedClock):
    async def pause(self, seconds):
        pauses.append(seconds)
        await super().pause(seconds)

clock = Clock()
project_trigger.project_of = lambda *_: type("Project", (), {"clock": clock})
given = {"root": None, "environment": None, "replay": "r", "number": 9, "taker": "me", "parallel": 2, "most": 4}

def waits(*turns):
    # The pauses until it fires; the last of the turns stays.
    left = list(turns)
    pauses.clear()

    def read_position(_flink):
        turn = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(turn, Exception):
            raise turn
        return turn, None

    trigger = ChunkQueueTrigger(**given)
    trigger._read_position, trigger._words = read_position, lambda position, _slots: f"{position.before} go before"
    logged.clear()
    trigger._log = type("Log", (), {"info": lambda _, *words: logged.append(words), "warning": lambda *_: None})()

    async def see():
        return [event async for event in trigger.run()]

    assert len(asyncio.run(see())) == 1
    return list(pauses)

come, not_yet = (lambda before: QueuePosition(False, True, before)), QueuePosition(False, False, 0)
assert waits(come(1)) == []  # two run side by side
assert waits(not_yet, come(0)) == [3.0]
assert waits(QueuePosition(True, False, 40)) == []  # cancelled: there is nothing to wait for
# Its turn comes only if those before it don't take theirs in the meantime.
assert sum(waits(come(8))) >= 24
assert waits(come(8), come(7), not_yet, come(0))[:2] == [15.0, 12.0]
# The last ones of many ask the cluster seldom, and wait no longer for tasks that are gone.
assert waits(come(160)) == [30.0, 30.0]
assert len(waits(*[UnreachableError("gone")] * 9, come(0))) == 9
# Who reads the log sees each minute what it waits for.
assert sum(waits(*[not_yet] * 40, come(0))) == 120.0
assert logged == [("%s", "0 go before")], logged
try:
    waits(UnreachableError("gone"))
except UnreachableError:
    assert clock.waited > 600
else:
    raise AssertionError("it waits for ever")
"""


def test_waiting_chunks_are_resumed_one_after_another(tmp_path):
    run_script(TURN, tmp_path)


INTERVAL = """
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from sluice.airflow.replay import _interval

def of(run_type, hours=24, *, of_form=True):
    end = datetime(2026, 1, 31, tzinfo=UTC)
    start = end - timedelta(hours=hours)
    run = SimpleNamespace(run_type=run_type)
    context = {"data_interval_start": start, "data_interval_end": end, "dag_run": run}
    return _interval(context, of_form=of_form)

assert of("backfill") == (datetime(2026, 1, 30, tzinfo=UTC), datetime(2026, 1, 31, tzinfo=UTC))
# An empty form is no day of history, though Airflow gives the run one.
assert of("manual") is None
assert of("manual", of_form=False) is not None
assert of("scheduled", 0) is None
"""


def test_empty_range_fields_of_the_form_give_no_range(tmp_path):
    run_script(INTERVAL, tmp_path)


ALL = """
from sluice.airflow.event_time import EventTimeTrigger
from sluice.airflow.lock_trigger import OperationTrigger
from sluice.airflow.triggers import ReplayTrigger, SavepointTrigger, ChunkQueueTrigger

where = {"root": "/here", "environment": "there"}
for trigger in (
    EventTimeTrigger(**where, job="counts", seconds=60.0),
    OperationTrigger(**where, operation="o"),
    ReplayTrigger(**where, flink_job_id="a" * 32, name="chunk", total=1, begun=1.0),
    SavepointTrigger(**where, ordered={"operation": "o"}, deadline=1.0, token=2),
    ChunkQueueTrigger(**where, replay="r", number=1, taker="t", parallel=2, most=3),
):
    path, kept = trigger.serialize()
    assert path == f"{type(trigger).__module__}.{type(trigger).__name__}", path
    assert where.items() <= kept.items(), kept
    assert type(trigger)(**kept).serialize() == (path, kept), kept
"""


def test_each_trigger_can_be_rebuilt_from_its_serialization(tmp_path):
    run_script(ALL, tmp_path)
