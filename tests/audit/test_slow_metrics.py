"""Gates on a cluster that fetches metrics as rarely as Flink does by default, every ten seconds."""

import os
import signal
import time

import pytest

from sluice.flink import calls
from sluice.flink.client import FlinkClient
from sluice.flink.stale_metrics import fetch_timeout, metrics_are_stale
from sluice.local.supervise import Supervisor
from tests.support.lab import Lab
from tests.support.orders import Orders
from tests.support.running import deploy, operate
from tests.support.stacks import local_stack, running
from tests.support.waiting import wait_for

INTERVAL_S = 10


@pytest.fixture(scope="module")
def slow(tmp_path_factory):
    quick = local_stack(tmp_path_factory.mktemp("slow"))
    options = {**quick.flink_options, "metrics.fetcher.update-interval": INTERVAL_S * 1_000, "web.timeout": 60_000}
    with running(quick.model_copy(update={"flink_options": options})) as local:
        yield local


@pytest.fixture
def lab(slow, tmp_path):
    lab = Lab(slow, tmp_path, "test")
    yield lab
    lab.cancel_all()


@pytest.mark.parametrize("attempt", range(3))
def test_deploy_fails_when_every_waiting_record_is_too_late(lab, attempt):
    orders = Orders(lab, f"old_{attempt}")
    orders.send(120, event_after=-7_200_000)
    result = operate(lab.project, orders.name)
    assert result.outcome == "failed"
    assert "120 of 120 records left out: event time more than watermark_delay before" in str(result.error)


@pytest.mark.parametrize("attempt", range(2))
def test_resume_fails_when_windows_drop_every_waiting_record(lab, attempt):
    orders = Orders(lab, f"ahead_{attempt}")
    orders.send(20)
    deploy(lab.project, orders.name)
    # The windows' watermark is part of their state.
    orders.send(2, event_after=3_000_000, arrival_after=3_000_000)
    orders.judged("failed", again=lambda: orders.send(100))
    deploy(lab.project, orders.name, kind="suspend")
    orders.send(200)
    result = operate(lab.project, orders.name, kind="resume")
    assert "200 of 200 rows dropped: behind the watermark" in str(result.error)


def test_deploy_of_good_records_passes(lab):
    orders = Orders(lab, "good")
    orders.send(120)
    since = time.monotonic()
    assert operate(lab.project, orders.name).outcome == "healthy"
    print(f"deployed on a cluster that fetches metrics every 10 s after {time.monotonic() - since:.1f} s")


def test_metrics_change_again_web_timeout_after_a_task_manager_died_while_it_was_asked(slow):
    services = Supervisor(slow.home, slow.logs)
    group = os.getpgid(services.states()["flink-taskmanager"]["pid"])
    with FlinkClient(slow.flink_url) as flink:

        def moves():
            return [metric.value for metric in flink.send(calls.jobmanager_metrics(["Status.JVM.CPU.Time"]))]

        wait_for(moves, "no metrics")
        os.killpg(group, signal.SIGSTOP)
        # A request for metrics begins a fetch, which now waits for the TaskManager.
        since = time.monotonic()
        while time.monotonic() < since + INTERVAL_S + 2:
            before = moves()
            time.sleep(0.2)
        os.killpg(group, signal.SIGKILL)
        assert metrics_are_stale(flink)
        wait_for(lambda: moves() != before, "the metrics stay stale")
        assert time.monotonic() - since < fetch_timeout(flink.send(calls.cluster_config())).total_seconds() + 20
