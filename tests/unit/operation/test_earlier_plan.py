"""An operation that begins with a plan made before, as in an Airflow run: packaged and compared once."""

from datetime import timedelta

import pytest

from sluice.plan.model import Plan
from sluice.plan.planner import Planner
from sluice.plan.request import DeployRequest
from sluice.plan.stages import CreateTopics
from tests.simulator.simulated import JOB
from tests.support.windowed import source

WRITTEN = f"{JOB}_out"


@pytest.fixture
def running(simulated):
    simulated.deploy()
    return simulated


def replan(simulated, earlier, **request):
    """The plan of a later task of the run, which gets the earlier plan as JSON values."""
    again = Plan.model_validate(earlier.model_dump(mode="json"))
    asked = DeployRequest(**request)
    return Planner(simulated.project, JOB, asked, simulated.flink, simulated.compiler, earlier=again).plan().plan


def store(simulated):
    """The artifacts with the times at which they were written."""
    return {file: file.stat().st_mtime_ns for file in simulated.project.settings.artifacts.glob("*.zip")}


def compared(simulated):
    """How often the declared topics were compared: only that asks for the topic that the job writes."""
    return sum(WRITTEN in names for names in simulated.brokers.described)


def test_plan_made_before_is_not_packaged_and_compared_again(running):
    first = running.plan(overrides={"hours": 2}).plan
    before, times = store(running), compared(running)
    # Packaging would store what the directory has now.
    running.rewrite(source(JOB) + "\n# a comment\n")
    again = replan(running, first, overrides={"hours": 2})
    assert (store(running), compared(running)) == (before, times)
    assert again.artifact == first.artifact is not None
    assert (again.fingerprint, again.made_at, again.topics) == (first.fingerprint, first.made_at, first.topics)


def test_topics_are_compared_again_once_a_plan_has_waited(running):
    first = running.plan(overrides={"hours": 2}).plan
    del running.brokers.topics[WRITTEN]
    times = compared(running)
    running.clock.sleep(timedelta(minutes=6).total_seconds())
    again = replan(running, first, overrides={"hours": 2})
    assert compared(running) == times + 1
    assert [each.action for each in again.topics if each.topic == WRITTEN] == ["create"]
    assert [stage.topics for stage in again.stages if isinstance(stage, CreateTopics)]


def test_topics_that_the_plan_found_missing_are_created_even_if_no_other_task_does(running):
    del running.brokers.topics[WRITTEN]
    first = running.plan(overrides={"hours": 2}).plan
    assert [step.declared.name for step in first.topic_steps] == [WRITTEN]
    times = compared(running)
    again = replan(running, first, overrides={"hours": 2})
    assert (again.topics, again.topic_steps) == (first.topics, first.topic_steps)
    assert compared(running) == times


def test_other_state_than_planned_is_packaged_and_compared(running):
    first = running.plan(overrides={"hours": 2}).plan
    times = compared(running)
    other = replan(running, first, overrides={"hours": 3})
    assert other.fingerprint != first.fingerprint
    assert compared(running) == times + 1


def test_artifact_that_was_deleted_since_the_plan_is_stored_again(running):
    first = running.plan(overrides={"hours": 2}).plan
    before = store(running)
    for file in before:
        file.unlink()
    again = replan(running, first, overrides={"hours": 2})
    assert again.artifact == first.artifact
    assert set(store(running)) <= set(before)
    assert store(running)


def test_plan_of_an_earlier_version_is_made_again(running):
    first = running.plan(overrides={"hours": 2}).plan
    old = first.model_copy(update={"artifact": None, "made_at": None})
    times = compared(running)
    again = replan(running, old, overrides={"hours": 2})
    assert compared(running) == times + 1
    assert again.artifact == first.artifact
