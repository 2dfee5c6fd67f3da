"""A setting with an override is removed from the job: errors name the override, and its release keeps running."""

from datetime import UTC, datetime

import pytest

from sluice.errors import ConfigError
from sluice.fleet.decision import decide
from sluice.fleet.members import read_members
from sluice.fleet.needs import read_decision_inputs
from sluice.fleet.rows import JobStatus
from tests.simulator.simulated import JOB
from tests.support.windowed import source

LEAST = "    least: Annotated[int, Field(ge=0, le=100)] = 0\n"


@pytest.fixture
def removed(simulated):
    """A job that runs with least=3, a setting that its file no longer has."""
    simulated.cluster.checkpoint(simulated.deploy(overrides={"least": 3}).flink_job_id)
    simulated.rewrite(source(JOB).replace(LEAST, "").replace("{config.least}", "0"))
    return simulated


def test_kept_override_of_a_removed_setting_is_named_with_its_remedy(removed):
    with pytest.raises(ConfigError) as refused:
        removed.plan()
    assert "config.least: no such field; known: hours (kept from an earlier run)" in refused.value.message
    assert refused.value.remedy == "run: sluice deploy counts --clear-overrides"


def test_invalid_override_of_this_run_is_named_as_such(simulated):
    simulated.cluster.checkpoint(simulated.deploy(overrides={"least": 3}).flink_job_id)
    with pytest.raises(ConfigError, match="given for this run") as refused:
        simulated.plan(overrides={"least": 300})
    assert refused.value.remedy is None


def test_job_with_an_override_of_a_removed_setting_is_watched_and_drifts(removed):
    [member] = read_members(removed.project, [JOB], {})
    assert (member.status.state, member.status.drift) == ("", True)
    assert member.watched.flink_job_id == removed.place.flink_job_id
    assert any("kept from an earlier run" in reason for reason in member.status.reasons)


def test_job_with_a_kept_override_and_a_broken_file_is_reported_as_broken(removed):
    removed.rewrite("1 +")
    [member] = read_members(removed.project, [JOB], {})
    assert (member.status.state, member.watched) == ("broken", None)


def test_lost_job_with_an_override_of_a_removed_setting_runs_its_release_again(removed):
    first = removed.place
    path = removed.cluster.newest_checkpoints[first.flink_job_id]
    removed.cluster.states.clear()
    [member] = read_members(removed.project, [JOB], {})
    lost = JobStatus(**{**vars(member.status), "state": "gone", "verdict": "failed"})
    [case] = read_decision_inputs(removed.project, [lost], datetime.now(UTC))
    assert (decide(case).need, decide(case).release) == ("recover", 1)
    started = removed.operate(kind="rollback", target_release=1, expected_release=1)
    assert (started.release, started.restored_from) == (1, path)
