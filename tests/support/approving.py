"""What a script begins with that runs the task that asks a person, with what stands for Airflow."""

PREPARED = """
import sys, uuid
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
import airflow.sdk.execution_time.task_runner as runner
from airflow.sdk import DAG
from airflow.sdk.bases.notifier import BaseNotifier
from airflow.sdk.bases.operator import ExecutorSafeguard
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, TaskAwaitingInput
from airflow.sdk.execution_time.comms import HITLDetailRequestResult
from sluice.airflow.approve import ApproveOperator, given_approval
from sluice.clock import MACHINE
from sluice.plan.model import Plan
from sluice.state.change import StateChange, StateOfOperator
from sluice.ledger.ledger import Ledger, NewRelease

ExecutorSafeguard.test_mode = True
ledger = Ledger(f"sqlite:///{sys.argv[1]}/ledger.db", "test")
project = SimpleNamespace(clock=MACHINE, ledger=ledger, settings=SimpleNamespace(approval_hours=24.0))
told, alive = [], set()
PLAN = Plan(
    job="counts", action="redeploy", category="state_breaking", mode="stateless", former_release=1, fingerprint="f",
    reasons=("windows of another length",), needs_approval=True,
    state=StateChange(dropped=(StateOfOperator(id="1", name="Window", size=2048),)),
)
OTHER = PLAN.model_copy(update={"fingerprint": "g"})


class Airflow:
    # What it keeps of a task's question: the first one, also when the task was cleared. tests/integration holds this
    # against Airflow's own.
    def __init__(self):
        self.shown, self.answers = {}, {}

    def send(self, msg):
        self.answers.pop(msg.ti_id, None)
        kept = self.shown.setdefault(msg.ti_id, msg)
        return HITLDetailRequestResult(**kept.model_dump(exclude={"type"}))

    def answer(self, option, run="r1"):
        self.answers[identity(run)] = option

    def of(self, run="r1"):
        return self.shown[identity(run)]


def identity(run):
    return uuid.uuid5(uuid.NAMESPACE_DNS, run)


airflow = runner.SUPERVISOR_COMMS = Airflow()


class Tells(BaseNotifier):
    def notify(self, context):
        told.extend(context["changes"])


def count(dag, run_ids, states=None):
    return sum(run in alive for run in run_ids)


def context(run="r1", **params):
    ti = SimpleNamespace(id=identity(run), map_index=-1, get_dr_count=count,
                         log_url=f"http://x/dags/deploy.counts/runs/{run}/tasks/approve?try_number=1")
    return {"dag": DAG("deploy.counts", schedule=None), "run_id": run, "ti": ti, "task_instance": ti,
            "params": params}


def task(plan=PLAN, **more):
    operator = ApproveOperator(task_id="approve", job="counts", plan=plan.model_dump(mode="json"), **more)
    operator.project = lambda: project
    return operator


def ask(run="r1", plan=PLAN, **params):
    alive.add(run)
    try:
        return task(plan, notifiers=[Tells()]).execute(context(run, **params))
    except TaskAwaitingInput as waits:
        return waits


def refused(run="r1", plan=OTHER, **params):
    try:
        ask(run, plan, **params)
    except AirflowFailException as error:
        return str(error)
    raise SystemExit("it was not refused")


def answered(option, by="ann", run="r1"):
    user = None if by is None else {"id": "7", "name": by}
    event = {"chosen_options": [option], "params_input": {}, "responded_by_user": user,
             "responded_at": datetime.now(UTC), "timedout": by is None}
    try:
        return task().execute_complete(context(run), event)
    except AirflowFailException as error:
        return str(error)


def newest():
    return ledger.approvals.of("counts")[0]


def given(run="r1"):
    return given_approval(project, "counts", f"airflow:deploy.counts/{run}")


def operation(fingerprint="f", run="r1", **details):
    return ledger.begin("counts", kind="deploy", holder=f"airflow:deploy.counts/{run}", details=details,
                        release=NewRelease(fingerprint=fingerprint, artifact="a", module="m", resolved={}))
"""
