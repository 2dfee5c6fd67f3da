"""A request that must fail is refused before the job is stopped; an operation is recorded as it was carried out."""

import pytest

from sluice.errors import RefusedError
from sluice.operation.run import run_operation
from sluice.plan.checks import check_max_parallelism
from sluice.plan.request import DeployRequest
from tests.simulator.compiler import graph
from tests.simulator.simulated import JOB


def test_abandoning_unknown_state_of_a_job_without_checkpoint_needs_an_approval(simulated):
    simulated.deploy()
    plan = simulated.plan(overrides={"hours": 2}).plan
    assert (plan.category, plan.needs_approval) == ("state_breaking", True)
    assert "it has made no checkpoint yet: its state is unknown" in plan.reasons
    with pytest.raises(RefusedError, match="has made no checkpoint yet"):
        simulated.operate(overrides={"hours": 2})
    # A change that keeps the state needs no approval.
    assert not simulated.plan(overrides={"least": 1}).plan.needs_approval


def test_parallelism_above_the_max_parallelism_of_the_state_is_refused(simulated):
    held = simulated.cluster.snapshot("Window")

    def with_parallelism(parallelism):
        return graph("Window", parallelism=parallelism)

    check_max_parallelism(JOB, held, with_parallelism(128))
    check_max_parallelism(JOB, None, with_parallelism(129))
    with pytest.raises(RefusedError, match="has max parallelism 128, and the new release has parallelism 129"):
        check_max_parallelism(JOB, held, with_parallelism(129))


def test_parallelism_above_max_parallelism_is_refused_before_the_stop(simulated):
    first = simulated.deploy()
    path = simulated.cluster.checkpoint(first.flink_job_id)
    narrow = [each.model_copy(update={"max_parallelism": 0}) for each in simulated.cluster.snapshots[path].operators]
    narrow[1] = narrow[1].model_copy(update={"max_parallelism": 1})
    simulated.cluster.snapshots[path] = simulated.cluster.snapshots[path].model_copy(
        update={"operators": tuple(narrow)}
    )
    simulated.compiler.parallelism = 2
    with pytest.raises(RefusedError, match="has max parallelism 1, and the new release has parallelism 2"):
        simulated.operate(overrides={"least": 1})
    assert simulated.cluster.running_jobs() == [first.flink_job_id]


def test_retry_with_another_mode_is_recorded_with_that_mode(simulated):
    simulated.cluster.checkpoint(simulated.deploy().flink_job_id)
    with simulated.crash("after", "prepare ready"):
        simulated.operate(overrides={"least": 1})
    simulated.operate(overrides={"least": 1}, mode="stateless", approved=True)
    operation = simulated.ledger.active(JOB)
    assert (operation.mode, operation.approved_by, operation.plan["mode"]) == ("stateless", "me", "stateless")


def test_retry_after_the_stop_is_recorded_with_the_mode_of_the_stop(simulated):
    simulated.cluster.checkpoint(simulated.deploy().flink_job_id)
    with simulated.crash("after", "stop stopped"):
        simulated.operate(overrides={"least": 1})
    simulated.operate(overrides={"least": 1})
    assert simulated.ledger.active(JOB).mode == "savepoint"


def test_refused_takeover_reports_that_the_job_is_down(simulated):
    simulated.cluster.checkpoint(simulated.deploy().flink_job_id)
    with simulated.crash("after", "stop stopped"):
        simulated.operate("crashed", overrides={"least": 1})
    simulated.compiler.compiles_to = {1: ("Other",)}
    request = DeployRequest(overrides={"least": 1})
    result = run_operation(simulated.project, JOB, request, "me", print, is_gone=lambda _holder: True)
    assert "would be lost" in result.error.message
    assert result.error.message.endswith(
        "; counts is down: the process of an earlier operation ended after it had stopped the job"
    )
    assert "sluice resume counts starts release 1 again, from the state that it stopped with" in result.error.remedy
    assert simulated.operate(kind="resume").release == 1
