"""Runs that outlast their sweep: the next sweeps start no second one, and count and report them."""

import pytest

from sluice.airflow.sweep_runs import known_runs
from sluice.fleet.decision import Decision
from sluice.fleet.needs import Needed
from sluice.plan.request import DeployRequest
from tests.unit.airflow.sweeping import Sweeps, lost, triggered

RECOVER = Decision("recover", "Flink does not know the job", release=1)
TO_1 = DeployRequest(kind="rollback", target_release=1, expected_release=2)
"""A request whose failed attempt the ledger records without knowing the job."""


@pytest.fixture
def sweeps(url, tmp_path):
    """Sweeps of the lost jobs a and b."""
    sweeps = Sweeps.with_ledger(url, tmp_path)
    (tmp_path / "flink_jobs").mkdir()
    for job in ("a", "b"):
        (tmp_path / "flink_jobs" / f"{job}.py").touch()
    sweeps.rows = [lost(name) for name in ("a", "b")]
    sweeps.needs = [Needed(name, RECOVER, TO_1) for name in ("a", "b")]
    sweeps.record_sample("a")
    return sweeps


@pytest.fixture
def hanging(sweeps):
    """The first sweep leaves run r0 of deploy.a running; the run of deploy.b has succeeded, and b is down again."""
    sweeps.states.update(operate_0="skipped", operate_1="success")
    sweeps.made.update({0: "r0", 1: "r1"})
    sweeps.runs["deploy.a", "r0"] = "running"
    result, failure = sweeps.run("1")
    assert (triggered(result), failure) == (["deploy.a", "deploy.b"], None)
    sweeps.made.clear()
    sweeps.made[0] = "r2"
    sweeps.states["operate_0"] = "success"
    return sweeps


def test_no_second_run_is_started_while_one_runs_for_the_same_job(hanging):
    result, failure = hanging.run("2")
    assert (triggered(result), failure) == (["deploy.b"], None)
    assert [hanging.failed_attempts(job) for job in ("a", "b")] == [[], []]


def test_run_that_hangs_is_reported_by_each_sweep_while_its_job_is_down(hanging):
    hanging.run("2")
    for name in ("3", "4"):
        result, failure = hanging.run(name)
        assert triggered(result) == ["deploy.b"]
        assert "a: report: Flink does not know the job; run r0 of deploy.a runs since" in failure
        assert "check its tasks in Airflow" in failure


def test_another_run_is_started_after_twelve_sweeps_with_a_run_that_hangs(hanging):
    for number in range(2, 13):
        assert triggered(hanging.run(str(number))[0]) == ["deploy.b"]
    assert triggered(hanging.run("13")[0]) == ["deploy.a", "deploy.b"]


def test_run_that_fails_after_its_sweep_is_counted_by_the_next_one(sweeps):
    sweeps.needs = [Needed("b", RECOVER, TO_1)]
    sweeps.states.update(operate_0="skipped")
    sweeps.made[0] = "r0"
    sweeps.runs["deploy.b", "r0"] = "queued"
    sweeps.run("1")
    assert sweeps.failed_attempts("b") == []
    sweeps.runs["deploy.b", "r0"] = "failed"
    sweeps.states["operate_0"], sweeps.made[0] = "success", "r1"
    result, _ = sweeps.run("2")
    counted = [("rollback", 1, "airflow:deploy.b/r0", "run r0 of deploy.b failed before it began an operation")]
    assert sweeps.failed_attempts("b") == counted
    assert triggered(result) == ["deploy.b"]
    assert known_runs(sweeps.ledger.notifications) == {}
    sweeps.run("3")
    assert sweeps.failed_attempts("b") == counted


def test_running_run_is_not_counted_though_the_waiting_task_failed(sweeps):
    sweeps.states.update(operate_0="failed", operate_1="success")
    sweeps.made.update({0: "r0", 1: "r1"})
    sweeps.runs["deploy.a", "r0"] = "running"
    _, failure = sweeps.run("1")
    assert sweeps.failed_attempts("a") == []
    assert failure.startswith("a run of deploy.a failed, or could not be triggered")


def test_run_whose_job_file_was_removed_is_reported(sweeps, tmp_path):
    (tmp_path / "flink_jobs" / "a.py").unlink()
    sweeps.states.update(operate_0="failed", operate_1="skipped")
    sweeps.made.update({0: "r0", 1: "r1"})
    sweeps.runs |= {("deploy.a", "r0"): "running", ("deploy.b", "r1"): "running"}
    _, failure = sweeps.run("1")
    assert "the file of a was removed while run r0 of deploy.a ran" in failure
    assert "the file of b" not in failure


def test_jobs_that_are_down_come_before_jobs_that_have_drifted(sweeps):
    sweeps.needs = [
        Needed("a", Decision("redeploy", "it differs"), DeployRequest()),
        Needed("b", RECOVER, DeployRequest()),
    ]
    assert triggered(sweeps.run("1")[0]) == ["deploy.b", "deploy.a"]
