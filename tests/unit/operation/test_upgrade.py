"""A newer Sluice generates other code around pipelines: a job gets it with its next release, not by the upgrade."""

from datetime import UTC, datetime

import pytest

from sluice.fleet.decision import decide
from sluice.fleet.members import read_members
from sluice.fleet.needs import read_decision_inputs
from sluice.fleet.rows import JobStatus
from sluice.operation import start
from sluice.operation.failed_attempts import record_unbegun
from sluice.plan.request import DeployRequest
from sluice.release import fingerprint
from tests.simulator.simulated import JOB, Died


@pytest.fixture
def upgraded(simulated, monkeypatch):
    """A job that runs as release 1 of an older Sluice."""
    monkeypatch.setattr(fingerprint, "PIPELINE", 1)
    simulated.checkpoint(simulated.deploy().flink_job_id)
    monkeypatch.setattr(fingerprint, "PIPELINE", 2)
    return simulated


def has_drift(simulated):
    (member,) = read_members(simulated.project, [JOB], {})
    return member.status.drift


def test_upgrade_alone_restarts_no_job(upgraded):
    plan = upgraded.plan().plan
    assert (plan.action, plan.release, plan.changes) == ("none", 1, ())
    assert not has_drift(upgraded)


def test_next_release_after_an_upgrade_has_its_own_fingerprint(upgraded):
    first = upgraded.ledger.release(JOB, 1).fingerprint
    upgraded.deploy(overrides={"least": 1})
    upgraded.deploy(clear_overrides=True)
    third = upgraded.ledger.release(JOB, 3)
    assert third.fingerprint != first
    assert third.resolved == upgraded.ledger.release(JOB, 1).resolved


def test_requested_mode_redeploys_a_job_with_the_newer_generated_code(upgraded):
    plan = upgraded.plan(mode="savepoint").plan
    assert (plan.action, plan.release) == ("redeploy", None)
    assert [(change.path, change.category) for change in plan.changes] == [("versions", "metadata")]
    assert plan.changes[0].new.startswith("generated code 2, Flink ")
    started = upgraded.deploy(mode="savepoint")
    assert (started.release, started.restored_from) == (2, started.savepoint)
    assert upgraded.plan(mode="savepoint").plan.action == "none"


def test_sweep_does_not_redeploy_after_an_upgrade_what_was_rolled_back_before(simulated, monkeypatch):
    monkeypatch.setattr(fingerprint, "PIPELINE", 1)
    simulated.checkpoint(simulated.deploy().flink_job_id)
    simulated.lab.deployment(f"jobs:\n  {JOB}:\n    config:\n      least: 1\n")
    simulated.checkpoint(simulated.deploy().flink_job_id)
    simulated.deploy(kind="rollback", target_release=1)
    monkeypatch.setattr(fingerprint, "PIPELINE", 2)
    assert has_drift(simulated)
    assert "which was rolled back: to release 1" in decide(decision_input(simulated)).why


def decision_input(simulated):
    place = simulated.place
    row = JobStatus(JOB, "RUNNING", place.release, place.flink_job_id, "healthy", drift=True, phase="running")
    (found,) = read_decision_inputs(simulated.project, [row], datetime.now(UTC))
    return found


def test_sweep_gives_up_a_failing_redeploy_that_equals_an_older_release(simulated, monkeypatch):
    monkeypatch.setattr(fingerprint, "PIPELINE", 1)
    wanted = f"jobs:\n  {JOB}:\n    config:\n      least: 1\n"
    for deployment in (wanted, ""):
        simulated.lab.deployment(deployment)
        simulated.checkpoint(simulated.deploy().flink_job_id)
    monkeypatch.setattr(fingerprint, "PIPELINE", 2)
    simulated.lab.deployment(wanted)
    for number in range(9):
        record_unbegun(simulated.project, JOB, DeployRequest(), f"sweep {number}", "the client could not be started")
    assert decide(decision_input(simulated)).why.startswith("given up after 9 tries")


@pytest.mark.parametrize("submitted_by", [1, 2])
def test_counting_of_reads_depends_on_the_version_that_submitted_the_job(simulated, monkeypatch, submitted_by):
    simulated.dies_at = "after"
    monkeypatch.setattr(start, "PIPELINE", submitted_by)
    with pytest.raises(Died):
        simulated.operate()
    simulated.dies_at = None
    # The next attempt, by the newer Sluice, finds the job running.
    monkeypatch.setattr(start, "PIPELINE", 2)
    assert simulated.deploy().counts == (submitted_by == 2)
