"""What is known before the stop is told or refused before it, and what a try was is what it did."""

import pytest

from sluice.errors import RefusedError
from sluice.ledger.operation_handle import OperationHandle
from sluice.operation import run as run_module
from sluice.plan.checks import check_max_parallelism
from sluice.plan.request import DeployRequest
from tests.support.simulated import JOB, Client, Died, graph, state


def dying_after(stage, event):
    record = OperationHandle.record

    def dies(self, *what, **more):
        record(self, *what, **more)
        if what == (stage, event):
            raise Died

    return dies


def test_before_its_first_checkpoint_a_job_may_hold_state_which_only_a_person_gives_up(simulated):
    simulated.deploy()
    plan = simulated.plan(overrides={"hours": 2}).plan
    assert (plan.category, plan.needs_approval) == ("state_breaking", True)
    assert "it has made no checkpoint yet: what state it holds can't be told" in plan.reasons
    with pytest.raises(RefusedError, match="has made no checkpoint yet"):
        simulated.operate(overrides={"hours": 2})
    # What keeps its state asks nobody.
    assert not simulated.plan(overrides={"least": 1}).plan.needs_approval


def test_a_parallelism_that_the_state_can_not_be_spread_over_is_refused():
    compiled, held = graph("Window"), state("Window")

    def of(parallelism):
        vertices = (compiled.vertices[0].model_copy(update={"parallelism": parallelism}),)
        return compiled.model_copy(update={"vertices": vertices})

    check_max_parallelism(JOB, held, of(128))
    check_max_parallelism(JOB, None, of(129))
    with pytest.raises(RefusedError, match="can be spread over 128 subtasks, and parallelism 129 is asked for"):
        check_max_parallelism(JOB, held, of(129))


def test_so_it_is_before_the_stop(simulated, monkeypatch):
    first = simulated.deploy()
    path = simulated.checkpoint(first.flink_job_id)
    narrow = [each.model_copy(update={"max_parallelism": 0}) for each in simulated.files[path].operators]
    narrow[1] = narrow[1].model_copy(update={"max_parallelism": 1})
    simulated.files[path] = simulated.files[path].model_copy(update={"operators": tuple(narrow)})
    prepare = Client.prepare

    def wide(self, target, *, carry_over=False):
        ready = prepare(self, target, carry_over=carry_over)
        [vertex] = ready.graph.vertices
        vertices = (vertex.model_copy(update={"parallelism": 2}),)
        return ready.model_copy(update={"graph": ready.graph.model_copy(update={"vertices": vertices})})

    monkeypatch.setattr(Client, "prepare", wide)
    with pytest.raises(RefusedError, match="can be spread over 1 subtasks"):
        simulated.operate(overrides={"least": 1})
    assert simulated.alive() == [first.flink_job_id]


def test_a_retry_with_another_mode_is_listed_with_that(simulated, monkeypatch):
    simulated.checkpoint(simulated.deploy().flink_job_id)
    with monkeypatch.context() as patched:
        patched.setattr(OperationHandle, "record", dying_after("prepare", "ready"))
        with pytest.raises(Died):
            simulated.operate(overrides={"least": 1})
    simulated.operate(overrides={"least": 1}, mode="stateless", approved=True)
    operation = simulated.ledger.active(JOB)
    assert (operation.mode, operation.approved_by, operation.plan["mode"]) == ("stateless", "me", "stateless")


def test_one_that_goes_on_with_what_was_begun_is_listed_as_that(simulated, monkeypatch):
    simulated.checkpoint(simulated.deploy().flink_job_id)
    with monkeypatch.context() as patched:
        patched.setattr(OperationHandle, "record", dying_after("stop", "stopped"))
        with pytest.raises(Died):
            simulated.operate(overrides={"least": 1})
    simulated.operate(overrides={"least": 1})
    assert simulated.ledger.active(JOB).mode == "savepoint"


def test_who_takes_over_and_is_refused_learns_that_the_job_is_down(simulated, monkeypatch):
    simulated.checkpoint(simulated.deploy().flink_job_id)
    with monkeypatch.context() as patched:
        patched.setattr(OperationHandle, "record", dying_after("stop", "stopped"))
        with pytest.raises(Died):
            simulated.operate("gone", overrides={"least": 1})
    simulated.compiles_to = {1: ("Other",)}

    class Connected:
        def __init__(self, _access):
            pass

        def __enter__(self):
            return simulated.flink

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(run_module, "FlinkClient", Connected)
    asked = DeployRequest(overrides={"least": 1})
    result = run_module.run_operation(
        simulated.project, JOB, asked, "me", print, compiler=Client(simulated), is_gone=lambda _holder: True
    )
    assert "would be lost" in result.error.message
    assert result.error.message.endswith("and counts is down: an operation that had stopped it has died")
    assert "sluice resume counts runs release 1 again" in result.error.remedy
    assert simulated.operate(kind="resume").release == 1
