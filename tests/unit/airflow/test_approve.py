"""The task that asks a person: what it shows, what it makes of each answer; in a process of its own, as the DAGs."""

import os
import subprocess
import sys
from pathlib import Path

PREPARED = """
import sys
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
import airflow.providers.standard.operators.hitl as hitl
from airflow.sdk import DAG
from airflow.sdk.bases.notifier import BaseNotifier
from airflow.sdk.bases.operator import ExecutorSafeguard
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, TaskAwaitingInput
import sluice.airflow.approve as approve
from sluice.airflow.approve import ApproveOperator, given_approval
from sluice.plan.model import Plan, StateChange, StateOfOperator
from sluice.release.ledger import Ledger, NewRelease

ExecutorSafeguard.test_mode = True
ledger = Ledger(f"sqlite:///{sys.argv[1]}/ledger.db", "test")
project = SimpleNamespace(ledger=ledger, settings=SimpleNamespace(approval_hours=24.0))
shown, told, alive = [], [], set()
hitl.upsert_hitl_detail = lambda **detail: shown.append(detail)
PLAN = Plan(
    job="counts", action="redeploy", category="state_breaking", mode="stateless", former_release=1, fingerprint="f",
    reasons=("windows of another length",), needs_approval=True,
    state=StateChange(kept=(StateOfOperator(id="1", name="Window", size=2048),)),
)


class Tells(BaseNotifier):
    def notify(self, context):
        told.extend(context["changes"])


def count(dag, run_ids, states=None):
    return sum(run in alive for run in run_ids)


def context(run="r1", **params):
    ti = SimpleNamespace(id="1", map_index=-1, log_url=f"http://x/dags/deploy.counts/runs/{run}/tasks/approve?try_number=1",
                         get_dr_count=count)
    return {"dag": DAG("deploy.counts", schedule=None), "run_id": run, "ti": ti, "task_instance": ti,
            "params": params}


def task(plan=PLAN, **more):
    operator = ApproveOperator(task_id="approve", job="counts", plan=plan.model_dump(mode="json"), **more)
    operator.project = lambda: project
    return operator


def ask(run="r1", **params):
    alive.add(run)
    try:
        return task(notifiers=[Tells()]).execute(context(run, **params))
    except TaskAwaitingInput as waits:
        return waits


approve.get_hitl_detail_content_detail = lambda ti_id: SimpleNamespace(
    response_received=False, responded_at=None, responded_by_user=None, chosen_options=None, params_input=None)


def answered(option, by="ann", run="r1"):
    user = None if by is None else {"id": "7", "name": by}
    event = {"chosen_options": [option], "params_input": {}, "responded_by_user": user,
             "responded_at": datetime(2026, 1, 31, 12, tzinfo=UTC), "timedout": by is None}
    try:
        return task().execute_complete(context(run), event)
    except AirflowFailException as error:
        return str(error)


def newest():
    return ledger.approvals.of("counts")[0]
"""


def run(tmp_path: Path, script: str) -> None:
    variables = {**os.environ, "AIRFLOW_HOME": str(tmp_path), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    command = [sys.executable, "-c", PREPARED + script, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=variables)
    assert done.returncode == 0, done.stderr


def test_it_shows_the_plan_and_waits_a_day_with_nothing_held(tmp_path):
    run(
        tmp_path,
        """
waits = ask(reason="coarser is enough")
assert (waits.method_name, waits.timeout) == ("execute_complete", timedelta(hours=24)), vars(waits)
assert (shown[0]["options"], shown[0]["defaults"]) == (["Approve", "Reject"], ["Reject"])
assert shown[0]["subject"] == "counts: deploy that loses state"
for words in ("| Window | 2.0 KiB | **lost** |", "- windows of another length", "Reason given: coarser is enough"):
    assert words in shown[0]["body"], shown[0]["body"]
assert ledger.active("counts") is None
assert newest().link == "http://x/dags/deploy.counts/runs/r1/tasks/approve/required_actions"
# Told once, in the form of the sweep's news.
assert [(each["job"], each["old"] == each["new"]) for each in told] == [("counts", True)]
assert newest().link in told[0]["reasons"][0]
ask()
assert len(told) == 1
assert ledger.told.known("Tells", "report") == {"counts": "approval f"}
""",
    )


def test_each_answer_is_recorded_with_who_gave_it(tmp_path):
    run(
        tmp_path,
        """
ask()
assert answered("Approve") == {"by": "ann (7)", "at": "2026-01-31T12:00:00+00:00"}
assert (newest().answer, newest().answered_by) == ("approved", "ann (7)")
assert given_approval(project, "counts", "airflow:deploy.counts/r1").by == "ann (7)"
assert given_approval(project, "counts", "airflow:deploy.counts/r2") is None
ask("r2")
assert answered("Reject", run="r2") == "counts: ann (7) has rejected the plan; nothing was touched"
assert newest().answer == "rejected"
ask("r3")
assert answered("Reject", by=None, run="r3").startswith("counts: nobody has approved the plan in time")
assert (newest().answer, newest().answered_by) == ("timed_out", None)
assert [given_approval(project, "counts", f"airflow:deploy.counts/{run}") for run in ("r2", "r3")] == [None, None]
""",
    )


def test_a_retry_does_not_ask_again_for_what_was_approved_and_a_run_that_is_cleared_later_does(tmp_path):
    run(
        tmp_path,
        """
ask()
answered("Approve")
assert ask()["by"] == "ann (7)"
assert len(shown) == 1
more = PLAN.model_copy(update={"fingerprint": "g"})
try:
    task(more).execute(context())
    raise SystemExit("another plan was let through")
except TaskAwaitingInput:
    pass
answered("Approve")
operation = ledger.begin(
    "counts", kind="deploy", holder="airflow:deploy.counts/r1",
    release=NewRelease(fingerprint="g", artifact="a", module="m", resolved={}),
    details={"approved_by": newest().answered_by, "approved_at": newest().answered_at},
)
assert given_approval(project, "counts", "airflow:deploy.counts/r1") is not None
operation.finish("healthy")
assert given_approval(project, "counts", "airflow:deploy.counts/r1") is None
""",
    )


def test_what_loses_nothing_or_was_approved_ahead_is_skipped(tmp_path):
    run(
        tmp_path,
        """
for operator, params in ((task(PLAN.model_copy(update={"needs_approval": False})), {}),
                         (task(), {"allow_state_loss": True}), (task(asked={"allow_state_loss": True}), {})):
    try:
        operator.execute(context(**params))
        raise SystemExit("it was not skipped")
    except AirflowSkipException:
        pass
assert shown == []
""",
    )


def test_one_plan_of_a_job_waits_until_its_run_is_gone(tmp_path):
    run(
        tmp_path,
        """
ask()
try:
    ask("r2")
    raise SystemExit("two plans wait")
except AirflowFailException as error:
    assert "approve or reject that one first: http://x/dags/deploy.counts/runs/r1/" in str(error), error
alive.remove("r1")
ask("r2")
assert [row.answer for row in ledger.approvals.of("counts")] == [None, "withdrawn"]
""",
    )


def test_an_answer_that_the_former_try_died_with_is_read_by_the_next(tmp_path):
    run(
        tmp_path,
        """
def there(option, at):
    approve.get_hitl_detail_content_detail = lambda ti_id: SimpleNamespace(
        response_received=True, responded_at=at, responded_by_user=SimpleNamespace(id="7", name="ann"),
        chosen_options=[option], params_input={})


ask()
# An answer to what was asked before is none to this.
there("Approve", datetime.now(UTC) - timedelta(hours=1))
assert ask().method_name == "execute_complete"
there("Approve", datetime.now(UTC))
assert ask()["by"] == "ann (7)"
assert (newest().answer, len(shown)) == ("approved", 2)
ask("r2")
there("Reject", datetime.now(UTC))
try:
    ask("r2")
    raise SystemExit("a rejected plan went through")
except AirflowFailException as error:
    assert "ann (7) has rejected the plan" in str(error)
# Of another plan nothing is taken over.
ask("r3")
try:
    task(PLAN.model_copy(update={"fingerprint": "g"})).execute(context("r3"))
    raise SystemExit("another plan was let through")
except TaskAwaitingInput:
    pass
""",
    )
