"""A failing upgrade leaves the old job running, or rolls back to it with its state."""

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from sluice.errors import BusyError, CompileError, RefusedError
from sluice.flink.client import FlinkClient
from sluice.local.supervise import Supervisor
from sluice.operation.run import run_operation
from sluice.operation.stop import StopFailedError
from sluice.plan.request import DeployRequest
from sluice.ports import Ports
from sluice.project import Project
from tests.support.running import deploy, operate, slots
from tests.support.upgrades import SHORT, SLOW, Trickle, assert_is_back, section
from tests.support.waiting import wait_for
from tests.support.windowed import alive, close_windows, source, start_with_state

FAILS_ON_RECORDS = "AND 1 / (CHAR_LENGTH(id) - CHAR_LENGTH(id)) > 0"


def assert_runs_on(lab, name, first, result):
    assert result.outcome == "failed"
    assert alive(lab, name) == [first.flink_job_id]
    assert lab.project.ledger.placement(name).phase == "running"
    assert lab.project.ledger.placement(name).release == first.release


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
    section(lab, "unwritable", "flink: {execution.checkpointing.savepoint-dir: 'file:///proc/nowhere'}")
    result = operate(lab.project, "unwritable")
    assert isinstance(result.error, StopFailedError)
    assert_runs_on(lab, "unwritable", first, result)
    section(lab, "unwritable")
    assert close_windows(lab, "unwritable") == [3]


def test_savepoint_that_times_out_leaves_the_job_running(lab):
    section(lab, "slow", "flink: {execution.checkpointing.timeout: 5 s}")
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
    start_with_state(lab, "divides")
    lab.job("divides", source("divides", where=FAILS_ON_RECORDS))
    section(lab, "divides", SHORT)
    with Trickle(lab, "divides", 0.5) as trickle:
        result = operate(lab.project, "divides")
    assert_is_back(lab, "divides", result, "/ by zero")
    assert close_windows(lab, "divides") == [3 + trickle.sent]


def test_release_that_falls_behind_is_rolled_back(lab):
    start_with_state(lab, "behind", lag=5)
    lab.job("behind", source("behind", where=SLOW, lag=5))
    section(lab, "behind", SHORT)
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


def test_release_lost_at_its_gates_restarts_from_its_newest_checkpoint(lab):
    """The former one would write again what its checkpoints have committed."""
    first = start_with_state(lab, "forgotten", lag=5)
    lab.job("forgotten", source("forgotten", where=SLOW, lag=5))
    section(lab, "forgotten", "health: {start_timeout: 40s}")
    killed = []
    # More than it can read: its lag grows. Not before it runs, since a checkpoint must cover what waits for it.
    trickle = Trickle(lab, "forgotten", 0.2, each=6)

    with ExitStack() as feeding:

        def tell(line):
            print(line)
            if line.startswith("submitted as") and not killed:
                feeding.enter_context(trickle)
            if line.startswith("consumer lag") and not killed:
                feeding.close()
                killed.append(lab.kill_service("flink-jobmanager"))
                # However long that takes: the operation continues when the cluster can start a job again.
                wait_for(lambda: not slots(lab.local.flink_url))
                wait_for(lambda: slots(lab.local.flink_url))

        result = run_operation(lab.project, "forgotten", DeployRequest(), "test", tell)
    assert (result.outcome, len(killed)) == ("failed", 1)
    assert "release 2 was started again from file:" in str(result.error)
    place = lab.project.ledger.placement("forgotten")
    assert (place.release, alive(lab, "forgotten")) == (2, [place.flink_job_id])
    assert "/chk-" in place.restored_from
    assert first.flink_job_id not in place.restored_from
    lab.job("forgotten", source("forgotten"))
    section(lab, "forgotten")
    assert deploy(lab.project, "forgotten").outcome == "healthy"
    assert close_windows(lab, "forgotten") == [3 + trickle.sent]
