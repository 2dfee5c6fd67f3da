"""A savepoint of a job that runs on: asked for once, entered in the ledger, and an operation meanwhile."""

import httpx
import pytest

from sluice.errors import BusyError, OperationError, RefusedError
from sluice.operation.savepoint import Look, enter_savepoint, order_savepoint, take_savepoint
from tests.support.simulated import _ROUTES, JOB, SAVEPOINTS


def forgotten(job, trigger):
    """What Flink answers whose JobManager was restarted since."""
    error = f"There is no savepoint operation with triggerId={trigger} for job {job}."
    return httpx.Response(404, json={"errors": [error]})


@pytest.fixture
def asked(simulated, monkeypatch):
    """The savepoints that the cluster was asked for; each is there at once."""
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
    monkeypatch.setattr("sluice.operation.savepoint.FlinkClient", lambda _url: Kept(simulated.flink))
    return found


class Kept:
    """The simulated client, left open."""

    def __init__(self, flink):
        self.flink = flink

    def __enter__(self):
        return self.flink

    def __exit__(self, *_):
        pass


def take(simulated, holder="me"):
    return take_savepoint(simulated.project, JOB, holder, simulated.told.append, "before the migration")


def order(simulated, holder="me"):
    return order_savepoint(simulated.project, JOB, holder, simulated.flink)


def test_it_is_taken_entered_and_the_job_runs_on(simulated, asked):
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


def test_a_second_try_waits_for_the_same_savepoint(simulated, asked):
    simulated.deploy()
    first, second = order(simulated), order(simulated)
    assert (first.operation, first.trigger_id) == (second.operation, second.trigger_id)
    assert len(set(asked)) == 1
    enter_savepoint(simulated.project, second, Look(location="file:///x"))
    # The next one is another one.
    assert order(simulated).trigger_id != first.trigger_id


def test_nobody_stops_the_job_meanwhile(simulated, asked):
    simulated.deploy()
    order(simulated, "somebody")
    with pytest.raises(BusyError, match="savepoint by somebody has been in progress since"):
        order(simulated, "else")


def test_one_that_fails_says_so_and_leaves_the_job_free(simulated, asked):
    simulated.deploy()
    ordered = order(simulated)
    with pytest.raises(OperationError, match="the savepoint failed, the job runs on: no space"):
        enter_savepoint(simulated.project, ordered, Look(failure="no space"))
    newest = simulated.ledger.operations(JOB)[0]
    assert (newest.outcome, newest.reason) == ("failed", "the savepoint failed: no space")
    assert simulated.ledger.active(JOB) is None
    assert simulated.ledger.savepoints(JOB) == []


def test_what_the_jobmanager_has_forgotten_is_not_waited_for(simulated, asked, monkeypatch):
    simulated.deploy()

    def forgets(_simulated, _body, *request_params):
        return forgotten(*request_params)

    monkeypatch.setitem(_ROUTES, r"GET /jobs/(\w+)/savepoints/(\w+)", forgets)
    with pytest.raises(OperationError, match="the job runs on: .*There is no savepoint operation"):
        take(simulated)


def test_a_job_that_does_not_run_has_none(simulated, asked):
    with pytest.raises(RefusedError, match=f"{JOB} does not run"):
        take(simulated)
    simulated.deploy()
    simulated.deploy(kind="suspend")
    with pytest.raises(RefusedError, match=f"{JOB} does not run"):
        take(simulated)
    assert asked == []
