"""What a plan says of the state, wherever it is shown, is what becomes of it."""

import pytest

from sluice.errors import RefusedError
from sluice.plan.explain import explain
from sluice.plan.markdown import markdown
from tests.support.simulated import JOB
from tests.support.windowed import source


@pytest.fixture
def running(simulated):
    simulated.checkpoint(simulated.deploy().flink_job_id)
    return simulated


def said_of(plan):
    """What JSON, text and Markdown say of the window's state."""
    told = plan.model_dump(mode="json")["state"]
    json = {each["name"]: fate for fate, operators in told.items() for each in operators}
    text = next(line for line in explain(plan) if line.endswith("Window, 0.0 KiB"))
    table = next(line for line in markdown(plan).splitlines() if line.startswith("| Window"))
    return json, text.strip(), table.rpartition(" KiB | ")[2]


def test_what_is_abandoned_is_dropped_and_the_positions_go_on(running):
    fates, text, cell = said_of(running.plan(overrides={"hours": 2}).plan)
    assert fates == {"Source: lines": "kept", "Window": "dropped"}
    assert (text, cell) == ("state dropped: Window, 0.0 KiB", "**lost** |")


def test_what_goes_on_is_kept(running):
    fates, text, cell = said_of(running.plan(overrides={"least": 1}).plan)
    assert fates == {"Source: lines": "kept", "Window": "kept"}
    assert (text, cell) == ("state kept: Window, 0.0 KiB", "kept |")


@pytest.mark.parametrize("mode", ["savepoint", "last-state"])
def test_what_goes_on_under_another_meaning_is_called_so_and_nothing_is_lost(running, mode):
    plan = running.plan(overrides={"hours": 2}, mode=mode).plan
    fates, text, cell = said_of(plan)
    assert fates == {"Source: lines": "kept", "Window": "altered"}
    assert (text, cell) == ("state altered: Window, 0.0 KiB", "kept, **with another meaning** |")
    assert "  needs an approval: its state goes on under another meaning" in explain(plan)
    assert "Its state **goes on under another meaning**." in markdown(plan)
    assert "**loses state**" not in markdown(plan)
    with pytest.raises(RefusedError, match=r"state would go on under another meaning: config\.hours: alters"):
        running.operate(overrides={"hours": 2}, mode=mode)
    assert running.operate(overrides={"hours": 2}, mode=mode, approved=True).restored_from


@pytest.mark.parametrize("mode", ["savepoint", "last-state"])
def test_a_mode_that_takes_along_what_is_abandoned_on_purpose_is_refused(running, mode):
    running.rewrite(source(JOB).replace('name="counts",', 'name="counts", state_version=2,'))
    with pytest.raises(RefusedError, match=f"state_version 1 becomes 2, .* mode {mode} would take it over"):
        running.plan(mode=mode)
    assert running.plan().plan.mode == running.plan(mode="stateless").plan.mode == "stateless"


def test_without_a_change_nothing_is_abandoned_and_that_is_said(running):
    with pytest.raises(RefusedError, match="runs this release already: mode stateless would abandon nothing"):
        running.plan(mode="stateless")
    plan = running.plan(mode="last-state").plan
    assert plan.action == "none"
    assert "  nothing is handed over, by mode last-state or any other" in explain(plan)


def test_a_retry_of_what_has_abandoned_it_goes_on(running):
    first = running.operate(overrides={"hours": 2}, mode="stateless", approved=True)
    again = running.operate(overrides={"hours": 2}, mode="stateless", approved=True)
    assert (again.operation, again.flink_job_id) == (first.operation, first.flink_job_id)
