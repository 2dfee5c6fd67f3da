"""The end of an operation in the shell: the cluster or the lock is lost after the job has started."""

import httpx
import pytest

from sluice.health.gates import Reading
from sluice.operation.run import run_operation
from sluice.plan.request import DeployRequest
from tests.simulator.simulated import JOB


def run(simulated, holder, **request):
    """Run a whole operation; every other holder is known to have ended."""
    return run_operation(
        simulated.project,
        JOB,
        DeployRequest(**request),
        holder,
        simulated.log_lines.append,
        is_gone=lambda other: other != holder,
    )


@pytest.fixture
def first(simulated):
    """The running job, which has passed its gates."""
    return simulated.deploy()


def no_answer():
    raise httpx.ConnectError("refused")


def test_operation_that_loses_the_cluster_at_its_end_is_completed_by_the_next(simulated, first):
    # The downtime is measured at the end.
    simulated.cluster.at_request(f"GET /jobs/{first.flink_job_id}", no_answer)
    result = run(simulated, "me", overrides={"least": 1})
    assert (result.outcome, result.release, result.flink_job_id) == ("failed", 2, simulated.place.flink_job_id)
    assert "counts: it runs and has passed its gates, but the operation could not be completed" in result.error.message
    assert result.error.remedy == "run sluice deploy counts again to complete the operation"
    assert simulated.ledger.release(JOB, 2).healthy_at is None

    assert run(simulated, "you", overrides={"least": 1}).outcome == "unchanged"
    assert simulated.ledger.release(JOB, 2).healthy_at is not None
    assert [row.outcome for row in simulated.ledger.operations(JOB)] == ["unchanged", "abandoned", "healthy"]


def begin(simulated, kind):
    """Take the job's lock as another holder."""
    simulated.ledger.begin(JOB, kind=kind, holder="you", release=1, is_gone=lambda _holder: True)


def test_suspension_that_can_not_be_completed_says_that_the_job_is_suspended(simulated, first):
    with simulated.ledger.at_write("before", "end", lambda: begin(simulated, "suspend")):
        result = run(simulated, "me", kind="suspend")
    assert result.outcome == "failed"
    assert "counts: it is suspended, but" in result.error.message
    assert result.error.remedy.startswith("run sluice suspend counts again")


def test_takeover_at_the_gates_is_returned_as_a_failure(simulated, first):
    async def fail_after_takeover(_project, order):
        begin(simulated, "deploy")
        yield order.gates[0], Reading(passed=False, hopeless=True, words="0 of 2 tasks running")

    simulated.gates = fail_after_takeover
    result = run(simulated, "me")
    assert result.outcome == "failed"
    assert "has ended (abandoned)" in result.error.message
