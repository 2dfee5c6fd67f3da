"""A newer Sluice generates other code around pipelines: a job gets it with its next release, not by the upgrade."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import create_engine, select, update

from sluice.fleet.decision import decide
from sluice.fleet.members import read_members
from sluice.fleet.needs import read_decision_inputs
from sluice.fleet.rows import JobStatus
from sluice.ledger.tables import JournalEntry, Operation, Release
from sluice.operation.failed_attempts import record_unbegun
from sluice.plan.request import DeployRequest
from sluice.release.fingerprint import fingerprint
from sluice.release.versions import CURRENT, Versions
from tests.simulator.cluster import Died
from tests.simulator.simulated import JOB

OLDER = Versions(pipeline=1)
"""The versions of a Sluice whose reads didn't count the records that they drop."""


def deploy_by_older(simulated, **request):
    """A deploy by that Sluice: the ledger has its fingerprints."""
    started = simulated.deploy(**request)
    project, engine = simulated.project, create_engine(simulated.project.settings.ledger)
    desired = project.desired(JOB)
    own, older = (fingerprint(project.settings.root, desired, versions=versions) for versions in (CURRENT, OLDER))
    with engine.begin() as connection:
        connection.execute(update(Release).where(Release.fingerprint == own).values(fingerprint=older))
        for operation, plan in connection.execute(select(Operation.id, Operation.plan)).all():
            if plan and plan["fingerprint"] == own:
                changed = {**plan, "fingerprint": older}
                connection.execute(update(Operation).where(Operation.id == operation).values(plan=changed))
    engine.dispose()
    return started


def change_recorded_code(simulated):
    """Let the journal say that the older Sluice has submitted the job."""
    engine = create_engine(simulated.project.settings.ledger)
    submitted = (JournalEntry.stage == "start") & (JournalEntry.event == "submit")
    with engine.begin() as connection:
        [data] = connection.scalars(select(JournalEntry.data).where(submitted))
        older = {**data, "generated_code": OLDER.pipeline}
        connection.execute(update(JournalEntry).where(submitted).values(data=older))
    engine.dispose()


@pytest.fixture
def upgraded(simulated):
    """A job that runs as release 1 of an older Sluice."""
    simulated.cluster.checkpoint(deploy_by_older(simulated).flink_job_id)
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


def test_sweep_does_not_redeploy_after_an_upgrade_what_was_rolled_back_before(simulated):
    simulated.cluster.checkpoint(deploy_by_older(simulated).flink_job_id)
    simulated.lab.deployment(f"jobs:\n  {JOB}:\n    config:\n      least: 1\n")
    simulated.cluster.checkpoint(deploy_by_older(simulated).flink_job_id)
    simulated.deploy(kind="rollback", target_release=1)
    assert has_drift(simulated)
    assert "which was rolled back: to release 1" in decide(decision_input(simulated)).why


def decision_input(simulated):
    place = simulated.place
    row = JobStatus(JOB, "RUNNING", place.release, place.flink_job_id, "healthy", drift=True, phase="running")
    (found,) = read_decision_inputs(simulated.project, [row], datetime.now(UTC))
    return found


def test_sweep_gives_up_a_failing_redeploy_that_equals_an_older_release(simulated):
    wanted = f"jobs:\n  {JOB}:\n    config:\n      least: 1\n"
    for deployment in (wanted, ""):
        simulated.lab.deployment(deployment)
        simulated.cluster.checkpoint(deploy_by_older(simulated).flink_job_id)
    simulated.lab.deployment(wanted)
    for number in range(9):
        record_unbegun(simulated.project, JOB, DeployRequest(), f"sweep {number}", "the client could not be started")
    assert decide(decision_input(simulated)).why.startswith("given up after 9 tries")


@pytest.mark.parametrize("is_older", [True, False])
def test_counting_of_reads_depends_on_the_version_that_submitted_the_job(simulated, is_older):
    simulated.cluster.dies_at_submit = "after"
    with pytest.raises(Died):
        simulated.operate()
    if is_older:
        change_recorded_code(simulated)
    simulated.cluster.dies_at_submit = None
    # The next attempt, by the newer Sluice, finds the job running.
    assert simulated.deploy().counts != is_older
