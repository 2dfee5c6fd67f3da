"""Topics and jobs as assets, and the event time trigger; in a process of its own, as the DAGs."""

from pathlib import Path

from tests.support.ledgers import new_ledger
from tests.support.own_process import run_script

ROOT = Path(__file__).resolve().parents[3]
DEPLOYMENT = """
flink: {url: "http://127.0.0.1:1"}
kafka: {connection: our_brokers}
jobs:
  event_metrics:
    reads: {events: {topic: events_v2}}
    writes: {topic: "not a topic"}
"""


def run(directory: Path, script: str, *arguments: str) -> None:
    new_ledger(directory)
    run_script(script, directory, *arguments)


def test_assets_use_the_topic_names_of_the_deployment_file(tmp_path):
    (tmp_path / "flink_jobs").symlink_to(ROOT / "flink_jobs")
    (tmp_path / "deployments").mkdir()
    (tmp_path / "deployments" / "local.yaml").write_text(DEPLOYMENT)
    run(
        tmp_path,
        """
import sys
from pathlib import Path
from sluice.airflow.assets import Lineage, read_lineage
from sluice.deployment.catalog import read_catalog

jobs = read_catalog(Path(sys.argv[1])).jobs


def uris(lineage, job):
    found = lineage.of(jobs[job])
    return [[asset.uri for asset in side] for side in (found.reads, found.writes, [found.job])]


declared = uris(Lineage(), "event_metrics")
assert declared == [["kafka://kafka_default/analytics_events"], ["kafka://kafka_default/event_metrics"],
                    ["sluice://job/event_metrics"]], declared
named = uris(read_lineage(Path(sys.argv[1])), "event_metrics")
# The plan refuses the invalid topic name.
assert named[:2] == [["kafka://our_brokers/events_v2"], ["kafka://our_brokers/event_metrics"]], named
(Path(sys.argv[1]) / "deployments" / "local.yaml").write_text("jobs: [")
assert uris(read_lineage(Path(sys.argv[1])), "event_metrics") == declared
""",
        str(tmp_path),
    )


def test_event_time_trigger_sends_every_passed_multiple_at_least_once(tmp_path):
    run(
        tmp_path,
        """
import asyncio, sys
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
import sluice.airflow.event_time as event_time
from sluice.airflow.assets import event_time_asset
from sluice.ledger.ledger import Ledger
from sluice.ledger.samples import Sample

ledger = Ledger(f"sqlite:///{sys.argv[1]}/ledger.db", "test")
event_time.ledger_of = lambda root, environment: ledger
event_time._PAUSE = 0.01
hour = timedelta(hours=1)


def sweep(at, lag, job="a"):
    ledger.samples.add([Sample(environment="test", job=job, at=at, state="RUNNING", verdict="healthy", reasons=[],
        flink_job_id="f", restarts=0, watermark_lag_ms=lag // timedelta(milliseconds=1), checkpoint_age_ms=900,
        checkpoint_duration_ms=100)], older_than=at - timedelta(days=1))


def trigger():
    return event_time.EventTimeTrigger(job="a", seconds=3600.0)


async def next_of(events):
    return (await asyncio.wait_for(anext(events), 20)).payload


async def main():
    now = datetime.now(UTC)
    edge = now.replace(minute=0, second=0, microsecond=0)
    # The watermark passes three hours between two pairs of samples.
    sweep(now - timedelta(minutes=40), (now - timedelta(minutes=40)) - (edge - 3 * hour - timedelta(minutes=1)))
    sweep(now - timedelta(minutes=30), (now - timedelta(minutes=30)) - (edge - 3 * hour - timedelta(minutes=1)))
    assert trigger().find_passed() is None, "the first reading must send no event"
    assert ledger.notifications.known("a every 3600 s", "event time") == {"a": (edge - 4 * hour).isoformat()}
    sweep(now - timedelta(minutes=20), (now - timedelta(minutes=20)) - (edge - hour))
    sweep(now - timedelta(minutes=10), (now - timedelta(minutes=10)) - (edge - hour))
    events = trigger().run()
    sent = await next_of(events)
    assert sent == {"job": "a", "from": (edge - 4 * hour).isoformat(), "until": (edge - hour).isoformat()}, sent
    await events.aclose()
    # Samples are compared though hours lie between them.
    rare = event_time.EventTimeTrigger(job="rare", seconds=3600.0)
    for hours in (5, 3):
        sweep(now - hours * hour, hour * 0, "rare")
    assert rare.find_passed() is None
    assert ledger.notifications.known("rare every 3600 s", "event time") == {"rare": (edge - 5 * hour).isoformat()}
    # An event that was not recorded is sent again, once: Airflow may not have received it.
    events = trigger().run()
    assert await next_of(events) == sent
    looked, find = [], event_time.EventTimeTrigger.find_passed

    def find_passed(trigger):
        looked.append(trigger)
        return find(trigger)

    event_time.EventTimeTrigger.find_passed = find_passed
    waiting = asyncio.create_task(next_of(events))
    while len(looked) < 3:
        await asyncio.sleep(0.01)
    assert not waiting.done()
    waiting.cancel()


asyncio.run(main())
asset = event_time_asset("a", hour)
assert asset.uri == "sluice://event_time/a/1h"
path, kept = asset.watchers[0].trigger.serialize()
assert path.endswith("EventTimeTrigger")
assert kept == {"job": "a", "seconds": 3600.0, "root": None, "environment": None}
assert [event_time_asset("a", timedelta(seconds=s)).uri.rpartition("/")[2] for s in (86400, 5400, 90)] == [
    "1d", "90min", "90s"]
""",
        str(tmp_path),
    )
