"""A newer Sluice generates other code around pipelines: a job gets that with its next release, and not by itself."""

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
from tests.support.simulated import JOB, Died


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
    simulated.deploy(kind="rollback", target_release=1)
    monkeypatch.setattr(fingerprint, "PIPELINE", 2)
    assert drifts(simulated)
    assert "which was rolled back: to release 1" in decide(case_of(simulated)).why


def case_of(simulated):
    place = simulated.place
    row = JobStatus(JOB, "RUNNING", place.release, place.flink_job_id, "healthy", drift=True, phase="running")
    (case,) = read_decision_inputs(simulated.project, [row], datetime.now(UTC))
    return case


def test_a_sweep_gives_up_what_fails_again_and_again_though_an_older_release_was_the_same(simulated, monkeypatch):
    monkeypatch.setattr(fingerprint, "PIPELINE", 1)
    wanted = f"jobs:\n  {JOB}:\n    config:\n      least: 1\n"
    for deployment in (wanted, ""):
        simulated.lab.deployment(deployment)
        simulated.checkpoint(simulated.deploy().flink_job_id)
    monkeypatch.setattr(fingerprint, "PIPELINE", 2)
    simulated.lab.deployment(wanted)
    for number in range(9):
        record_unbegun(simulated.project, JOB, DeployRequest(), f"sweep {number}", "the client could not be started")
    assert decide(case_of(simulated)).why.startswith("given up after 9 tries")


@pytest.mark.parametrize("submitted_by", [1, 2])
def test_reads_are_known_to_be_counted_by_what_was_submitted(simulated, monkeypatch, submitted_by):
    simulated.dies_at = "after"
    monkeypatch.setattr(start, "PIPELINE", submitted_by)
    with pytest.raises(Died):
        simulated.operate()
    simulated.dies_at = None
    # The next attempt, by the newer Sluice, finds it running.
    monkeypatch.setattr(start, "PIPELINE", 2)
    assert simulated.deploy().counts == (submitted_by == 2)
