"""The sweep's operators: notifications, approvals, failed runs."""

import httpx
import pytest
from airflow.sdk.exceptions import AirflowFailException

from sluice.airflow.sweep import SweepOperator, VerifyOperator
from sluice.fleet.decision import Decision
from sluice.fleet.needs import ApprovalRequest, Needed
from sluice.plan.request import DeployRequest
from tests.simulator.simulated import JOB
from tests.unit.airflow.sweeping import SweepingTask, Sweeps, drifted, lost, triggered
from tests.unit.airflow.tasks import context, execute, on
from tests.unit.replay.replayed import Replayed

RECOVER = Decision("recover", "Flink does not know the job")
TO_1 = DeployRequest(kind="rollback", target_release=1, expected_release=2)


@pytest.fixture
def sweeps(url):
    return Sweeps.with_ledger(url)


def report(why, cause):
    return Decision("report", why, cause=cause)


def test_sweep_finds_that_a_lost_job_needs_a_recovery(simulated):
    simulated.deploy()
    simulated.cluster.states.clear()
    operator = on(simulated.project, SweepOperator(task_id="s"))
    [run] = execute(operator, context("redeploy_and_verify", "1"))
    assert (run["trigger_dag_id"], run["conf"]["operation"], run["conf"]["unattended"]) == (
        f"deploy.{JOB}",
        "deploy",
        True,
    )
    assert simulated.ledger.samples.last_run() is not None


def test_failing_notifier_is_retried_and_blocks_nothing_else(sweeps):
    sweeps.rows, sweeps.needs = [lost("a")], [Needed("a", RECOVER, DeployRequest())]
    sweeps.failing.is_broken = True
    result, failure = sweeps.run("1")
    assert triggered(result) == ["deploy.a"]
    assert sweeps.notified == [("template", "Flink does not know the job")]
    assert failure == "notifier Failing failed, and is called again at the next sweep: RuntimeError: no server"
    assert set(sweeps.checks) == {"1"}
    sweeps.failing.is_broken = False
    _, failure = sweeps.run("2")
    assert (sweeps.notified, failure) == ([("failing", ["a"])], None)
    _, failure = sweeps.run("3")
    assert (sweeps.notified, failure) == ([], None)


def test_report_on_a_running_job_notifies_once_and_fails_one_run(sweeps):
    sweeps.rows = [drifted("a")]
    sweeps.needs = [Needed("a", report("given up after 6 tries", "given up: redeploy f5"))]
    _, failure = sweeps.run("1")
    assert failure == "jobs need a person: a: given up after 6 tries"
    assert sweeps.notified == [("failing", ["a"]), ("template", "given up after 6 tries")]
    assert sweeps.xcoms["reports"][0]["reasons"] == ["given up after 6 tries"]
    _, failure = sweeps.run("2")
    assert (sweeps.notified, failure) == ([], None)
    sweeps.needs = [Needed("a", report("another", "given up: redeploy f6"))]
    assert sweeps.run("3")[1] == "jobs need a person: a: another"


def test_report_on_a_job_that_is_down_notifies_once_and_fails_each_run(sweeps):
    sweeps.rows, sweeps.needs = [lost("a")], [Needed("a", report("given up", "given up: recover"))]
    for name, texts in (("1", ["Flink does not know the job", "given up"]), ("2", [])):
        _, failure = sweeps.run(name)
        assert failure == "jobs need a person: a: report: given up"
        assert sweeps.texts() == texts


def loses(job="a", why="it loses state", cause="approval f5", fingerprint="f5"):
    """A job whose deploy needs an approval that no run has requested yet."""
    return Needed(job, report(why, cause), approval_request=ApprovalRequest(fingerprint, DeployRequest()))


def test_approval_is_requested_once_and_reported_from_the_next_sweep_on(sweeps):
    sweeps.rows, sweeps.needs = [drifted("a")], [loses()]
    asks, failure = sweeps.run("1")
    assert (sweeps.notified, failure) == ([], None)
    assert [
        (each["trigger_dag_id"], each["conf"]["operation"], each["conf"]["unattended"], each["wait_for_completion"])
        for each in asks
    ] == [("deploy.a", "deploy", False, False)]
    # The request counts, whatever the outcome of its run.
    asks, failure = sweeps.run("2")
    assert failure == "jobs need a person: a: it loses state"
    assert (asks, len(sweeps.notified)) == ([], 2)
    sweeps.needs = [Needed("a", report("it waits", "approval f5"))]
    assert (sweeps.run("3"), sweeps.notified) == (([], None), [])
    sweeps.needs = [loses()]
    assert (sweeps.run("4"), sweeps.notified) == (([], None), [])


def test_approval_is_requested_again_after_a_sweep_without_its_change(sweeps):
    sweeps.rows, sweeps.needs = [drifted("a")], [loses()]
    assert len(sweeps.run("1")[0]) == 1
    sweeps.needs = []
    sweeps.run("2")
    sweeps.needs = [loses()]
    assert len(sweeps.run("3")[0]) == 1


def test_approval_request_that_could_not_be_made_is_repeated(sweeps):
    sweeps.rows, sweeps.needs = [drifted("a")], [loses()]
    # The DAG of a is paused.
    sweeps.states["operate_0"] = "failed"
    failed = "a run of deploy.a failed, or could not be triggered"
    asks, failure = sweeps.run("1")
    assert ([each["wait_for_completion"] for each in asks], sweeps.notified) == ([False], [])
    assert failure.startswith(failed)
    for name, texts in (("2", ["it loses state"]), ("3", [])):
        asks, failure = sweeps.run(name)
        assert len(asks) == 1
        assert failed in failure
        assert sweeps.texts() == texts
    # The DAG is no longer paused.
    sweeps.states["operate_0"], sweeps.made[0] = "success", "r4"
    asks, failure = sweeps.run("4")
    assert (len(asks), failure, sweeps.notified) == (1, None, [])
    assert sweeps.run("5") == ([], None)


def test_approval_request_whose_run_was_made_and_failed_is_not_repeated(sweeps):
    sweeps.rows, sweeps.needs = [drifted("a")], [loses()]
    sweeps.states["operate_0"], sweeps.made[0] = "failed", "r1"
    assert len(sweeps.run("1")[0]) == 1
    assert sweeps.run("2")[0] == []


def test_rollback_approval_is_requested_beside_the_recovery(sweeps):
    sweeps.rows = [lost("a")]
    back = ApprovalRequest("f1", DeployRequest(kind="rollback", expected_release=2))
    why = Decision("recover", "it should run; rolling back needs an approval", release=2, cause="approval f1")
    sweeps.needs = [Needed("a", why, DeployRequest(), approval_request=back)]

    def runs_of(result):
        return [(each["conf"]["operation"], each["conf"]["unattended"], each["wait_for_completion"]) for each in result]

    result, _ = sweeps.run("1")
    # A run that the sweep waits for requests no approval, whatever its plan.
    assert runs_of(result) == [("deploy", True, True), ("rollback", False, False)]
    assert "rolling back needs an approval" in result[1]["conf"]["reason"]
    # Until the answer, another release may be deployed: the request names the expected one.
    assert [each["conf"].get("seen_release") for each in result] == [None, 2]
    result, _ = sweeps.run("2")
    assert runs_of(result) == [("deploy", True, True)]
    # The approval was requested or rejected.
    sweeps.needs = [Needed("a", why, DeployRequest())]
    assert runs_of(sweeps.run("3")[0]) == [("deploy", True, True)]


@pytest.mark.parametrize("other", ["airflow:mine/on/replay/3", "airflow:elsewhere/unknown/replay/1", "shell:me@here:1"])
def test_sweep_cancels_the_chunks_of_ended_runs_only(simulated, other):
    replayed = Replayed(simulated)
    jobs = []
    for number, taker in ((1, "airflow:mine/over/replay/-1"), (2, other)):
        chunk = replayed.chunk(number, taker=taker)
        assert chunk.claim()
        jobs.append(chunk.start())
    sweeps = Sweeps(simulated.project)
    sweeps.runs |= {("mine", "over"): "failed", ("mine", "on"): "running"}

    def no_answer():
        raise httpx.ConnectError("refused")

    # A cluster that does not answer fails no sweep, and the next one tries again.
    simulated.cluster.at_request(f"GET /jobs/{jobs[0]}.*", no_answer)
    assert sweeps.run("1") == ([], None)
    assert replayed.running_jobs() == jobs
    assert sweeps.run("2") == ([], None)
    assert replayed.states == {jobs[0]: "CANCELED", jobs[1]: "RUNNING"}
    assert [replayed.row(number).state for number in (1, 2)] == ["cancelled", "running"]


def test_replay_of_an_ended_run_without_running_chunks_has_failed(sweeps):
    sweeps.runs |= {("mine", "over"): "failed", ("mine", "on"): "running"}
    holders = {"a": "airflow:mine/over", "b": "airflow:mine/on", "c": "airflow:mine/over/all/-1"}
    for letter, holder in holders.items():
        plan = {"outputs": {"counts": letter}, "start": "2026-01-01T00:00Z", "end": "2026-01-02T00:00Z"}
        sweeps.ledger.replays.add(letter * 32, "counts", holder, 1, plan, ["waits"], None)
    assert sweeps.run("1") == ([], None)
    outcomes = [sweeps.ledger.replays.find(letter * 32).outcome for letter in holders]
    assert outcomes == ["failed", None, "failed"]


def test_sweep_knows_holders_whose_runs_have_ended(sweeps):
    sweeps.runs |= {("deploy.a", "over"): "failed", ("deploy.b", "on"): "running"}
    holders = {
        "a": "airflow:deploy.a/over",
        "b": "airflow:deploy.b/on",
        "c": "airflow:elsewhere/unknown",
        "d": "shell:me@elsewhere:1",
    }
    for job, holder in holders.items():
        sweeps.ledger.add_release(job, fingerprint="f", artifact="a", module="m", resolved={})
        sweeps.ledger.begin(job, kind="deploy", holder=holder, release=1)
    sweeps.run("1")
    assert [job for job, holder in holders.items() if sweeps.has_ended(holder)] == ["a"]


@pytest.fixture
def failing_runs(sweeps):
    """Runs for a, b and c: that of a succeeds, that of b fails, and the DAG of c is paused."""
    sweeps.rows = [lost(name) for name in ("a", "b", "c")]
    sweeps.needs = [
        Needed(name, Decision("recover", "Flink does not know the job", release=1), TO_1) for name in ("a", "b", "c")
    ]
    sweeps.states.update(operate_0="success", operate_1="failed", operate_2="failed")
    sweeps.made.update({0: "r0", 1: "r1"})
    sweeps.record_sample("a")
    return sweeps


def test_run_that_fails_before_an_operation_counts_as_a_failed_attempt(failing_runs):
    failing_runs.run("1")
    assert {job: failing_runs.failed_attempts(job) for job in ("a", "b", "c")} == {
        "a": [],
        "b": [("rollback", 1, "airflow:deploy.b/r1", "run r1 of deploy.b failed before it began an operation")],
        "c": [],
    }


def test_run_that_has_begun_an_operation_does_not_count_a_second_time(failing_runs):
    failing_runs.ledger.add_release("b", fingerprint="f", artifact="a", module="m", resolved={})
    operation = failing_runs.ledger.begin("b", kind="rollback", holder="airflow:deploy.b/r1", release=1)
    operation.finish("failed", "it did not start")
    failing_runs.run("1")
    assert [reason for *_, reason in failing_runs.failed_attempts("b")] == ["it did not start"]


FAILED_RUN = "failed, or could not be triggered since its DAG is paused: see the task operate"


def test_failed_run_is_reported_with_the_present_need_of_its_job(sweeps):
    sweeps.rows = [lost(name) for name in ("a", "b")]
    needs = [Needed(name, RECOVER, DeployRequest()) for name in ("a", "b")]
    sweeps.states.update(operate_0="success", operate_1="failed")
    why = "recover is tried again at 12:01:00 UTC, after 1 of 6 tries: its state is missing"
    answers = iter([needs, [Needed("b", Decision("nothing", why))]])
    sweeps.found = lambda _rows: next(answers)
    _, failure = sweeps.run("1")
    assert failure == f"a run of deploy.b {FAILED_RUN}; now: {why}"


def test_failed_run_that_requests_an_approval_is_reported_though_it_is_not_awaited(sweeps):
    sweeps.rows, sweeps.needs = [drifted("a", ("well",))], [loses(why="x")]
    sweeps.states["operate_0"] = "failed"
    assert sweeps.run("1")[1] == f"a run of deploy.a {FAILED_RUN}"


def test_verify_fails_without_a_result_of_the_sweep(sweeps):
    where = {**context("redeploy_and_verify", "1"), "ti": SweepingTask(sweeps)}
    with pytest.raises(AirflowFailException) as failure:
        execute(sweeps.operator(VerifyOperator), where)
    assert str(failure.value) == "the fleet was not checked: see the log of the task sweep"
