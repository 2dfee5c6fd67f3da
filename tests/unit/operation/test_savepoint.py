"""A savepoint of a job that keeps running: requested once, recorded in the ledger, and locking the job."""

import pytest

from sluice.errors import BusyError, OperationError, RefusedError
from sluice.operation.savepoint import Look, enter_savepoint, order_savepoint, take_savepoint
from tests.simulator.cluster import SAVEPOINTS, unknown_trigger
from tests.simulator.simulated import JOB


def take(simulated, holder="me"):
    return take_savepoint(simulated.project, JOB, holder, simulated.log_lines.append, "before the migration")


def order(simulated, holder="me"):
    return order_savepoint(simulated.project, JOB, holder, simulated.flink)


def test_savepoint_is_recorded_and_the_job_keeps_running(simulated):
    started = simulated.deploy()
    taken = take(simulated)
    assert (taken.release, taken.flink_job_id) == (1, started.flink_job_id)
    assert taken.savepoint.startswith(f"{SAVEPOINTS}/test/{JOB}/")
    newest = simulated.ledger.operations(JOB)[0]
    assert (newest.kind, newest.outcome, newest.savepoint, newest.note) == (
        "savepoint",
        "taken",
        taken.savepoint,
        "before the migration",
    )
    assert [row.path for row in simulated.ledger.savepoints(JOB)] == [taken.savepoint]
    assert simulated.cluster.running_jobs() == [started.flink_job_id]
    assert simulated.ledger.active(JOB) is None


def test_retry_waits_for_the_same_savepoint(simulated):
    simulated.deploy()
    first, second = order(simulated), order(simulated)
    assert (first.operation, first.trigger_id) == (second.operation, second.trigger_id)
    assert list(simulated.cluster.savepoints) == [first.trigger_id]
    enter_savepoint(simulated.project, second, Look(location="file:///x"))
    # After that, a request takes another savepoint.
    assert order(simulated).trigger_id != first.trigger_id


def test_savepoint_holds_the_lock_of_the_job(simulated):
    simulated.deploy()
    order(simulated, "ann")
    with pytest.raises(BusyError, match="savepoint by ann has been in progress since"):
        order(simulated, "bob")


def test_failed_savepoint_is_reported_and_releases_the_lock(simulated):
    simulated.deploy()
    ordered = order(simulated)
    with pytest.raises(OperationError, match="the savepoint failed, the job runs on: no space"):
        enter_savepoint(simulated.project, ordered, Look(failure="no space"))
    newest = simulated.ledger.operations(JOB)[0]
    assert (newest.outcome, newest.reason) == ("failed", "the savepoint failed: no space")
    assert simulated.ledger.active(JOB) is None
    assert simulated.ledger.savepoints(JOB) == []


def test_savepoint_that_the_jobmanager_no_longer_knows_fails(simulated):
    simulated.deploy()
    simulated.cluster.answers[r"GET /jobs/(\w+)/savepoints/(\w+)"] = unknown_trigger
    with pytest.raises(OperationError, match="the job runs on: .*There is no savepoint operation"):
        take(simulated)


def test_savepoint_of_a_job_that_does_not_run_is_refused(simulated):
    with pytest.raises(RefusedError, match=f"{JOB} is not running"):
        take(simulated)
    simulated.deploy()
    simulated.deploy(kind="suspend")
    with pytest.raises(RefusedError, match=f"{JOB} is not running"):
        take(simulated)
    assert simulated.cluster.savepoints == {}
