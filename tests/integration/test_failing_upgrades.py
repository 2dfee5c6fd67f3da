"""A failing upgrade leaves the old job running, or rolls back to it with its state."""

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

from sluice.errors import BusyError, CompileError, RefusedError
from sluice.flink.client import FlinkClient
from sluice.local.supervise import Supervisor
from sluice.operation.run import run_operation
from sluice.operation.stop import StopFailedError
from sluice.plan.request import DeployRequest
from sluice.ports import Ports
from sluice.project import Project
from tests.support.running import deploy, die_once_submitted, operate
from tests.support.waiting import wait_for
from tests.support.windowed import alive, base, close_windows, produce, source, start_with_state

SHORT = "15s"
FAILS_ON_RECORDS = "AND 1 / (CHAR_LENGTH(id) - CHAR_LENGTH(id)) > 0"
# A tenth of a second or more for each record: the pattern tries every way to share the letters out; the reference keeps
# Java from remembering those that it has tried.
SLOW = "AND REGEXP_REPLACE(REPEAT(id, 24), '(a+)+b\\\\1', '') <> ''"


def options(lab, name, text):
    """The job's Flink options."""
    lab.deployment(f"jobs:\n  {name}:\n    flink: {{{text}}}\n")


def assert_runs_on(lab, name, first, result):
    assert result.outcome == "failed"
    assert alive(lab, name) == [first.flink_job_id]
    assert lab.project.ledger.placement(name).phase == "running"
    assert lab.project.ledger.placement(name).release == first.release


def assert_is_back(lab, name, result, words):
    assert result.outcome == "rolled_back"
    assert words in str(result.error)
    assert "release 1 runs again" in str(result.error)
    assert alive(lab, name) == [result.flink_job_id]
    assert lab.project.ledger.placement(name).release == 1


class Trickle:
    """Lines while something is done, some each time; each falls into the open window."""

    def __init__(self, lab, name, pause, each=1):
        self._lab, self._name, self._pause, self._each = lab, name, pause, each
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.sent = 0

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ends.set()
        self._thread.join()

    def _run(self):
        while not self._ends.wait(self._pause):
            produce(self._lab, self._name, *[("a", base() + 5)] * self._each)
            self.sent += self._each


def test_release_that_does_not_compile_leaves_the_job_running(lab):
    first = start_with_state(lab, "uncompiled")
    lab.job("uncompiled", source("uncompiled", where="AND nosuch = 1"))
    result = operate(lab.project, "uncompiled")
    assert isinstance(result.error, CompileError)
    assert "'nosuch' not found" in str(result.error)
    assert_runs_on(lab, "uncompiled", first, result)


def test_release_without_enough_slots_leaves_the_job_running(lab):
    first = start_with_state(lab, "wide", partitions=30)
    lab.deployment("jobs:\n  wide:\n    parallelism: 30\n")
    result = operate(lab.project, "wide")
    assert isinstance(result.error, RefusedError)
    assert "30 task slots are needed" in str(result.error)
    assert "the running job frees 1;" in str(result.error)
    assert_runs_on(lab, "wide", first, result)


def test_savepoint_that_can_not_be_written_leaves_the_job_running(lab):
    first = start_with_state(lab, "unwritable")
    options(lab, "unwritable", "execution.checkpointing.savepoint-dir: 'file:///proc/nowhere'")
    result = operate(lab.project, "unwritable")
    assert isinstance(result.error, StopFailedError)
    assert_runs_on(lab, "unwritable", first, result)
    options(lab, "unwritable", "")
    assert close_windows(lab, "unwritable") == [3]


def test_savepoint_that_times_out_leaves_the_job_running(lab):
    options(lab, "slow", "execution.checkpointing.timeout: 5 s")
    first = start_with_state(lab, "slow")
    taskmanager = Supervisor(lab.local.home, lab.local.logs).states()["flink-taskmanager"]["pid"]
    group = os.getpgid(taskmanager)

    def tell(line):
        if line.startswith("stop Flink job"):
            os.killpg(group, signal.SIGSTOP)
            threading.Timer(8, os.killpg, (group, signal.SIGCONT)).start()

    request = DeployRequest(overrides={"least": 1})
    result = run_operation(lab.project, "slow", request, "test", tell)
    assert isinstance(result.error, StopFailedError), result.error
    assert_runs_on(lab, "slow", first, result)
    assert close_windows(lab, "slow") == [3]


def test_release_that_fails_on_records_is_rolled_back(lab):
    start_with_state(lab, "divides", timeout=SHORT)
    lab.job("divides", source("divides", where=FAILS_ON_RECORDS, timeout=SHORT))
    with Trickle(lab, "divides", 0.5) as trickle:
        result = operate(lab.project, "divides")
    assert_is_back(lab, "divides", result, "/ by zero")
    assert close_windows(lab, "divides") == [3 + trickle.sent]


def test_release_that_completes_no_checkpoint_is_rolled_back(lab):
    start_with_state(lab, "unproven", timeout=SHORT)
    lab.job("unproven", source("unproven", where=SLOW, timeout=SHORT))
    # A barrier waits for the record that is being worked on, and each takes longer than the ten milliseconds.
    options(lab, "unproven", "execution.checkpointing.timeout: 10 ms, execution.checkpointing.interval: 8 s")
    with Trickle(lab, "unproven", 0.2, each=20) as trickle:
        wait_for(lambda: trickle.sent >= 100)
        result = operate(lab.project, "unproven")
    assert_is_back(lab, "unproven", result, ", at the deadline")
    assert close_windows(lab, "unproven") == [3 + trickle.sent]


def test_release_that_falls_behind_is_rolled_back(lab):
    start_with_state(lab, "behind", timeout=SHORT, lag=5)
    lab.job("behind", source("behind", where=SLOW, timeout=SHORT, lag=5))
    with Trickle(lab, "behind", 0.2, each=20) as trickle:
        result = operate(lab.project, "behind")
    assert_is_back(lab, "behind", result, ", at the deadline")
    assert close_windows(lab, "behind") == [3 + trickle.sent]


def test_one_of_two_concurrent_deploys_is_refused_and_names_the_other(lab):
    start_with_state(lab, "contended")

    def run(holder):
        return operate(lab.project, "contended", holder, overrides={"least": 1})

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(run, ("one", "other")))
    refused = [result for result in results if isinstance(result.error, BusyError)]
    healthy = [result for result in results if result.outcome == "healthy"]
    assert (len(refused), len(healthy)) == (1, 1)
    assert alive(lab, "contended") == [healthy[0].flink_job_id]


def test_deploy_without_a_change_sends_only_get_requests(lab):
    first = start_with_state(lab, "same")
    asked = []

    class RecordingClient(FlinkClient):
        def send(self, call):
            asked.append(call.method)
            return super().send(call)

    again = deploy(Project(lab.project.settings, ports=Ports(flink=RecordingClient)), "same")
    assert (again.outcome, again.flink_job_id) == ("unchanged", first.flink_job_id)
    assert set(asked) == {"GET"}


def test_deploy_that_died_at_its_gates_is_verified_and_rolled_back_by_the_next(lab):
    """Its operation is gone, so the next one finds it running, unproven, and goes back from it."""
    start_with_state(lab, "orphaned", timeout=SHORT, lag=5)
    lab.job("orphaned", source("orphaned", where=SLOW, timeout=SHORT, lag=5))
    with Trickle(lab, "orphaned", 0.2, each=20) as trickle:
        die_once_submitted(lab.project, "orphaned", after=2)
        result = operate(lab.project, "orphaned")
    assert_is_back(lab, "orphaned", result, "at the deadline")
    assert close_windows(lab, "orphaned") == [3 + trickle.sent]


def test_release_lost_at_its_gates_restarts_from_its_newest_checkpoint(lab):
    """The former one would write again what its checkpoints have committed."""
    first = start_with_state(lab, "forgotten", timeout="90s", lag=5)
    lab.job("forgotten", source("forgotten", where=SLOW, timeout="90s", lag=5))
    killed = []

    def tell(line):
        print(line)
        if line.startswith("consumer lag") and not killed:
            killed.append(lab.kill_service("flink-jobmanager"))

    with Trickle(lab, "forgotten", 0.2, each=20) as trickle:
        wait_for(lambda: trickle.sent >= 100)
        result = run_operation(lab.project, "forgotten", DeployRequest(), "test", tell)
    assert (result.outcome, len(killed)) == ("failed", 1)
    assert "release 2 was started again from file:" in str(result.error)
    place = lab.project.ledger.placement("forgotten")
    assert (place.release, alive(lab, "forgotten")) == (2, [place.flink_job_id])
    assert "/chk-" in place.restored_from
    assert first.flink_job_id not in place.restored_from
    lab.job("forgotten", source("forgotten", timeout="90s"))
    assert deploy(lab.project, "forgotten").outcome == "healthy"
    assert close_windows(lab, "forgotten") == [3 + trickle.sent]
