"""The deployment file names another cluster than the one that the job runs on: it is started on neither."""

import os
import signal
import subprocess
from dataclasses import replace

import pytest

from sluice.errors import JobNotFoundError, RefusedError, TriggerNotFoundError
from sluice.fleet.status import fleet_status
from sluice.flink import calls
from sluice.flink.access import Access
from sluice.flink.client import FlinkClient
from sluice.flink.ending import job_state
from sluice.flink.identity import Identity
from sluice.local.flink import prepare
from sluice.operation.run import make_plan
from sluice.plan.request import DeployRequest
from sluice.project import Project
from tests.integration import sources
from tests.support.running import deploy, operate
from tests.support.stacks import free_ports, local_stack
from tests.support.waiting import wait_for

NAME = "moved"


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """The address of a second JobManager, with directories of its own."""
    local = local_stack(tmp_path_factory.mktemp("other"))
    service, _ = prepare(local)
    local.logs.mkdir(parents=True, exist_ok=True)
    with (local.logs / "jobmanager.out").open("wb") as log:
        process = subprocess.Popen(
            service.command,
            env={**os.environ, **local.variables, **service.variables},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        wait_for(service.is_ready)
        yield local.flink_url
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_job_is_started_on_no_other_cluster_while_it_runs_or_may_run(lab, other):
    lab.job(NAME, sources.source(NAME, sources.SQL))
    started = deploy(lab.project, NAME)
    elsewhere = Project(lab.project.settings, flink=Access(other))

    refused = operate(elsewhere, NAME).error
    assert isinstance(refused, RefusedError)
    assert f"Flink job {started.flink_job_id} was started on the cluster {lab.local.flink_url}" in refused.message
    assert refused.message.endswith("it is RUNNING there")
    [row] = [row for row in fleet_status(elsewhere) if row.job == NAME]
    assert (row.state, row.verdict) == ("unreachable", "unknown")
    assert "it is RUNNING there" in row.reasons[0]

    # The former cluster answers no more.
    [port] = free_ports(1)
    cluster = Identity.of(lab.project.ledger.placement(NAME).cluster)
    silent = replace(cluster, url=f"http://127.0.0.1:{port}")
    lab.project.ledger.clusters.record(NAME, started.flink_job_id, silent.values)
    refused = operate(elsewhere, NAME).error
    assert "the former cluster can't be asked whether the job still runs there" in refused.message
    assert f"sluice deploy {NAME} --confirm-lost-cluster" in refused.remedy
    # A person confirms the loss: it goes on from the checkpoints that lie where the former cluster put them.
    plan = make_plan(elsewhere, NAME, DeployRequest(confirm_lost_cluster=True))
    assert (plan.action, [operator.name for operator in plan.state.dropped]) == ("recover", [])
    assert plan.state.kept

    # At its own cluster it is found, and was never touched.
    assert deploy(lab.project, NAME).flink_job_id == started.flink_job_id


def test_every_endpoint_of_flink_reports_an_unknown_job_as_not_found(other):
    unknown, trigger = "ab" * 16, "cd" * 16
    with FlinkClient(other) as flink:
        assert job_state(flink, unknown) is None
        for call in (
            calls.status(unknown),
            calls.job(unknown),
            calls.job_config(unknown),
            calls.checkpoints(unknown),
            calls.checkpoint_config(unknown),
            calls.exceptions(unknown),
            calls.subtask_times(unknown, trigger),
            calls.cancel(unknown),
        ):
            with pytest.raises(JobNotFoundError):
                flink.send(call)
        for call in (calls.savepoint_result(unknown, trigger), calls.checkpoint_result(unknown, trigger)):
            with pytest.raises(TriggerNotFoundError):
                flink.send(call)
