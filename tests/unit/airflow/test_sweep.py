"""The sweep's operators: notifications, approvals, failed runs; in a process of its own, as the DAGs."""

from pathlib import Path

from tests.support.ledgers import new_ledger
from tests.support.own_process import run_script

PREPARED = """
import sys
from types import SimpleNamespace
from airflow.sdk import DAG
from airflow.sdk.bases.notifier import BaseNotifier
from airflow.sdk.bases.operator import ExecutorSafeguard
from airflow.sdk.exceptions import AirflowFailException
import sluice.fleet.needs as needs, sluice.fleet.status as status
from sluice.airflow.sweep import SweepOperator, VerifyOperator
from sluice.fleet.decision import Decision
from sluice.fleet.needs import ApprovalRequest, Needed
from sluice.fleet.rows import JobObservation, JobStatus
from sluice.plan.request import DeployRequest
from sluice.ledger.ledger import Ledger

ExecutorSafeguard.test_mode = True
project = SimpleNamespace(ledger=Ledger(f"sqlite:///{sys.argv[1]}/ledger.db", "test"))
told, runs, now, alive, states, made = [], [], {}, {}, {}, {}


class Failing(BaseNotifier):
    broken = True
    def notify(self, context):
        if self.broken:
            raise RuntimeError("no server")
        told.append(("failing", [each["job"] for each in context["changes"]]))


class Template(BaseNotifier):
    template_fields = ("text",)
    def __init__(self, text):
        super().__init__()
        self.text = text
    def notify(self, context):
        told.append(("template", self.text))


class Task:
    def __init__(self):
        self.xcoms = {}
    def xcom_push(self, key, value):
        self.xcoms[key] = value
    def xcom_pull(self, task_ids, key="return_value", map_indexes=None):
        return self.xcoms.get(key) if map_indexes is None else made.get(map_indexes)
    def get_task_states(self, dag_id, task_ids, run_ids):
        assert (dag_id, task_ids) == ("redeploy_and_verify", ["operate"])
        return {run: states for run in run_ids}
    def get_dr_count(self, dag, run_ids, states=None):
        return sum(1 for run in run_ids if (state := alive.get(run)) and (states is None or state in states))


def sweep_and_record(project, run, gone):
    runs.append(run)
    now["gone"] = gone
    return [JobObservation(row) for row in now["rows"]]


status.sweep_and_record = sweep_and_record
needs.find_needs = lambda project, rows, log, has_ended, budget: [
    n for n in now["needs"] if n.job in {row.job for row in rows}
]
notifiers = [Failing(), Template("{{ changes[0].reasons[0] }}")]


def run(name):
    context = {"ti": Task(), "run_id": name, "dag": DAG("redeploy_and_verify", schedule=None)}
    sweep, verify = SweepOperator(task_id="s", notifiers=notifiers), VerifyOperator(task_id="v", notifiers=notifiers)
    for operator in (sweep, verify):
        operator.project = lambda: project
    told.clear()
    result = sweep.execute(context)
    context["ti"].xcom_push("return_value", result)
    now["xcoms"] = dict(context["ti"].xcoms)
    try:
        verify.execute(context)
    except AirflowFailException as error:
        return result, str(error)
    return result, None
"""


def run(tmp_path: Path, script: str) -> None:
    new_ledger(tmp_path)
    run_script(PREPARED + script, tmp_path, str(tmp_path))


def test_a_failing_notifier_is_retried_and_blocks_nothing_else(tmp_path):
    run(
        tmp_path,
        """
now["rows"] = [JobStatus("a", "gone", verdict="failed", reasons=("it is gone",), phase="running")]
now["needs"] = [Needed("a", Decision("recover", "it is gone"), DeployRequest())]
result, failure = run("1")
assert [each["trigger_dag_id"] for each in result] == ["deploy.a"], result
assert told == [("template", "it is gone")], told
assert failure == "notifier Failing failed, and is called again at the next sweep: RuntimeError: no server", failure
assert set(runs) == {"1"}
Failing.broken = False
_, failure = run("2")
assert (told, failure) == ([("failing", ["a"])], None), (told, failure)
_, failure = run("3")
assert (told, failure) == ([], None), (told, failure)
""",
    )


def test_a_report_on_a_running_job_notifies_once_and_fails_one_run(tmp_path):
    run(
        tmp_path,
        """
Failing.broken = False
now["rows"] = [JobStatus("a", "RUNNING", verdict="healthy", drift=True, phase="running")]
now["needs"] = [Needed("a", Decision("report", "given up after 6 tries", cause="given up: redeploy f5"))]
_, failure = run("1")
assert failure == "jobs need a person: a: given up after 6 tries", failure
assert told == [("failing", ["a"]), ("template", "given up after 6 tries")], told
assert now["xcoms"]["reports"][0]["reasons"] == ["given up after 6 tries"]
_, failure = run("2")
assert (told, failure) == ([], None), (told, failure)
now["needs"] = [Needed("a", Decision("report", "another", cause="given up: redeploy f6"))]
assert run("3")[1] == "jobs need a person: a: another"
""",
    )


def test_a_report_on_a_job_that_is_down_notifies_once_and_fails_each_run(tmp_path):
    run(
        tmp_path,
        """
Failing.broken = False
now["rows"] = [JobStatus("a", "gone", verdict="failed", reasons=("it is gone",), phase="running")]
now["needs"] = [Needed("a", Decision("report", "given up", cause="given up: recover"))]
for name in ("1", "2"):
    _, failure = run(name)
    assert failure == "jobs need a person: a: report: given up", failure
    expected = ["it is gone", "given up"] if name == "1" else []
    assert [words for who, words in told if who == "template"] == expected, told
""",
    )


def test_approval_is_requested_once_and_reported_from_the_next_sweep_on(tmp_path):
    run(
        tmp_path,
        """
Failing.broken = False
now["rows"] = [JobStatus("a", "RUNNING", verdict="healthy", drift=True, phase="running")]
REQUEST = ApprovalRequest("f5", DeployRequest())
LOSES = Needed("a", Decision("report", "it loses state", cause="approval f5"), approval_request=REQUEST)
now["needs"] = [LOSES]
asks, failure = run("1")
assert (told, failure) == ([], None), (told, failure)
assert [(each["trigger_dag_id"], each["conf"]["operation"], each["conf"]["unattended"], each["wait_for_completion"])
        for each in asks] == [("deploy.a", "deploy", False, False)]
# The request counts, whatever the outcome of its run.
asks, failure = run("2")
assert failure == "jobs need a person: a: it loses state", failure
assert (asks, len(told)) == ([], 2)
now["needs"] = [Needed("a", Decision("report", "it waits", cause="approval f5"))]
assert (run("3"), told) == (([], None), [])
now["needs"] = [LOSES]
assert (run("4"), told) == (([], None), [])
# The same change after an interval without it is a new request.
now["needs"] = []
run("5")
now["needs"] = [LOSES]
assert len(run("6")[0]) == 1
""",
    )


def test_an_approval_request_that_could_not_be_made_is_repeated(tmp_path):
    run(
        tmp_path,
        """
Failing.broken = False
now["rows"] = [JobStatus("a", "RUNNING", verdict="healthy", drift=True, phase="running")]
now["needs"] = [
    Needed("a", Decision("report", "it loses state", cause="approval f5"),
           approval_request=ApprovalRequest("f5", DeployRequest()))
]
# The DAG of a is paused.
states["operate_0"] = "failed"
FAILURE = "a run of deploy.a failed, or could not be triggered"
asks, failure = run("1")
assert ([each["wait_for_completion"] for each in asks], told) == ([False], [])
assert failure.startswith(FAILURE), failure
for name, words in (("2", ["it loses state"]), ("3", [])):
    asks, failure = run(name)
    assert len(asks) == 1
    assert FAILURE in failure, failure
    assert [said for who, said in told if who == "template"] == words, told
# The DAG is no longer paused.
states["operate_0"] = "success"
made[0] = "r4"
asks, failure = run("4")
assert (len(asks), failure, told) == (1, None, []), (asks, failure, told)
assert run("5") == ([], None)
# A run that was made has requested the approval, whatever its outcome.
request = ApprovalRequest("f6", DeployRequest())
now["needs"] = [Needed("a", Decision("report", "other", cause="approval f6"), approval_request=request)]
states["operate_0"] = "failed"
assert len(run("6")[0]) == 1
assert run("7")[0] == []
""",
    )


def test_rollback_approval_is_requested_beside_the_recovery(tmp_path):
    run(
        tmp_path,
        """
Failing.broken = False
now["rows"] = [JobStatus("a", "FAILED", verdict="failed", phase="running")]
back = ApprovalRequest("f1", DeployRequest(kind="rollback", expected_release=2))
why = Decision("recover", "it is to run; going back needs an approval", release=2, cause="approval f1")
now["needs"] = [Needed("a", why, DeployRequest(), approval_request=back)]
runs_of = lambda result: [(each["conf"]["operation"], each["conf"]["unattended"], each["wait_for_completion"])
                          for each in result]
result, _ = run("1")
# A run that the sweep waits for requests no approval, whatever its plan.
assert runs_of(result) == [("deploy", True, True), ("rollback", False, False)], result
assert "going back needs an approval" in result[1]["conf"]["reason"]
# Until the answer, another release may be deployed: the request names the expected one.
assert [each["conf"].get("seen_release") for each in result] == [None, 2]
result, _ = run("2")
assert runs_of(result) == [("deploy", True, True)], result
# The approval was requested or rejected.
now["needs"] = [Needed("a", why, DeployRequest())]
assert runs_of(run("3")[0]) == [("deploy", True, True)]
""",
    )


def test_sweep_cancels_replay_chunks_of_ended_runs(tmp_path):
    run(
        tmp_path,
        """
from sluice.errors import UnreachableError
from sluice.ledger.chunk_scheduling import ChunkLimits
import sluice.replay.run as replay_run

Failing.broken = False
now["rows"] = now["needs"] = []
alive.update(over="failed", on="running")
takers = ["airflow:mine/over/replay/-1", "airflow:mine/on/replay/3", "airflow:elsewhere/unknown/replay/1",
          "shell:me@here:1"]
ledger = project.ledger
plan = {"outputs": {"counts": "there"}, "start": "2026-01-01T00:00Z", "end": "2026-01-02T00:00Z"}
ledger.replays.add("a" * 32, "counts", "airflow:mine/over", 1, plan, ["waits", *takers], None)
for letter, holder in (("b", "airflow:mine/over"), ("c", "airflow:mine/on"), ("d", "airflow:mine/over/all/-1")):
    ledger.replays.add(letter * 32, "counts", holder, 1, {**plan, "outputs": {"counts": letter}}, ["waits"], None)
for number, taker in enumerate(takers, start=2):
    assert ledger.replays.claim("a" * 32, number, taker, ChunkLimits(9, 9))
ended = []


def cancel(project, row, log, **_more):
    if row.number != 2:
        raise AssertionError(row.name)
    ended.append(row.name)
    if len(ended) == 1:
        raise UnreachableError("no answer")


replay_run._cancel = cancel
# An unreachable cluster fails no sweep, and the next one tries again.
assert run("1") == ([], None)
assert run("2") == ([], None)
assert ended == takers[:1] * 2, ended
# A replay of an ended holder without running chunks has failed and blocks no other one.
assert [ledger.replays.find(letter * 32).outcome for letter in "abcd"] == [None, "failed", None, "failed"]
""",
    )


def test_sweep_knows_holders_whose_runs_have_ended(tmp_path):
    run(
        tmp_path,
        """
Failing.broken = False
now["rows"] = now["needs"] = []
alive.update(over="failed", on="running")
holders = {"a": "airflow:deploy.a/over", "b": "airflow:deploy.b/on", "c": "airflow:elsewhere/unknown",
           "d": "shell:me@elsewhere:1"}
for job, holder in holders.items():
    project.ledger.add_release(job, fingerprint="f", artifact="a", module="m", resolved={})
    project.ledger.begin(job, kind="deploy", holder=holder, release=1)
run("1")
assert [job for job, holder in holders.items() if now["gone"](holder)] == ["a"]
""",
    )


def test_runs_that_fail_before_an_operation_count_as_failed_attempts(tmp_path):
    run(
        tmp_path,
        """
from datetime import UTC, datetime, timedelta
import sluice.operation.failed_attempts as unbegun
from sluice.fleet.readings import to_sample

Failing.broken = False
counted = []
unbegun.record_unless_begun = lambda project, *given: counted.append(given)
gone = {"verdict": "failed", "reasons": ("it is gone",), "phase": "running"}
now["rows"] = [JobStatus(name, "gone", **gone) for name in ("a", "b", "c")]
to_1 = DeployRequest(kind="rollback", target_release=1, expected_release=2)
back = Needed("b", Decision("recover", "it is gone", release=1), to_1)
as_it_was = Decision("recover", "it is gone")
now["needs"] = [Needed("a", as_it_was, DeployRequest()), back, Needed("c", as_it_was, DeployRequest())]
states.update(operate_0="success", operate_1="failed", operate_2="failed")
# The DAG of c is paused.
made.update({0: "r0", 1: "r1"})
at = datetime.now(UTC)
sample = to_sample("test", JobObservation(now["rows"][0]), at, "1")
project.ledger.samples.add([sample], older_than=at - timedelta(days=1))
run("1")
sent = {"unattended": True, "reason": "redeploy_and_verify: b: recover: it is gone"}
assert counted == [
    ("b", back.request.model_copy(update=sent), "airflow:deploy.b/r1",
     "run r1 of deploy.b failed before it began an operation", at)
], counted
""",
    )


def test_a_failed_run_is_reported_with_the_present_need_of_its_job(tmp_path):
    run(
        tmp_path,
        """
Failing.broken = False
gone = {"verdict": "failed", "reasons": ("it is gone",), "phase": "running"}
now["rows"] = [JobStatus(name, "gone", **gone) for name in ("a", "b")]
now["needs"] = [Needed(name, Decision("recover", "it is gone"), DeployRequest()) for name in ("a", "b")]
states.update(operate_0="success", operate_1="failed")


def look_again(project, rows, log, has_ended, budget):
    again.append([row.job for row in rows])
    why = "recover is tried again at 12:01:00 UTC, after 1 of 6 tries: its state is gone"
    return [Needed("b", Decision("nothing", why))] if len(again) > 1 else now["needs"]


again = []
needs.find_needs = look_again
_, failure = run("1")
FAILURE = "failed, or could not be triggered since its DAG is paused: see the task operate"
assert failure == (
    f"a run of deploy.b {FAILURE}; now: recover is tried again at 12:01:00 UTC, after 1 of 6 tries: its state is gone"
), failure
# A run that requests an approval isn't awaited, and may fail to be made, too.
states.clear()
states["operate_0"] = "failed"
now["rows"] = [JobStatus("a", "RUNNING", verdict="healthy", reasons=("well",), drift=True, phase="running")]
now["needs"] = [
    Needed("a", Decision("report", "x", cause="approval f5"),
           approval_request=ApprovalRequest("f5", DeployRequest()))]
needs.find_needs = lambda project, rows, log, has_ended, budget: now["needs"]
_, failure = run("2")
assert failure == f"a run of deploy.a {FAILURE}", failure
""",
    )


def test_verify_fails_without_a_result_of_the_sweep(tmp_path):
    run(
        tmp_path,
        """
context = {"ti": Task(), "run_id": "1", "dag": DAG("redeploy_and_verify", schedule=None)}
try:
    VerifyOperator(task_id="v").execute(context)
    raise SystemExit("verify succeeded")
except AirflowFailException as error:
    assert str(error) == "the fleet was not checked: see the log of the task sweep", error
""",
    )
