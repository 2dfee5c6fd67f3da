"""How a job is started: exactly one of its name runs."""

from datetime import UTC, datetime

import pytest

from sluice.errors import RefusedError
from sluice.flink.models import JobSummary
from sluice.operation.start import Attach, Fresh, Recover, Unchanged, decide
from sluice.release.tables import Running

OURS, OTHER = "a" * 32, "b" * 32


def summary(job_id, state="RUNNING", name="counts"):
    return JobSummary.model_validate(
        {"jid": job_id, "name": name, "state": state, "start-time": 1, "tasks": {"total": 1, "running": 1}}
    )


def running(release=1):
    return Running(
        environment="test",
        job="counts",
        release=release,
        flink_job_id=OURS,
        restored_from=None,
        had_checkpoint=True,
        since=datetime.now(UTC),
    )


def test_what_never_ran_starts_fresh():
    assert decide("counts", 1, None, None, [summary(OTHER, name="else")]) == Fresh()


def test_what_runs_as_it_should_is_left_alone():
    assert decide("counts", 1, running(), None, [summary(OURS)]) == Unchanged(OURS)


def test_what_this_operation_submitted_is_attached_to():
    assert decide("counts", 1, running(), OURS, [summary(OURS)]) == Attach(OURS)


@pytest.mark.parametrize("cluster", [[], [summary(OURS, "FAILED")], [summary(OURS, "CANCELED")]])
def test_what_should_run_and_does_not_is_recovered(cluster):
    decision = decide("counts", 1, running(), None, cluster)
    assert isinstance(decision, Recover)
    assert decision.known == bool(cluster)


def test_a_restarting_job_is_alive():
    assert decide("counts", 1, running(), None, [summary(OURS, "RESTARTING")]) == Unchanged(OURS)


@pytest.mark.parametrize("known", [None, running()])
def test_a_stranger_of_the_same_name_is_refused_by_its_id(known):
    with pytest.raises(RefusedError, match=OTHER):
        decide("counts", 1, known, None, [summary(OTHER)])


def test_an_ended_stranger_does_not_count():
    assert decide("counts", 1, None, None, [summary(OTHER, "CANCELED")]) == Fresh()


def test_another_release_is_not_put_in_its_place():
    with pytest.raises(RefusedError, match="release 1 runs, and release 2 differs"):
        decide("counts", 2, running(), None, [summary(OURS)])
