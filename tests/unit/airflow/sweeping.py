"""Runs of redeploy_and_verify whose jobs and needs a test gives."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

from airflow.sdk.bases.notifier import BaseNotifier
from airflow.sdk.exceptions import AirflowFailException

from sluice.airflow.sweep import SweepOperator, VerifyOperator
from sluice.fleet.readings import to_sample
from sluice.fleet.rows import JobObservation, JobStatus
from sluice.ledger.ledger import Ledger
from tests.unit.airflow.tasks import TaskInstance, context, execute, on


class Failing(BaseNotifier):
    """A notifier that fails while it `is_broken`."""

    is_broken = False

    def __init__(self, notified):
        super().__init__()
        self.notified = notified

    def notify(self, context):
        if self.is_broken:
            raise RuntimeError("no server")
        self.notified.append(("failing", [each["job"] for each in context["changes"]]))


class Template(BaseNotifier):
    """A notifier whose text is a template."""

    template_fields = ("text",)

    def __init__(self, notified, text):
        super().__init__()
        self.notified, self.text = notified, text

    def notify(self, _context):
        self.notified.append(("template", self.text))


class Sweeps:
    """Runs of the tasks `sweep` and `verify`, one after another.

    Attributes:
        ledger: The ledger.
        root: The directory of the project, of which `verify` looks for job files; None: it doesn't.
        rows: The jobs that the next sweeps find.
        needs: What they need.
        found: Called with the rows instead, if it is set; what they need.
        states: The states of the tasks that trigger runs: `operate_<number>`.
        made: The ids of the runs that they have triggered, by their number.
        runs: The states of Airflow's runs, by DAG and run.
        notified: The notifications of the last run.
        checks: The run's id of each check of the fleet.
        has_ended: Which holders the last sweep knows to have ended.
        xcoms: What the last run's task `sweep` has pushed.
    """

    def __init__(self, project, root=None):
        self.project, self.ledger, self.root = project, project.ledger, root
        self.rows, self.needs, self.found = [], [], None
        self.states, self.made, self.runs = {}, {}, {}
        self.notified, self.checks, self.has_ended, self.xcoms = [], [], None, {}
        self.failing = Failing(self.notified)
        self._notifiers = [self.failing, Template(self.notified, "{{ changes[0].reasons[0] }}")]

    @classmethod
    def with_ledger(cls, url, root=None):
        return cls(SimpleNamespace(ledger=Ledger(url, "test")), root)

    def run(self, name):
        """Run both tasks; the runs that are to be triggered, and why `verify` fails, or None."""
        ti = SweepingTask(self)
        where = {**context("redeploy_and_verify", name), "ti": ti}
        self.notified.clear()
        result = execute(self.operator(SweepOperator), where)
        ti.xcom_push("return_value", result)
        self.xcoms = dict(ti.xcoms)
        try:
            execute(self.operator(VerifyOperator), {**where, "task": None})
        except AirflowFailException as error:
            return result, str(error)
        return result, None

    def operator(self, kind):
        root = None if self.root is None else str(self.root)
        operator = on(self.project, kind(task_id="t", notifiers=self._notifiers, root=root))
        operator.check_jobs, operator.find_needs = self._check_jobs, self._find_needs
        return operator

    def texts(self):
        """The texts of the last run's notifications."""
        return [words for notifier, words in self.notified if notifier == "template"]

    def record_sample(self, job):
        """Record a sweep that has seen this job; its time."""
        at = datetime.now(UTC)
        sample = to_sample("test", JobObservation(lost(job)), at, "1")
        self.ledger.samples.add([sample], older_than=at - timedelta(days=1))
        return at

    def failed_attempts(self, job):
        """The failed attempts in the ledger: kind, release, holder and reason."""
        operations = self.ledger.operations(job)
        return [(each.kind, each.release, each.holder, each.reason) for each in operations if each.outcome == "failed"]

    def _check_jobs(self, _project, run, has_ended):
        self.checks.append(run)
        self.has_ended = has_ended
        return self.rows

    def _find_needs(self, _project, rows, _has_ended):
        if self.found is not None:
            return self.found(rows)
        jobs = {row.job for row in rows}
        return [needed for needed in self.needs if needed.job in jobs]


class SweepingTask(TaskInstance):
    """The task instance of both tasks."""

    def __init__(self, sweeps):
        super().__init__(sweeps.runs)
        self._sweeps = sweeps

    def xcom_pull(self, task_ids, key="return_value", map_indexes=None):
        assert task_ids == ("sweep" if map_indexes is None else "operate")
        return self.xcoms.get(key) if map_indexes is None else self._sweeps.made.get(map_indexes)

    def get_task_states(self, dag_id, task_ids, run_ids):
        assert (dag_id, task_ids) == ("redeploy_and_verify", ["operate"])
        return dict.fromkeys(run_ids, self._sweeps.states)


def lost(job):
    """The row of a job that Flink doesn't know."""
    return JobStatus(job, "gone", verdict="failed", reasons=("Flink does not know the job",), phase="running")


def drifted(job, reasons=()):
    """The row of a job that runs and differs from its desired state."""
    return JobStatus(job, "RUNNING", verdict="healthy", reasons=reasons, drift=True, phase="running")


def triggered(result):
    """The DAGs of which runs are to be triggered."""
    return [each["trigger_dag_id"] for each in result]
