"""A running job is replaced and keeps its state; if that fails, the old job keeps running or is started again."""

import functools

import pytest

from sluice.errors import BusyError, RefusedError
from sluice.flink import calls
from sluice.flink.client import FlinkClient
from sluice.operation.run import make_plan
from sluice.plan.request import DeployRequest
from tests.support.running import deploy, die_once_submitted, operate
from tests.support.waiting import wait_for
from tests.support.windowed import alive, base, close_windows, produce, source, start_with_state


@pytest.fixture
def running(lab):
    """Starts a job that has two lines in an open window."""
    return functools.partial(start_with_state, lab)


def test_job_with_a_changed_setting_continues_from_its_savepoint(lab, running):
    first = running("changed")
    plan = make_plan(lab.project, "changed", DeployRequest(overrides={"least": 1}))
    assert (plan.action, plan.category, plan.mode) == ("redeploy", "state_compatible", "savepoint")
    assert [(change.path, change.old, change.new) for change in plan.changes] == [("config.least", 0, 1)]
    assert "GlobalWindowAggregate" in {operator.name.partition("[")[0] for operator in plan.state.kept}
    assert not plan.state.dropped
    assert alive(lab, "changed") == [first.flink_job_id]

    second = deploy(lab.project, "changed", overrides={"least": 1})
    assert second.outcome == "healthy"
    assert second.restored_from == second.savepoint
    assert alive(lab, "changed") == [second.flink_job_id]
    assert 0 < second.downtime_ms < 30_000
    assert lab.project.ledger.placement("changed").positions == {"changed_lines": {"0": 1, "1": 1}}
    assert close_windows(lab, "changed") == [3]

    # An override stays with the job until a run takes it back.
    assert deploy(lab.project, "changed").outcome == "unchanged"
    assert deploy(lab.project, "changed", clear_overrides=True).outcome == "healthy"
    assert lab.project.ledger.releases("changed")[0].overrides == {}


def test_raising_and_lowering_parallelism_keeps_the_state(lab, running):
    running("spread")
    for parallelism in (2, 1):
        lab.deployment(f"jobs:\n  spread:\n    parallelism: {parallelism}\n")
        assert deploy(lab.project, "spread").outcome == "healthy"
    assert close_windows(lab, "spread") == [3]


def test_code_that_compiles_to_the_same_graph_is_recorded_without_a_restart(lab, running):
    first = running("same")
    lab.job("same", source("same") + "\nUNUSED = 1\n")
    second = deploy(lab.project, "same")
    assert (second.outcome, second.release, second.flink_job_id) == ("recorded", 2, first.flink_job_id)
    assert lab.project.ledger.placement("same").release == 2
    assert deploy(lab.project, "same").outcome == "unchanged"


def test_mode_last_state_starts_from_the_newest_checkpoint(lab, running):
    first = running("quick")
    second = deploy(lab.project, "quick", overrides={"least": 1}, mode="last-state")
    assert first.flink_job_id in second.restored_from
    assert second.savepoint is None
    assert close_windows(lab, "quick") == [3]


def test_setting_that_alters_state_needs_approval_and_starts_from_the_offsets(lab, running):
    first = running("altered")
    with pytest.raises(RefusedError, match="config.hours: alters what the state means"):
        deploy(lab.project, "altered", overrides={"hours": 2})
    assert alive(lab, "altered") == [first.flink_job_id]
    second = operate(lab.project, "altered", overrides={"hours": 2}, approved=True)
    assert (second.outcome, second.restored_from) == ("healthy", None), second.error
    # The two lines from before went with the state; they are not read again.
    assert close_windows(lab, "altered", 5) == [1]


def test_state_written_since_a_stateless_start_survives_a_deploy_that_died(lab, running):
    running("anew")
    die_once_submitted(lab.project, "anew", overrides={"hours": 2}, approved=True)
    place = lab.project.ledger.placement("anew")
    assert (place.restored_from, place.carried_over) == (None, True)
    produce(lab, "anew", ("a", base() + 5))
    wait_for(lambda: lines_read(lab, place.flink_job_id) == 1)
    third = deploy(lab.project, "anew", overrides={"least": 1})
    assert third.restored_from == third.savepoint
    assert close_windows(lab, "anew", 5) == [2]


def lines_read(lab, flink_job_id):
    with FlinkClient(lab.local.flink_url) as flink:
        vertices = flink.send(calls.job(flink_job_id)).vertices
    return sum(vertex.totals.read_records for vertex in vertices if vertex.is_source)


BOTH = """
    t_env.create_temporary_view("joined", t_env.sql_query(
        "SELECT * FROM lines WHERE id <> 'x' UNION ALL SELECT * FROM lines WHERE id = 'x'"))
    return t_env"""


def test_deploy_that_would_lose_state_is_refused_and_stops_nothing(lab, running):
    first = running("loses")
    lab.job("loses", source("loses", table="joined").replace("\n    return t_env", BOTH))
    with pytest.raises(
        RefusedError, match=r"the state of GlobalWindowAggregate.* would be lost.*raise the job's state_"
    ):
        deploy(lab.project, "loses")
    assert alive(lab, "loses") == [first.flink_job_id]
    assert lab.project.ledger.placement("loses").phase == "running"


def test_release_that_can_not_restore_a_states_type_is_rolled_back(lab, running):
    running("fails")
    lab.job("fails", source("fails", count="CAST(CHAR_LENGTH(MAX(id)) AS BIGINT)"))
    # The aggregate is another one: a person has to approve that its state is taken over.
    result = operate(lab.project, "fails", approved=True)
    assert result.outcome == "rolled_back"
    assert "release 1 runs again. Release 2 completed no checkpoint, so it emitted nothing" in str(result.error)
    assert alive(lab, "fails") == [result.flink_job_id]
    assert lab.project.ledger.placement("fails").release == 1
    assert close_windows(lab, "fails") == [3]


def test_suspended_job_is_not_deployed_and_resumes_from_its_savepoint(lab, running):
    running("rests")
    suspended = deploy(lab.project, "rests", kind="suspend")
    assert (suspended.outcome, alive(lab, "rests")) == ("suspended", [])
    with pytest.raises(RefusedError, match="rests is suspended since"):
        deploy(lab.project, "rests")
    resumed = deploy(lab.project, "rests", kind="resume")
    assert (resumed.outcome, resumed.restored_from) == ("healthy", suspended.savepoint)
    assert close_windows(lab, "rests") == [3]


def test_rollback_runs_the_former_artifact_from_the_current_state(lab, running):
    running("back")
    lab.job("back", source("back", where="AND id <> 'q'"))
    assert deploy(lab.project, "back").release == 2
    result = deploy(lab.project, "back", kind="rollback")
    assert (result.outcome, result.release) == ("healthy", 1)
    assert close_windows(lab, "back") == [3]


def test_second_operation_is_refused_and_names_the_lock_holder(lab, running):
    running("held")
    lab.project.ledger.begin("held", kind="deploy", holder="someone else", release=1)
    result = operate(lab.project, "held", overrides={"least": 1})
    assert isinstance(result.error, BusyError)
    assert "deploy by someone else has been in progress since" in str(result.error)
