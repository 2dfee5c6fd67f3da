"""The task that asks a person for an approval, with a fake of what Airflow keeps of its question."""

import uuid
from contextvars import copy_context
from datetime import UTC, datetime
from types import SimpleNamespace

from airflow.sdk import DAG
from airflow.sdk.bases.notifier import BaseNotifier
from airflow.sdk.bases.operator import ExecutorSafeguard
from airflow.sdk.exceptions import AirflowFailException, TaskAwaitingInput
from airflow.sdk.execution_time.comms import HITLDetailRequestResult

from sluice.airflow.approve import ApproveOperator, given_approval
from sluice.clock import MACHINE
from sluice.ledger.ledger import Ledger, NewRelease
from sluice.plan.model import Plan
from sluice.state.change import StateChange, StateOfOperator

PLAN = Plan(
    job="counts",
    action="redeploy",
    category="state_breaking",
    mode="stateless",
    former_release=1,
    fingerprint="f",
    reasons=("windows of another length",),
    needs_approval=True,
    state=StateChange(dropped=(StateOfOperator(id="1", name="Window", size=2048),)),
)
OTHER = PLAN.model_copy(update={"fingerprint": "g"})


def identity(run):
    """The id of the task instance of a run."""
    return uuid.uuid5(uuid.NAMESPACE_DNS, run)


class KeptQuestions:
    """Keeps a task's first question, also when the task was cleared; a new question deletes the answer.

    tests/integration/test_questions.py shows that Airflow does the same.

    Attributes:
        shown: The questions, by the id of the task instance.
        answers: The answers.
    """

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


class Recorder(BaseNotifier):
    """A notifier that keeps the changes that it is called with."""

    def __init__(self, notified):
        super().__init__()
        self.notified = notified

    def notify(self, context):
        self.notified.extend(context["changes"])


class Approvals:
    """The runs of deploy.counts whose plans need an approval.

    Args:
        url: The ledger's.
        identity: Returns the id of the task instance of a run.

    Attributes:
        notified: The notified changes.
        alive: The runs that have not ended.
    """

    def __init__(self, url, identity=identity):
        self.ledger, self._identity = Ledger(url, "test"), identity
        self._project = SimpleNamespace(
            clock=MACHINE, ledger=self.ledger, settings=SimpleNamespace(approval_hours=24.0)
        )
        self.notified, self.alive = [], set()

    def _count(self, _dag, run_ids, **_states):
        return sum(run in self.alive for run in run_ids)

    def _context(self, run="r1", **params):
        ti = SimpleNamespace(
            id=self._identity(run),
            map_index=-1,
            get_dr_count=self._count,
            log_url=f"http://x/dags/deploy.counts/runs/{run}/tasks/approve?try_number=1",
        )
        dag = DAG("deploy.counts", schedule=None)
        return {"dag": dag, "run_id": run, "ti": ti, "task_instance": ti, "params": params}

    def task(self, plan=PLAN, **more):
        operator = ApproveOperator(task_id="approve", job="counts", plan=plan.model_dump(mode="json"), **more)
        operator.project = lambda: self._project
        return operator

    def execute(self, task, run="r1", **params):
        """Execute the task as Airflow's task runner does; Airflow refuses other calls."""
        runner = copy_context()
        runner.run(ExecutorSafeguard.tracker.set, task)
        return runner.run(task.execute, self._context(run, **params))

    def ask(self, run="r1", plan=PLAN, **params):
        """Ask for an approval; why the task waits, or the approval that it has."""
        self.alive.add(run)
        try:
            return self.execute(self.task(plan, notifiers=[Recorder(self.notified)]), run, **params)
        except TaskAwaitingInput as waits:
            return waits

    def refused(self, run="r1", plan=OTHER, **params):
        """Ask for an approval; why the task fails."""
        try:
            self.ask(run, plan, **params)
        except AirflowFailException as error:
            return str(error)
        raise AssertionError("it was not refused")

    def answered(self, option, by="ann", run="r1"):
        """Continue with an answer, or none in time; the approval, or why the task fails."""
        user = None if by is None else {"id": "7", "name": by}
        event = {
            "chosen_options": [option],
            "params_input": {},
            "responded_by_user": user,
            "responded_at": datetime.now(UTC),
            "timedout": by is None,
        }
        try:
            return self.task().execute_complete(self._context(run), event)
        except AirflowFailException as error:
            return str(error)

    @property
    def newest(self):
        """The newest request for an approval in the ledger."""
        return self.ledger.approvals.of("counts")[0]

    def given(self, run="r1"):
        """The approval that a run has."""
        return given_approval(self._project, "counts", f"airflow:deploy.counts/{run}")

    def begin(self, fingerprint="f", run="r1", **details):
        """Begin the operation of a run."""
        release = NewRelease(fingerprint=fingerprint, artifact="a", module="m", resolved={})
        holder = f"airflow:deploy.counts/{run}"
        return self.ledger.begin("counts", kind="deploy", holder=holder, details=details, release=release)
