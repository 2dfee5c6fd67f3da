"""A setting that a run gave is gone from the job: it is told as such, and the release that has it runs on or again."""

from datetime import UTC, datetime

import pytest

from sluice.errors import ConfigError
from sluice.fleet.decision import decide
from sluice.fleet.members import read_members
from sluice.fleet.needs import read_decision_inputs
from sluice.fleet.rows import JobStatus
from tests.support.simulated import JOB
from tests.support.windowed import source

LEAST = "    least: Annotated[int, Field(ge=0, le=100)] = 0\n"


@pytest.fixture
def removed(simulated):
    """The job runs with least=3, and its file has no such setting any more."""
    simulated.checkpoint(simulated.deploy(overrides={"least": 3}).flink_job_id)
    simulated.rewrite(source(JOB).replace(LEAST, "").replace("{config.least}", "0"))
    return simulated


def test_it_is_called_kept_and_how_to_take_it_back_is_told(removed):
    with pytest.raises(ConfigError) as refused:
        removed.plan()
    assert "config.least: no such field; known: hours (kept from an earlier run)" in refused.value.message
    assert refused.value.remedy == "run: sluice deploy counts --clear-overrides"


def test_what_this_run_gives_is_called_so(simulated):
    simulated.checkpoint(simulated.deploy(overrides={"least": 3}).flink_job_id)
    with pytest.raises(ConfigError, match="given for this run") as refused:
        simulated.plan(overrides={"least": 300})
    assert refused.value.remedy is None


def test_the_job_is_looked_at_and_differs(removed):
    [member] = read_members(removed.project, [JOB], {})
    assert (member.status.state, member.status.drift) == ("", True)
    assert member.watched.flink_job_id == removed.place.flink_job_id
    assert any("kept from an earlier run" in reason for reason in member.status.reasons)


def test_a_file_that_is_broken_anyhow_is_told_as_broken(removed):
    removed.rewrite("1 +")
    [member] = read_members(removed.project, [JOB], {})
    assert (member.status.state, member.watched) == ("broken", None)


def test_where_it_is_lost_the_release_that_ran_runs_again(removed):
    first = removed.place
    path = removed.completed[first.flink_job_id]
    removed.states.clear()
    [member] = read_members(removed.project, [JOB], {})
    gone = JobStatus(**{**vars(member.status), "state": "gone", "verdict": "failed"})
    [case] = read_decision_inputs(removed.project, [gone], datetime.now(UTC))
    assert (decide(case).need, decide(case).release) == ("recover", 1)
    started = removed.operate(kind="rollback", to=1, seen=1)
    assert (started.release, started.restored_from) == (1, path)
