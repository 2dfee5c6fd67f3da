"""A new release that would wait for task slots is refused, whatever the state of the running job."""

from types import SimpleNamespace

import httpx
import pytest

from sluice.errors import RefusedError, UnreachableError
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

    return FlinkClient("http://flink", exchange=answered_by(answer), pauses=())


def check(slots, flink):
    check_slots(flink, FIXED, RUNS, SimpleNamespace(slots=slots))


def test_slots_of_the_running_job_count_as_free():
    managers = {"10.0.0.1:4-a": [JOB, JOB, OTHER], "b": [JOB], "c": []}
    check(4, cluster(1, managers))
    with pytest.raises(RefusedError, match="5 task slots are needed; 1 are free and the running job frees 3"):
        check(5, cluster(1, managers))


def test_restarting_job_without_slots_frees_none():
    """It restarts, having lost its TaskManager: its parallelism says nothing."""
    with pytest.raises(RefusedError, match="4 task slots are needed; 2 are free and the running job frees 0"):
        check(4, cluster(2, {"a": [OTHER, OTHER]}))


def test_task_managers_are_not_requested_if_enough_slots_are_free():
    check(2, cluster(2, {"a": None}))


def test_task_manager_lost_since_the_list_was_read_frees_no_slots():
    check(2, cluster(1, {"a": [JOB], "b": None}, gone=404))
    with pytest.raises(UnreachableError):
        check(2, cluster(1, {"a": [JOB], "b": None}))
