"""A new release that would wait for task slots is refused, whatever state the job is in that it takes the place of."""

from types import SimpleNamespace

import httpx
import pytest

from sluice.errors import RefusedError, UnreachableError
from sluice.flink import client as client_module
from sluice.flink.client import FlinkClient
from sluice.plan.checks import check_slots
from sluice.state.situation import Runs
from tests.support.answering import answered_by

JOB, OTHER = "a" * 32, "b" * 32
RUNS = Runs(SimpleNamespace(job="counts", flink_job_id=JOB))
FIXED = SimpleNamespace(is_elastic=False)


def cluster(free, managers, gone=500):
    """TaskManagers of four slots, by name with the jobs that hold them; None: gone since it was listed."""

    def answer(request):
        path = request.url.path
        if path == "/overview":
            figures = {"taskmanagers": 1, "slots-total": 9, "slots-available": free, "flink-version": "2.3.0"}
            return httpx.Response(200, json=figures)
        if path == "/taskmanagers":
            listed = [
                {"id": name, "slotsNumber": 4, "freeSlots": 3 if jobs is None else 4 - len(jobs)}
                for name, jobs in managers.items()
            ]
            return httpx.Response(200, json={"taskmanagers": listed})
        jobs = managers[path.rpartition("/")[2]]
        if jobs is None:
            return httpx.Response(gone, json={"errors": ["no TaskExecutor registered"]})
        assert jobs, "one without a job is not asked"
        return httpx.Response(200, json={"allocatedSlots": [{"jobId": job, "resource": {}} for job in jobs]})

    return FlinkClient("http://flink", exchange=answered_by(answer))


def check(slots, flink):
    check_slots(flink, FIXED, RUNS, SimpleNamespace(slots=slots))


def test_what_the_job_holds_is_freed_and_counts():
    managers = {"10.0.0.1:4-a": [JOB, JOB, OTHER], "b": [JOB], "c": []}
    check(4, cluster(1, managers))
    with pytest.raises(RefusedError, match="5 task slots are needed; 1 are free and the running job frees 3"):
        check(5, cluster(1, managers))


def test_a_job_that_waits_for_slots_itself_frees_none():
    """It restarts, having lost its TaskManager: its parallelism says nothing."""
    with pytest.raises(RefusedError, match="4 task slots are needed; 2 are free and the running job frees 0"):
        check(4, cluster(2, {"a": [OTHER, OTHER]}))


def test_with_slots_enough_no_task_manager_is_asked():
    check(2, cluster(2, {"a": None}))


def test_a_task_manager_that_goes_meanwhile_has_no_slots(monkeypatch):
    monkeypatch.setattr(client_module, "_PAUSES", ())
    check(2, cluster(1, {"a": [JOB], "b": None}, gone=404))
    with pytest.raises(UnreachableError):
        check(2, cluster(1, {"a": [JOB], "b": None}))
