"""A savepoint of a job that keeps running: requested once, recorded in the ledger, and locking the job."""

import httpx
import pytest

from sluice.errors import BusyError, OperationError, RefusedError
from sluice.operation.savepoint import Look, enter_savepoint, order_savepoint, take_savepoint
from tests.simulator.simulated import _ROUTES, JOB, SAVEPOINTS


def forgotten(job, trigger):
    """The answer of a JobManager that was restarted after the request."""
    error = f"There is no savepoint operation with triggerId={trigger} for job {job}."
    return httpx.Response(404, json={"errors": [error]})


@pytest.fixture
def requested(monkeypatch):
    """The requested savepoints, as job, trigger id and directory; each completes at once."""
    found = []

    def take(_simulated, body, job):
        found.append((job, body["triggerId"], body["target-directory"]))
        return httpx.Response(202, json={"request-id": body["triggerId"]})

    def result(_simulated, _body, job, trigger):
        directory = next((where for _, known, where in found if known == trigger), None)
        if directory is None:
            return forgotten(job, trigger)
        done = {"status": {"id": "COMPLETED"}, "operation": {"location": f"{directory}/savepoint-1"}}
        return httpx.Response(200, json=done)

    monkeypatch.setitem(_ROUTES, r"POST /jobs/(\w+)/savepoints", take)
    monkeypatch.setitem(_ROUTES, r"GET /jobs/(\w+)/savepoints/(\w+)", result)
    return found


def take(simulated, holder="me"):
    return take_savepoint(simulated.project, JOB, holder, simulated.log_lines.append, "before the migration")


def order(simulated, holder="me"):
    return order_savepoint(simulated.project, JOB, holder, simulated.flink)


def test_savepoint_is_recorded_and_the_job_keeps_running(simulated, requested):
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
    assert simulated.alive() == [started.flink_job_id]
    assert simulated.ledger.active(JOB) is None


def test_retry_waits_for_the_same_savepoint(simulated, requested):
    simulated.deploy()
    first, second = order(simulated), order(simulated)
    assert (first.operation, first.trigger_id) == (second.operation, second.trigger_id)
    assert len(set(requested)) == 1
    enter_savepoint(simulated.project, second, Look(location="file:///x"))
    # After that, a request takes another savepoint.
    assert order(simulated).trigger_id != first.trigger_id


def test_savepoint_holds_the_lock_of_the_job(simulated, requested):
    simulated.deploy()
    order(simulated, "ann")
    with pytest.raises(BusyError, match="savepoint by ann has been in progress since"):
        order(simulated, "bob")


def test_failed_savepoint_is_reported_and_releases_the_lock(simulated, requested):
    simulated.deploy()
    ordered = order(simulated)
    with pytest.raises(OperationError, match="the savepoint failed, the job runs on: no space"):
        enter_savepoint(simulated.project, ordered, Look(failure="no space"))
    newest = simulated.ledger.operations(JOB)[0]
    assert (newest.outcome, newest.reason) == ("failed", "the savepoint failed: no space")
    assert simulated.ledger.active(JOB) is None
    assert simulated.ledger.savepoints(JOB) == []


def test_savepoint_that_the_jobmanager_no_longer_knows_fails(simulated, requested, monkeypatch):
    simulated.deploy()

    def forget(_simulated, _body, *arguments):
        return forgotten(*arguments)

    monkeypatch.setitem(_ROUTES, r"GET /jobs/(\w+)/savepoints/(\w+)", forget)
    with pytest.raises(OperationError, match="the job runs on: .*There is no savepoint operation"):
        take(simulated)


def test_savepoint_of_a_job_that_does_not_run_is_refused(simulated, requested):
    with pytest.raises(RefusedError, match=f"{JOB} does not run"):
        take(simulated)
    simulated.deploy()
    simulated.deploy(kind="suspend")
    with pytest.raises(RefusedError, match=f"{JOB} does not run"):
        take(simulated)
    assert requested == []
