"""A plan says in JSON, text and Markdown what happens to the state, and that happens."""

import pytest

from sluice.errors import RefusedError
from sluice.plan.explain import explain
from sluice.plan.markdown import markdown
from tests.simulator.simulated import JOB
from tests.support.windowed import source


@pytest.fixture
def running(simulated):
    simulated.cluster.checkpoint(simulated.deploy().flink_job_id)
    return simulated


def shown(plan):
    """The window's state in the JSON, text and Markdown of a plan."""
    state = plan.model_dump(mode="json")["state"]
    json = {each["name"]: fate for fate, operators in state.items() for each in operators}
    text = next(line for line in explain(plan) if line.endswith("Window, 0.0 KiB"))
    table = next(line for line in markdown(plan).splitlines() if line.startswith("| Window"))
    return json, text.strip(), table.rpartition(" KiB | ")[2]


def test_plan_shows_abandoned_state_as_dropped_and_positions_as_kept(running):
    fates, text, cell = shown(running.plan(overrides={"hours": 2}).plan)
    assert fates == {"Source: lines": "kept", "Window": "dropped"}
    assert (text, cell) == ("state dropped: Window, 0.0 KiB", "**lost** |")


def test_plan_shows_compatible_state_as_kept(running):
    fates, text, cell = shown(running.plan(overrides={"least": 1}).plan)
    assert fates == {"Source: lines": "kept", "Window": "kept"}
    assert (text, cell) == ("state kept: Window, 0.0 KiB", "kept |")


@pytest.mark.parametrize("mode", ["savepoint", "last-state"])
def test_plan_shows_state_with_another_meaning_as_altered_and_not_as_lost(running, mode):
    plan = running.plan(overrides={"hours": 2}, mode=mode).plan
    fates, text, cell = shown(plan)
    assert fates == {"Source: lines": "kept", "Window": "altered"}
    assert (text, cell) == ("state altered: Window, 0.0 KiB", "kept, **with another meaning** |")
    assert "  needs an approval: its state is kept with another meaning" in explain(plan)
    assert "Its state **is kept with another meaning**." in markdown(plan)
    assert "**loses state**" not in markdown(plan)
    with pytest.raises(RefusedError, match=r"state would be kept with another meaning: config\.hours: alters"):
        running.operate(overrides={"hours": 2}, mode=mode)
    assert running.operate(overrides={"hours": 2}, mode=mode, approved=True).restored_from


@pytest.mark.parametrize("mode", ["savepoint", "last-state"])
def test_mode_that_keeps_state_is_refused_if_state_version_changes(running, mode):
    running.rewrite(source(JOB).replace('name="counts",', 'name="counts", state_version=2,'))
    with pytest.raises(RefusedError, match=f"state_version 1 becomes 2, .* mode {mode} would take it over"):
        running.plan(mode=mode)
    assert running.plan().plan.mode == running.plan(mode="stateless").plan.mode == "stateless"


def test_mode_for_an_unchanged_job_is_refused_or_reported_as_without_effect(running):
    with pytest.raises(RefusedError, match="runs this release already: mode stateless would abandon nothing"):
        running.plan(mode="stateless")
    plan = running.plan(mode="last-state").plan
    assert plan.action == "none"
    assert "  mode last-state has no effect: the job is not replaced" in explain(plan)


def test_retry_of_a_stateless_deploy_continues_the_same_operation(running):
    first = running.operate(overrides={"hours": 2}, mode="stateless", approved=True)
    again = running.operate(overrides={"hours": 2}, mode="stateless", approved=True)
    assert (again.operation, again.flink_job_id) == (first.operation, first.flink_job_id)
