"""A whole replay as one task: which replay it resumes; in a process of its own, as the DAGs."""

from tests.support.ledgers import new_ledger
from tests.support.own_process import run_script

SCRIPT = """
import sys
from types import SimpleNamespace
from airflow.sdk.bases.operator import ExecutorSafeguard
from airflow.sdk.exceptions import AirflowException
import sluice.airflow.backfill as backfill, sluice.replay.run as run, sluice.replay.preflight as preflight
import sluice.replay.promote as promoting
from sluice.airflow import BackfillOperator
from sluice.airflow.backfill import ReplayChunkOperator
from sluice.ledger.ledger import Ledger
from sluice.ledger.chunk_scheduling import ChunkLimits
from sluice.replay.model import ReplayRequest
from tests.unit.replay.plans import hour, plan

ExecutorSafeguard.test_mode = True
WIDE = ChunkLimits(9, 9)
ASKED = {"start": hour(12).isoformat(), "end": hour(14).isoformat()}
OWN = "airflow:mine/run/t/7"
ledger = Ledger(f"sqlite:///{sys.argv[1]}/ledger.db", "test")
replays, project = ledger.replays, SimpleNamespace(ledger=ledger)
begun, promoted, went = [], [], []


def add(letter, holder):
    kept = plan(outputs={"counts": letter}, asked=ReplayRequest(hour(12), hour(14)).as_json())
    replays.add(letter * 32, "counts", holder, 3, kept.model_dump(mode="json"), ["one", "two"], None)
    return replays.find(letter * 32)


def finish(letter, number):
    assert replays.claim(letter * 32, number, "x", WIDE)
    job = replays.submitting(letter * 32, number, "x")
    replays.chunk_ended(letter * 32, number, "finished", flink_job_id=job)
    return job


def begin(project, job, asked, context, holder, log):
    begun.append(holder)
    return add("q", holder)


def end(project, replay, log):
    replays.ended(replay.id, "completed", {"of": replay.id[0]})
    return {"of": replay.id[0]}


def go(self, context, project, chunk):
    went.append(self.chunk["number"])
    finish(self.chunk["replay"][0], self.chunk["number"])


begins = backfill.begin
preflight.find_release = lambda *_: SimpleNamespace(number=3)
backfill.set_event_extra, backfill.begin, run.finish_replay = lambda *_: None, begin, end
promoting.promote = lambda project, replay, *_, **__: promoted.append(replay.id[0]) or []
ReplayChunkOperator._start_or_wait, ReplayChunkOperator._chunk = go, lambda self, project, context: None


def operator(**asked):
    made = BackfillOperator(task_id="t", job="counts", asked={**ASKED, **asked})
    made.project = lambda: project
    return made


ti = SimpleNamespace(map_index=7, try_number=1, max_tries=2)
context = {"dag": SimpleNamespace(dag_id="mine"), "run_id": "run", "params": {}, "ti": ti}
context["task"] = SimpleNamespace(retries=2)
add("a", OWN)
# Its own replay counts, not the many that other mapped tasks have started since.
for number in range(25):
    other = plan(outputs={"counts": str(number)}).model_dump(mode="json")
    replays.add(f"{number:032}", "counts", f"airflow:mine/run/t/{number + 100}", 3, other, [], None)
finish("a", 1)
assert operator().continue_after_wait(context, {})["of"] == "a"
assert (went, begun) == ([2], [])

# A chunk that another taker has finished is neither an error nor the end of the task.
add("b", OWN)
event = {"flink_job_id": finish("b", 1), "state": "FINISHED", "records": 1, "words": "", "seconds_left": None}
assert operator().resume(context, event)["of"] == "b"
assert went == [2, 2]

# Cleared after a refused promotion: the same replay, or a new one for a changed request.
assert operator(promote=True).execute(context)["of"] == "b"
assert (promoted, begun) == (["b"], [])
assert operator(promote=True, chunk="1h").execute(context)["of"] == "q"
assert (promoted, begun) == (["b", "q"], [OWN])

# A replay that is resumed by its id may belong to another holder.
add("c", "shell:me@here:1/abc")
assert operator(replay="cccc").continue_after_wait(context, {})["of"] == "c"
try:
    operator().continue_after_wait({**context, "run_id": "other"}, {})
except AirflowException as error:
    assert "the ledger no longer has the replay of airflow:mine/other/t/7" in str(error)
else:
    raise AssertionError("a task without a replay succeeded")

# A cancelled replay stays cancelled until the task is cleared: a retry starts no new one.
backfill.begin = begins
run.begin_replay = lambda project, job, request, holder, note, log: begin(project, job, {}, context, holder, log)
late = {**context, "run_id": "late"}
add("d", "airflow:mine/late/t/7")
replays.ended("d" * 32, "cancelled")
add("e", "shell:me@here:1/def")
replays.ended("e" * 32, "cancelled")
begun.clear()
ti.try_number = 2
for asked in ({}, {"replay": "eeee"}):
    try:
        operator(**asked).execute(late)
    except AirflowException as error:
        assert "was cancelled; clear the task" in str(error), error
    else:
        raise AssertionError("the retry started a replay")
assert (begun, replays.find("e" * 32).outcome) == ([], "cancelled")
ti.max_tries = 3
went.clear()
assert operator(replay="eeee").execute(late)["of"] == "e"
assert (went, replays.find("e" * 32).holder) == ([1, 2], "airflow:mine/late/t/7")
replays.ended("q" * 32, "failed")
again = []
backfill.begin = lambda *_: again.append(1) or replays.find("e" * 32)
operator().execute(late)
assert again == [1]
"""
CHUNK = """
from types import SimpleNamespace
from airflow.sdk.bases.operator import ExecutorSafeguard
from sluice.airflow.replay import ReplayChunkOperator
from sluice.ledger.replay_tables import ChunkState

ExecutorSafeguard.test_mode = True
done = []
row = SimpleNamespace(state=ChunkState.FINISHED, records=5)
chunk = SimpleNamespace(row=row, part=SimpleNamespace(number=1), run_again=lambda: done.append("again"))
chunk.begin = lambda _ends: None
ReplayChunkOperator.project = lambda self: None
ReplayChunkOperator._chunk = lambda self, project, context: chunk
task = ReplayChunkOperator(task_id="t", job="counts", chunk={"replay": "r", "number": 1}, retries=2)
ti = SimpleNamespace(try_number=1, max_tries=2)
again = ["again"]
none = []
for ti.try_number, ti.max_tries, wanted in [(1, 2, none), (2, 2, none), (3, 2, none), (2, 3, again), (3, 3, none)]:
    done.clear()
    assert task.execute({"ti": ti, "task": task}) == {"number": 1, "records": 5}
    assert done == wanted, (ti, done)
"""


def test_clearing_runs_a_finished_chunk_again_and_a_retry_does_not(tmp_path):
    run_script(CHUNK, tmp_path)


def test_task_resumes_its_own_replay_or_the_one_named_in_the_request(tmp_path):
    new_ledger(tmp_path)
    run_script(SCRIPT, tmp_path, str(tmp_path))
