"""The sweep's operators: a notifier that fails loses nothing; in a process of its own, as the DAGs."""

from pathlib import Path

from tests.support.own_process import run_fresh_script, run_script

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
from sluice.fleet.needs import Needed, Question
from sluice.fleet.rows import Found, JobStatus
from sluice.plan.request import Request
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
    return [Found(row) for row in now["rows"]]


status.sweep_and_record = sweep_and_record
needs.find_needs = lambda project, rows, log, gone, budget: [
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
    run_script(PREPARED + script, tmp_path, str(tmp_path))


def test_a_notifier_that_fails_is_told_again_and_hinders_neither_the_mending_nor_the_others(tmp_path):
    run(
        tmp_path,
        """
now["rows"] = [JobStatus("a", "gone", verdict="failed", reasons=("it is gone",), phase="running")]
now["needs"] = [Needed("a", Decision("recover", "it is gone"), Request())]
result, failure = run("1")
assert [each["trigger_dag_id"] for each in result] == ["deploy.a"], result
assert told == [("template", "it is gone")], told
assert failure == "Failing was not told, and will be at the next sweep: RuntimeError: no server", failure
assert set(runs) == {"1"}
Failing.broken = False
_, failure = run("2")
assert (told, failure) == ([("failing", ["a"])], None), (told, failure)
_, failure = run("3")
assert (told, failure) == ([], None), (told, failure)
""",
    )


def test_what_needs_a_person_while_the_job_runs_is_told_once_and_fails_one_run(tmp_path):
    run(
        tmp_path,
        """
Failing.broken = False
now["rows"] = [JobStatus("a", "RUNNING", verdict="healthy", drift=True, phase="running")]
now["needs"] = [Needed("a", Decision("report", "given up after 6 tries", cause="given up: redeploy f5"))]
_, failure = run("1")
assert failure == "a person has to look: a: given up after 6 tries", failure
assert told == [("failing", ["a"]), ("template", "given up after 6 tries")], told
assert now["xcoms"]["reports"][0]["reasons"] == ["given up after 6 tries"]
_, failure = run("2")
assert (told, failure) == ([], None), (told, failure)
now["needs"] = [Needed("a", Decision("report", "another", cause="given up: redeploy f6"))]
assert run("3")[1] == "a person has to look: a: another"
""",
    )


def test_a_job_that_is_down_and_given_up_fails_each_run_and_is_told_once(tmp_path):
    run(
        tmp_path,
        """
Failing.broken = False
now["rows"] = [JobStatus("a", "gone", verdict="failed", reasons=("it is gone",), phase="running")]
now["needs"] = [Needed("a", Decision("report", "given up", cause="given up: recover"))]
for name in ("1", "2"):
    _, failure = run(name)
    assert failure == "a person has to look: a: report: given up", failure
    expected = ["it is gone", "given up"] if name == "1" else []
    assert [words for who, words in told if who == "template"] == expected, told
""",
    )


def test_what_loses_state_is_asked_for_once_and_reported_from_the_next_sweep_on(tmp_path):
    run(
        tmp_path,
        """
Failing.broken = False
now["rows"] = [JobStatus("a", "RUNNING", verdict="healthy", drift=True, phase="running")]
LOSES = Needed("a", Decision("report", "it loses state", cause="approval f5"), to_ask=Question("f5", Request()))
now["needs"] = [LOSES]
asks, failure = run("1")
assert (told, failure) == ([], None), (told, failure)
assert [(each["trigger_dag_id"], each["conf"]["operation"], each["conf"]["unattended"], each["wait_for_completion"])
        for each in asks] == [("deploy.a", "deploy", False, False)]
# Whatever has become of that run: it was asked for.
asks, failure = run("2")
assert failure == "a person has to look: a: it loses state", failure
assert (asks, len(told)) == ([], 2)
now["needs"] = [Needed("a", Decision("report", "it waits", cause="approval f5"))]
assert (run("3"), told) == (([], None), [])
now["needs"] = [LOSES]
assert (run("4"), told) == (([], None), [])
# Not desired any more, and then again: that is news.
now["needs"] = []
run("5")
now["needs"] = [LOSES]
assert len(run("6")[0]) == 1
""",
    )


def test_what_nobody_could_be_asked_about_is_asked_for_again_and_told_once_meanwhile(tmp_path):
    run(
        tmp_path,
        """
Failing.broken = False
now["rows"] = [JobStatus("a", "RUNNING", verdict="healthy", drift=True, phase="running")]
now["needs"] = [
    Needed("a", Decision("report", "it loses state", cause="approval f5"), to_ask=Question("f5", Request()))
]
# The DAG of a is paused.
states["operate_0"] = "failed"
SAID = "a run of deploy.a has failed, or could not be made"
asks, failure = run("1")
assert ([each["wait_for_completion"] for each in asks], told) == ([False], [])
assert failure.startswith(SAID), failure
for name, words in (("2", ["it loses state"]), ("3", [])):
    asks, failure = run(name)
    assert len(asks) == 1
    assert SAID in failure, failure
    assert [said for who, said in told if who == "template"] == words, told
# It is not paused any more.
states["operate_0"] = "success"
made[0] = "r4"
asks, failure = run("4")
assert (len(asks), failure, told) == (1, None, []), (asks, failure, told)
assert run("5") == ([], None)
# A run that was made has asked, whatever has become of it.
now["needs"] = [Needed("a", Decision("report", "other", cause="approval f6"), to_ask=Question("f6", Request()))]
states["operate_0"] = "failed"
assert len(run("6")[0]) == 1
assert run("7")[0] == []
""",
    )


def test_a_way_back_that_needs_an_approval_is_asked_for_beside_and_nothing_waits_for_the_answer(tmp_path):
    run(
        tmp_path,
        """
Failing.broken = False
now["rows"] = [JobStatus("a", "FAILED", verdict="failed", phase="running")]
back = Question("f1", Request(kind="rollback", seen=2))
why = Decision("recover", "it is to run; going back needs an approval", release=2, cause="approval f1")
now["needs"] = [Needed("a", why, Request(), to_ask=back)]
runs_of = lambda result: [(each["conf"]["operation"], each["conf"]["unattended"], each["wait_for_completion"])
                          for each in result]
result, _ = run("1")
# What is waited for asks nobody, whatever it comes to plan.
assert runs_of(result) == [("deploy", True, True), ("rollback", False, False)], result
assert "going back needs an approval" in result[1]["conf"]["reason"]
# By the time it is answered, somebody may have deployed.
assert [each["conf"].get("seen_release") for each in result] == [None, 2]
result, _ = run("2")
assert runs_of(result) == [("deploy", True, True)], result
# The run has asked, or it was rejected.
now["needs"] = [Needed("a", why, Request())]
assert runs_of(run("3")[0]) == [("deploy", True, True)]
""",
    )


def test_what_runs_that_have_ended_have_left_of_their_replays_is_ended(tmp_path):
    run(
        tmp_path,
        """
from sluice.errors import UnreachableError
from sluice.ledger.chunk_scheduling import ConcurrencyLimits
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
    assert ledger.replays.claim("a" * 32, number, taker, ConcurrencyLimits(9, 9))
ended = []


def end(project, row, tell, **_more):
    if row.number != 2:
        raise AssertionError(row.name)
    ended.append(row.name)
    if len(ended) == 1:
        raise UnreachableError("no answer")


replay_run._end = end
# A cluster that does not answer hinders no sweep, and the next one tries again.
assert run("1") == ([], None)
assert run("2") == ([], None)
assert ended == takers[:1] * 2, ended
# What has no chunk left in nobody's hands is in no other replay's way.
assert [ledger.replays.find(letter * 32).outcome for letter in "abcd"] == [None, "failed", None, "failed"]
""",
    )


def test_who_holds_a_job_and_has_ended_is_known_to_both_looks(tmp_path):
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


def test_runs_that_fail_before_they_begin_anything_are_counted_and_those_not_made_are_not(tmp_path):
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
back = Needed("b", Decision("recover", "it is gone", release=1), Request(kind="rollback", to=1, seen=2))
as_it_was = Decision("recover", "it is gone")
now["needs"] = [Needed("a", as_it_was, Request()), back, Needed("c", as_it_was, Request())]
states.update(operate_0="success", operate_1="failed", operate_2="failed")
# The DAG of c is paused.
made.update({0: "r0", 1: "r1"})
at = datetime.now(UTC)
sample = to_sample("test", Found(now["rows"][0]), at, "1")
project.ledger.samples.add([sample], older_than=at - timedelta(days=1))
run("1")
assert counted == [
    ("b", Request(kind="rollback", to=1, seen=2), "airflow:deploy.b/r1",
     "run r1 of deploy.b has failed before it had begun anything", at)
], counted
""",
    )


def test_a_run_that_fails_is_told_of_with_what_its_job_needs_now(tmp_path):
    run(
        tmp_path,
        """
Failing.broken = False
gone = {"verdict": "failed", "reasons": ("it is gone",), "phase": "running"}
now["rows"] = [JobStatus(name, "gone", **gone) for name in ("a", "b")]
now["needs"] = [Needed(name, Decision("recover", "it is gone"), Request()) for name in ("a", "b")]
states.update(operate_0="success", operate_1="failed")


def look_again(project, rows, log, gone, budget):
    again.append([row.job for row in rows])
    why = "recover is tried again at 12:01:00 UTC, after 1 of 6 tries: its state is gone"
    return [Needed("b", Decision("nothing", why))] if len(again) > 1 else now["needs"]


again = []
needs.find_needs = look_again
_, failure = run("1")
SAID = "has failed, or could not be made, as where its DAG is paused: the task operate says which"
assert failure == (
    f"a run of deploy.b {SAID}; now: recover is tried again at 12:01:00 UTC, after 1 of 6 tries: its state is gone"
), failure
# One that asks a person isn't waited for, and can fail to be made likewise.
states.clear()
states["operate_0"] = "failed"
now["rows"] = [JobStatus("a", "RUNNING", verdict="healthy", reasons=("well",), drift=True, phase="running")]
now["needs"] = [Needed("a", Decision("report", "x", cause="approval f5"), to_ask=Question("f5", Request()))]
needs.find_needs = lambda project, rows, log, gone, budget: now["needs"]
_, failure = run("2")
assert failure == f"a run of deploy.a {SAID}", failure
""",
    )


def test_without_a_look_there_is_nothing_to_verify_and_that_is_a_failure(tmp_path):
    run(
        tmp_path,
        """
context = {"ti": Task(), "run_id": "1", "dag": DAG("redeploy_and_verify", schedule=None)}
try:
    VerifyOperator(task_id="v").execute(context)
    raise SystemExit("it is content")
except AirflowFailException as error:
    assert str(error) == "nobody has looked at the fleet: the task sweep says why", error
""",
    )


def test_no_more_jobs_are_worked_on_at_once_than_the_setting_says(tmp_path):
    """A run that waits for its deploy is deferred: Airflow must count it."""
    run_fresh_script(
        """
import sys
from pathlib import Path
from airflow.serialization.serialized_objects import DagSerialization
from airflow.ti_deps.dependencies_states import ACTIVE_STATES
from airflow.utils.state import TaskInstanceState
from sluice.airflow.dags import sweep_dag

written = DagSerialization.to_dict(sweep_dag(Path(sys.argv[1])))
[operate] = [task["__var"] for task in written["dag"]["tasks"] if task["__var"]["task_id"] == "operate"]
partial = operate["partial_kwargs"]
assert (partial["max_active_tis_per_dagrun"], partial["deferrable"]) == (2, True), partial
assert TaskInstanceState.DEFERRED in ACTIVE_STATES
# What the scheduler goes by.
dag = DagSerialization.from_dict(written)
assert dag.get_task("operate").max_active_tis_per_dagrun == 2
""",
        tmp_path,
        str(tmp_path),
        SLUICE_SWEEP_OPERATIONS="2",
    )


def test_it_comes_every_ten_minutes_or_as_the_setting_says_and_begins_paused(tmp_path):
    run_fresh_script(
        """
import os, sys
from pathlib import Path
from sluice.airflow.dags import sweep_dag

for given, expected in ((None, "*/10 * * * *"), ("0 * * * *", "0 * * * *"), ("none", None)):
    if given:
        os.environ["SLUICE_SWEEP_SCHEDULE"] = given
    dag = sweep_dag(Path(sys.argv[1]))
    assert (dag.schedule, dag.catchup, dag.max_active_runs) == (expected, False, 1), (given, dag.schedule)
    assert dag.is_paused_upon_creation
""",
        tmp_path,
        str(tmp_path),
    )
