"""A newer Sluice generates other code around pipelines: a job gets that with its next release, and not by itself."""

from datetime import UTC, datetime

import pytest

from sluice.fleet.decision import decide
from sluice.fleet.members import read_members
from sluice.fleet.needs import read_cases
from sluice.fleet.rows import JobStatus
from sluice.release import fingerprint
from tests.support.simulated import JOB


@pytest.fixture
def upgraded(simulated, monkeypatch):
    """The job runs as release 1 of an older Sluice."""
    monkeypatch.setattr(fingerprint, "PIPELINE", 1)
    simulated.checkpoint(simulated.deploy().flink_job_id)
    monkeypatch.setattr(fingerprint, "PIPELINE", 2)
    return simulated


def drifts(simulated):
    (member,) = read_members(simulated.project, [JOB], {})
    return member.status.drift


def test_an_upgrade_alone_restarts_no_job(upgraded):
    plan = upgraded.plan().plan
    assert (plan.action, plan.release, plan.changes) == ("none", 1, ())
    assert not drifts(upgraded)


def test_the_next_release_after_an_upgrade_has_a_fingerprint_of_its_own(upgraded):
    first = upgraded.ledger.release(JOB, 1).fingerprint
    upgraded.deploy(overrides={"least": 1})
    upgraded.deploy(clear_overrides=True)
    third = upgraded.ledger.release(JOB, 3)
    assert third.fingerprint != first
    assert third.resolved == upgraded.ledger.release(JOB, 1).resolved


def test_a_mode_redeploys_a_job_for_the_newer_generated_code_and_the_plan_says_so(upgraded):
    plan = upgraded.plan(mode="savepoint").plan
    assert (plan.action, plan.release) == ("redeploy", None)
    assert [(change.path, change.category) for change in plan.changes] == [("versions", "metadata")]
    assert plan.changes[0].new.startswith("generated code 2, Flink ")
    started = upgraded.deploy(mode="savepoint")
    assert (started.release, started.restored_from) == (2, started.savepoint)
    assert upgraded.plan(mode="savepoint").plan.action == "none"


def test_what_was_rolled_back_before_an_upgrade_is_not_deployed_again_by_a_sweep(simulated, monkeypatch):
    monkeypatch.setattr(fingerprint, "PIPELINE", 1)
    simulated.checkpoint(simulated.deploy().flink_job_id)
    simulated.lab.deployment(f"jobs:\n  {JOB}:\n    config:\n      least: 1\n")
    simulated.checkpoint(simulated.deploy().flink_job_id)
    simulated.deploy(kind="rollback", to=1)
    monkeypatch.setattr(fingerprint, "PIPELINE", 2)
    assert drifts(simulated)
    place = simulated.place
    row = JobStatus(JOB, "RUNNING", place.release, place.flink_job_id, "healthy", drift=True, phase="running")
    (case,) = read_cases(simulated.project, [row], datetime.now(UTC))
    assert "which was rolled back: to release 1" in decide(case).why
