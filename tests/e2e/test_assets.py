"""The topics that jobs read and write, as Airflow's assets, and the asset events of deploys and replays."""

from datetime import UTC, datetime, timedelta

import pytest

from sluice.project import Project
from sluice.settings import Settings
from tests.e2e.running import get, run_dag

JOB = "event_metrics"

pytestmark = pytest.mark.usefixtures("main_job")


def asset(airflow, uri):
    return next((each for each in get(airflow, "/assets", limit=500)["assets"] if each["uri"] == uri), None)


def tasks(references):
    return {f"{each['dag_id']}.{each['task_id']}" for each in references}


def test_assets_show_the_topics_that_each_job_reads_and_writes(airflow):
    events = asset(airflow, "kafka://kafka_default/analytics_events")
    assert f"deploy.{JOB}.settle" in tasks(events["consuming_tasks"])
    assert "deploy.dead_letters.settle" in tasks(events["consuming_tasks"])
    assert tasks(events["producing_tasks"]) == set()
    metrics = asset(airflow, f"kafka://kafka_default/{JOB}")
    assert tasks(metrics["producing_tasks"]) == {f"deploy.{JOB}.settle", f"backfill.{JOB}.promote"}
    job = asset(airflow, f"sluice://job/{JOB}")
    assert {f"deploy.{JOB}.settle", f"deploy.{JOB}.roll_back", f"backfill.{JOB}.report"} <= tasks(
        job["producing_tasks"]
    )


def test_deploy_emits_asset_events_with_its_outcome(airflow, ledger):
    newest = ledger.operations(JOB)[0]
    for uri in (f"sluice://job/{JOB}", f"kafka://kafka_default/{JOB}"):
        found = get(airflow, "/assets/events", asset_id=asset(airflow, uri)["id"], order_by="-timestamp", limit=1)
        extra = found["asset_events"][0]["extra"]
        assert (extra["operation"], extra["outcome"], extra["release"]) == (newest.id, "healthy", newest.release)
        assert (extra["savepoint"], extra["downtime_ms"]) == (newest.savepoint, newest.downtime_ms)
        assert "approved_by" not in extra


def test_replay_emits_an_asset_event_with_its_range(airflow, root):
    now = datetime.now(UTC)
    asked = {"start": (now - timedelta(minutes=2)).isoformat(), "end": (now - timedelta(minutes=1)).isoformat()}
    run, tasks_ = run_dag(airflow, f"backfill.{JOB}", **asked, accept_missing=True)
    assert run["state"] == "success", tasks_
    replay = Project(Settings(root=root)).ledger.replays.of(JOB)[0]
    found = get(
        airflow,
        "/assets/events",
        asset_id=asset(airflow, f"sluice://job/{JOB}")["id"],
        order_by="-timestamp",
        limit=1,
    )
    extra = found["asset_events"][0]["extra"]
    assert (extra["kind"], extra["replay"], extra["records"]) == ("backfill", replay.id, replay.records)
    assert (extra["start"], extra["end"]) == (replay.plan["start"], replay.plan["end"])
