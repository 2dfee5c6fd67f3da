"""A whole replay as one task: which replay it resumes, and which chunks it runs."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowException, TaskDeferred

from sluice.airflow.backfill import BackfillOperator
from sluice.airflow.replay import ReplayChunkOperator, _interval
from sluice.ledger.chunk_scheduling import ChunkLimits
from sluice.replay.model import OutputKind, ReplayRequest
from tests.simulator.simulated import JOB, TOPIC
from tests.unit.airflow.tasks import context, execute, on
from tests.unit.replay.plans import hour
from tests.unit.replay.replayed import Replayed

ASKED = {"start": hour(12).isoformat(), "end": hour(14).isoformat()}
OWN = "airflow:mine/run/t/7"
"""The holder of the task's replays: instance 7 of the mapped task `t`."""
WIDE = ChunkLimits(99, 99)
FIRST_TRY, RETRY, CLEARED = {"try_number": 1}, {"try_number": 2}, {"try_number": 2, "max_tries": 3}
"""Of a task with two retries."""


class Backfills:
    """Tasks that replay two hours of a running job's history, in two chunks.

    Attributes:
        replayed: The job and its cluster.
        replays: The replays in the ledger.
        ran: The number of each chunk that a task has started.
    """

    def __init__(self, replayed):
        self.replayed, self.replays = replayed, replayed.ledger.replays
        self.replays.ended(replayed.plan.id, "cancelled")
        # The running job has read past the range, so that the rows may be promoted.
        replayed.brokers.group |= {(topic, number): 1_001 for topic in ("lines", TOPIC) for number in (0, 1)}
        self.ran = []

    def add(self, letter, holder):
        """Add a replay of another holder or an earlier try; its id is that letter, repeated."""
        self._add(letter * 32, holder)
        return self.replays.find(letter * 32)

    def _add(self, identity, holder):
        chunks = [each.model_copy(update={"name": f"{identity}.{each.number}"}) for each in self.replayed.plan.chunks]
        changed = {
            "id": identity,
            "chunks": tuple(chunks),
            "outputs": {"counts": f"counts.{identity}"},
            "output": OutputKind.SEPARATE,
            "asked": ReplayRequest(hour(12), hour(14)).as_json(),
        }
        plan = self.replayed.plan.model_copy(update=changed).model_dump(mode="json")
        self.replays.add(identity, JOB, holder, 1, plan, [each.name for each in chunks], None)

    def add_of_other_tasks(self, count):
        """Add as many replays of other instances of the mapped task."""
        for number in range(count):
            self._add(f"{number:032}", f"airflow:mine/run/t/{number + 100}")

    def finish(self, letter, number):
        """Let another taker run a chunk to its end; its Flink job."""
        place = letter * 32, number
        assert self.replays.claim(*place, "x", WIDE)
        job = self.replays.submitting(*place, "x")
        self.replays.chunk_ended(*place, "finished", flink_job_id=job, records=5)
        return job

    def finish_all(self, letter):
        for number in (1, 2):
            self.finish(letter, number)

    def operator(self, **asked):
        return on(self.replayed.project, BackfillOperator(task_id="t", job=JOB, asked={**ASKED, **asked}, retries=2))

    def execute(self, operator, run="run", **given):
        """Run the task to its end; its result."""
        where = self._context(operator, run, given)
        return self._to_end(operator, where, lambda: execute(operator, where))

    def resume(self, operator, method, event, run="run"):
        """Continue the task with a trigger's event, and run it to its end; its result."""
        where = self._context(operator, run, {})
        return self._to_end(operator, where, lambda: getattr(operator, method)(where, event))

    def _context(self, operator, run, given):
        return {**context("mine", run, map_index=7, **given), "task": operator}

    def _to_end(self, operator, where, step):
        while True:
            try:
                return step()
            except TaskDeferred as deferred:
                waits = deferred
            assert waits.method_name == "resume"
            job = waits.trigger.flink_job_id
            self.ran.append(operator.chunk["number"])
            self.replayed.cluster.states[job] = "FINISHED"
            step = self._ended(operator, where, job)

    def _ended(self, operator, where, job):
        return lambda: operator.resume(where, ended(job))


def ended(job):
    """The event of the trigger of a Flink job that has finished."""
    return {"flink_job_id": job, "state": "FINISHED", "records": 1, "words": "", "seconds_left": None}


@pytest.fixture
def backfills(simulated):
    return Backfills(Replayed(simulated))


def test_task_resumes_its_own_replay_among_many_of_other_mapped_tasks(backfills):
    backfills.add("a", OWN)
    backfills.add_of_other_tasks(25)
    backfills.finish("a", 1)
    result = backfills.resume(backfills.operator(), "continue_after_wait", {})
    assert (result["replay"], backfills.ran) == ("a" * 32, [2])
    assert backfills.replays.find("a" * 32).outcome == "completed"


def test_chunk_finished_by_another_taker_is_neither_an_error_nor_the_end(backfills):
    backfills.add("b", OWN)
    job = backfills.finish("b", 1)
    result = backfills.resume(backfills.operator(), "resume", ended(job))
    assert (result["replay"], backfills.ran) == ("b" * 32, [2])


@pytest.fixture
def unpromoted(backfills):
    """The task has completed its replay b, whose promotion was refused."""
    backfills.add("b", OWN)
    backfills.finish_all("b")
    assert backfills.resume(backfills.operator(), "continue_after_wait", {})["replay"] == "b" * 32
    return backfills


def test_task_cleared_after_a_refused_promotion_promotes_the_same_replay(unpromoted):
    result = unpromoted.execute(unpromoted.operator(promote=True))
    assert (result["replay"], unpromoted.ran) == ("b" * 32, [])
    assert unpromoted.replays.find("b" * 32).promoted_at is not None


def test_task_cleared_with_a_changed_request_runs_a_new_replay(unpromoted):
    result = unpromoted.execute(unpromoted.operator(promote=True, chunk="1h"))
    assert (result["replay"] != "b" * 32, unpromoted.ran) == (True, [1, 2])
    new = unpromoted.replays.find(result["replay"])
    assert (new.holder, new.promoted_at is not None) == (OWN, True)
    assert unpromoted.replays.find("b" * 32).promoted_at is None


def test_task_resumes_a_replay_of_another_holder_by_its_id(backfills):
    backfills.add("c", "shell:me@here:1/abc")
    result = backfills.resume(backfills.operator(replay="cccc"), "continue_after_wait", {})
    assert result["replay"] == "c" * 32


def test_task_whose_replay_the_ledger_no_longer_has_fails(backfills):
    with pytest.raises(AirflowException, match="the ledger no longer has the replay of airflow:mine/other/t/7"):
        backfills.resume(backfills.operator(), "continue_after_wait", {}, run="other")


@pytest.fixture
def cancelled(backfills):
    """A person has cancelled the task's replay d, and replay e of the shell."""
    for letter, holder in (("d", OWN), ("e", "shell:me@here:1/def")):
        backfills.add(letter, holder)
        backfills.replays.ended(letter * 32, "cancelled")
    return backfills


@pytest.mark.parametrize("asked", [{}, {"replay": "eeee"}], ids=["its own", "by its id"])
def test_retry_does_not_resume_a_cancelled_replay(cancelled, asked):
    with pytest.raises(AirflowException, match="was cancelled; clear the task"):
        cancelled.execute(cancelled.operator(**asked), **RETRY)
    assert [cancelled.replays.find(letter * 32).outcome for letter in "de"] == ["cancelled", "cancelled"]
    assert cancelled.replays.newest(JOB, OWN).id == "d" * 32


def test_cleared_task_resumes_a_cancelled_replay(cancelled):
    assert cancelled.execute(cancelled.operator(replay="eeee"), **CLEARED)["replay"] == "e" * 32
    assert (cancelled.ran, cancelled.replays.find("e" * 32).holder) == ([1, 2], OWN)


def test_task_cleared_after_a_completed_replay_runs_a_new_one(unpromoted):
    result = unpromoted.execute(unpromoted.operator(), **CLEARED)
    assert (result["replay"] != "b" * 32, unpromoted.ran) == (True, [1])


@pytest.mark.parametrize(
    ("try_number", "max_tries", "is_cleared"),
    [(1, 2, False), (2, 2, False), (3, 2, False), (2, 3, True), (3, 3, False)],
)
def test_clearing_runs_a_finished_chunk_again_and_a_retry_does_not(backfills, try_number, max_tries, is_cleared):
    backfills.add("a", "airflow:mine/run")
    backfills.finish("a", 1)
    task = ReplayChunkOperator(task_id="t", job=JOB, chunk={"replay": "a" * 32, "number": 1}, retries=2)
    where = context("mine", "run", try_number=try_number, max_tries=max_tries)
    try:
        result = execute(on(backfills.replayed.project, task), where)
    except TaskDeferred:
        result = None
    assert result == (None if is_cleared else {"number": 1, "records": 5})
    assert backfills.replays.chunk("a" * 32, 1).state == ("running" if is_cleared else "finished")


def interval(run_type, hours=24, *, of_form=True):
    """The data interval of a run that ends with 30 January, as the range of a replay."""
    end = datetime(2026, 1, 31, tzinfo=UTC)
    run = SimpleNamespace(run_type=run_type)
    where = {"data_interval_start": end - timedelta(hours=hours), "data_interval_end": end, "dag_run": run}
    return _interval(where, of_form=of_form)


def test_backfill_run_replays_its_data_interval():
    assert interval("backfill") == (datetime(2026, 1, 30, tzinfo=UTC), datetime(2026, 1, 31, tzinfo=UTC))


def test_empty_range_fields_of_the_form_give_no_range():
    """Though Airflow gives a manual run the interval of the day before."""
    assert interval("manual") is None
    assert interval("manual", of_form=False) is not None


def test_empty_data_interval_gives_no_range():
    assert interval("scheduled", 0) is None
