"""The situation of a job, from the ledger and the cluster."""

from datetime import UTC, datetime

import pytest

from sluice.errors import RefusedError
from sluice.flink.models import JobSummary
from sluice.ledger.tables import Placement
from sluice.state.situation import Absent, Lost, Runs, Stopped, Stopping, Suspended, locate

OURS, OTHER = "a" * 32, "b" * 32


def summary(job_id, state="RUNNING", name="counts"):
    return JobSummary.model_validate(
        {"jid": job_id, "name": name, "state": state, "start-time": 1, "tasks": {"total": 1, "running": 1}}
    )


def place(phase="running"):
    return Placement(
        environment="test", job="counts", phase=phase, release=1, flink_job_id=OURS, since=datetime.now(UTC)
    )


def test_job_without_a_placement_is_absent():
    assert locate("counts", None, []) == Absent()


@pytest.mark.parametrize("state", ["RUNNING", "RESTARTING", "INITIALIZING", "FAILING"])
def test_job_in_a_non_terminal_state_runs(state):
    assert isinstance(locate("counts", place(), [summary(OURS, state)]), Runs)


@pytest.mark.parametrize("state", ["FAILED", "CANCELED", "FINISHED"])
def test_running_placement_of_an_ended_flink_job_is_lost_and_known(state):
    assert locate("counts", place(), [summary(OURS, state)]).is_known


def test_running_placement_on_an_empty_cluster_is_lost_and_not_known():
    found = locate("counts", place(), [])
    assert isinstance(found, Lost)
    assert not found.is_known


@pytest.mark.parametrize(("phase", "kind"), [("stopped", Stopped), ("suspended", Suspended)])
def test_stopped_or_suspended_job_stays_so_if_the_cluster_shows_its_ended_job(phase, kind):
    assert isinstance(locate("counts", place(phase), [summary(OURS, "FINISHED")]), kind)


@pytest.mark.parametrize(("state", "alive"), [("RUNNING", True), ("FINISHED", False)])
def test_unfinished_stop_is_continued(state, alive):
    found = locate("counts", place("stopping"), [summary(OURS, state)])
    assert isinstance(found, Stopping)
    assert found.is_alive is alive


@pytest.mark.parametrize("mine", [None, place(), place("stopped"), place("suspended")])
def test_flink_job_of_the_same_name_that_the_ledger_lacks_is_refused(mine):
    with pytest.raises(RefusedError, match=f"does not know: {OTHER}.*must not run twice"):
        locate("counts", mine, [summary(OTHER)])


def test_flink_jobs_of_other_names_are_ignored():
    assert locate("counts", None, [summary(OTHER, name="counts_too")]) == Absent()
