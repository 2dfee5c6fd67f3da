"""Topics and jobs as assets, and the trigger that watches event time."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sluice.airflow.assets import Lineage, event_time_asset, read_lineage
from sluice.airflow.event_time import EventTimeTrigger
from sluice.deployment.catalog import read_catalog
from sluice.ledger.ledger import Ledger
from sluice.ledger.samples import Sample
from tests.simulator.clock import SimulatedClock
from tests.support.ledgers import new_ledger

ROOT = Path(__file__).resolve().parents[3]
DEPLOYMENT = """
flink: {url: "http://127.0.0.1:1"}
kafka: {connection: our_brokers}
jobs:
  event_metrics:
    reads: {events: {topic: events_v2}}
    writes: {topic: "not a topic"}
"""
DECLARED = [
    ["kafka://kafka_default/analytics_events"],
    ["kafka://kafka_default/event_metrics"],
    ["sluice://job/event_metrics"],
]


@pytest.fixture
def project(tmp_path):
    """The directory of a project with the product's jobs and a deployment file."""
    (tmp_path / "flink_jobs").symlink_to(ROOT / "flink_jobs")
    (tmp_path / "deployments").mkdir()
    (tmp_path / "deployments" / "local.yaml").write_text(DEPLOYMENT)
    return tmp_path


def uris(lineage, project):
    """The URIs of what event_metrics reads, of what it writes, and of the job."""
    found = lineage.of(read_catalog(project).jobs["event_metrics"])
    return [[asset.uri for asset in side] for side in (found.reads, found.writes, [found.job])]


def test_assets_use_the_declared_topic_names_without_a_deployment_file(project):
    assert uris(Lineage(), project) == DECLARED


def test_assets_use_the_topic_names_of_the_deployment_file(project):
    """Without the invalid one, which the plan refuses."""
    assert uris(read_lineage(project), project)[:2] == [
        ["kafka://our_brokers/events_v2"],
        ["kafka://our_brokers/event_metrics"],
    ]


def test_assets_use_the_declared_topic_names_if_the_deployment_file_is_invalid(project):
    (project / "deployments" / "local.yaml").write_text("jobs: [")
    assert uris(read_lineage(project), project) == DECLARED


HOUR = timedelta(hours=1)
NOW = datetime.now(UTC)
EDGE = NOW.replace(minute=0, second=0, microsecond=0)


class PausingClock(SimulatedClock):
    """A clock that counts the pauses.

    Attributes:
        pauses: How many there were.
        paused: Is set after three.
    """

    def __init__(self):
        super().__init__()
        self.pauses, self.paused = 0, asyncio.Event()

    async def pause(self, seconds):
        self.pauses += 1
        if self.pauses >= 3:
            self.paused.set()
        await super().pause(seconds)


class EventTime:
    """A project whose sweeps have seen the watermarks of its jobs."""

    def __init__(self, root):
        (root / "flink_jobs").mkdir()
        self.root, self.ledger = str(root), Ledger(new_ledger(root / ".sluice"), "test")

    def sweep(self, at, lag, job="a"):
        """Record a sweep that has seen the job's watermark so far behind."""
        sample = Sample(
            environment="test",
            job=job,
            at=at,
            state="RUNNING",
            verdict="healthy",
            reasons=[],
            flink_job_id="f",
            restarts=0,
            watermark_lag_ms=lag // timedelta(milliseconds=1),
            checkpoint_age_ms=900,
            checkpoint_duration_ms=100,
        )
        self.ledger.samples.add([sample], older_than=at - timedelta(days=1))

    def pass_edge(self, edge, *minutes):
        """Sweeps so many minutes ago that have seen the watermark just beyond this moment."""
        for number in minutes:
            at = NOW - timedelta(minutes=number)
            self.sweep(at, at - edge)

    def trigger(self, job="a"):
        """The trigger for each hour of a job's output."""
        trigger = EventTimeTrigger(job=job, seconds=3600.0, root=self.root, environment="test")
        trigger.clock = PausingClock()
        return trigger

    def recorded(self, job="a"):
        """The moment of the job's last event."""
        return self.ledger.notifications.known(f"{job} every 3600 s", "event time")


@pytest.fixture
def event_time(tmp_path):
    return EventTime(tmp_path)


@pytest.fixture
def passed(event_time):
    """The first reading was four hours before the edge; three hours have passed since."""
    event_time.pass_edge(EDGE - 3 * HOUR - timedelta(minutes=1), 40, 30)
    assert event_time.trigger().find_passed() is None
    event_time.pass_edge(EDGE - HOUR, 20, 10)
    return event_time


PASSED = {"job": "a", "from": (EDGE - 4 * HOUR).isoformat(), "until": (EDGE - HOUR).isoformat()}


def test_first_reading_of_event_time_sends_no_event(event_time):
    event_time.pass_edge(EDGE - 3 * HOUR - timedelta(minutes=1), 40, 30)
    assert event_time.trigger().find_passed() is None
    assert event_time.recorded() == {"a": (EDGE - 4 * HOUR).isoformat()}


def test_samples_are_compared_though_hours_lie_between_them(event_time):
    for hours in (5, 3):
        event_time.sweep(NOW - hours * HOUR, 0 * HOUR, "rare")
    assert event_time.trigger("rare").find_passed() is None
    assert event_time.recorded("rare") == {"rare": (EDGE - 5 * HOUR).isoformat()}


def test_event_names_all_hours_that_have_passed_between_two_readings(passed):
    async def first():
        events = passed.trigger().run()
        sent = (await anext(events)).payload
        await events.aclose()
        return sent

    assert asyncio.run(first()) == PASSED


def test_event_that_was_not_recorded_is_sent_again_once(passed):
    """Airflow may not have received it."""

    async def two_triggers():
        first = passed.trigger().run()
        await anext(first)
        await first.aclose()
        trigger = passed.trigger()
        events = trigger.run()
        sent = (await anext(events)).payload
        waiting = asyncio.create_task(anext(events))
        await trigger.clock.paused.wait()
        assert not waiting.done()
        waiting.cancel()
        return sent

    assert asyncio.run(two_triggers()) == PASSED


def test_event_time_asset_is_watched_by_a_trigger_without_a_project():
    asset = event_time_asset("a", HOUR)
    assert asset.uri == "sluice://event_time/a/1h"
    path, kept = asset.watchers[0].trigger.serialize()
    assert path.endswith("EventTimeTrigger")
    assert kept == {"job": "a", "seconds": 3600.0, "root": None, "environment": None}


@pytest.mark.parametrize(("seconds", "name"), [(86_400, "1d"), (5_400, "90min"), (90, "90s")])
def test_name_of_an_event_time_asset_ends_with_its_period(seconds, name):
    assert event_time_asset("a", timedelta(seconds=seconds)).uri.rpartition("/")[2] == name
