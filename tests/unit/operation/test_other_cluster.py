"""The environment names another cluster than that on which the job was started: the job never runs on both."""

import pytest

from sluice.errors import RefusedError
from sluice.fleet.discrepancies import find_discrepancy
from sluice.fleet.members import read_members
from sluice.operation.forget import forget
from tests.simulator.simulated import JOB
from tests.support.placing import Columns

FORMER, OTHER = "http://flink", "http://other"
OTHERS = {"execution.checkpointing.dir": "file:///others", "execution.checkpointing.savepoint-dir": "file:///others"}


@pytest.fixture
def first(simulated):
    started = simulated.deploy()
    simulated.cluster.checkpoint(started.flink_job_id)
    simulated.ledger.saw_checkpoint(JOB, started.flink_job_id)
    return started


def running(simulated):
    """The running jobs of all clusters."""
    known = [simulated.cluster.states, *(states for states in simulated.cluster.others.values() if states)]
    return [job for states in known for job, state in states.items() if state == "RUNNING"]


@pytest.mark.parametrize(
    "request_", [{"overrides": {"least": 1}}, {"kind": "rollback", "target_release": 1}, {"kind": "suspend"}]
)
@pytest.mark.parametrize("options", [OTHERS, {}], ids=["other directories", "the same directories"])
def test_job_that_runs_on_the_former_cluster_is_refused_on_another(simulated, first, request_, options):
    simulated.move(OTHER, **options)
    with pytest.raises(RefusedError, match=f"was started on the cluster {FORMER} .*; it is RUNNING there") as refused:
        simulated.operate(**request_)
    assert f"run sluice suspend {JOB} while the former one is named" in refused.value.remedy
    assert running(simulated) == [first.flink_job_id]
    assert simulated.ledger.active(JOB) is None


@pytest.mark.parametrize("state", ["CANCELED", None])
def test_job_that_no_longer_runs_on_its_cluster_starts_from_its_checkpoint(simulated, first, state):
    simulated.move(OTHER, **OTHERS)
    simulated.cluster.others[FORMER] = {first.flink_job_id: state} if state else {}
    started = simulated.operate()
    assert started.restored_from == simulated.cluster.newest_checkpoints[first.flink_job_id]
    assert running(simulated) == [started.flink_job_id]
    assert simulated.place.cluster["url"] == OTHER


def test_job_of_an_unreachable_cluster_starts_only_after_its_loss_is_confirmed(simulated, first):
    simulated.move(OTHER, **OTHERS)
    simulated.cluster.others[FORMER] = None
    for kind in ("deploy", "rollback"):
        with pytest.raises(RefusedError, match="the former cluster can't be asked whether the job still runs") as error:
            simulated.operate(kind=kind, **({"target_release": 1} if kind == "rollback" else {}))
        assert f"sluice deploy {JOB} --confirm-lost-cluster" in error.value.remedy
    assert simulated.cluster.states == {}
    started = simulated.operate(confirm_lost_cluster=True)
    assert started.restored_from == simulated.cluster.newest_checkpoints[first.flink_job_id]
    assert simulated.place.cluster["url"] == OTHER
    # The ledger now has the new cluster.
    simulated.settle(started)
    assert simulated.operate().unchanged


def test_confirmed_loss_does_not_start_a_job_that_its_cluster_still_runs(simulated, first):
    simulated.move(OTHER, **OTHERS)
    for request_ in ({}, {"kind": "rollback", "target_release": 1}, {"kind": "suspend"}):
        with pytest.raises(RefusedError, match="it is RUNNING there") as refused:
            simulated.operate(confirm_lost_cluster=True, **request_)
        assert "confirm" not in refused.value.remedy
    assert running(simulated) == [first.flink_job_id]


def test_job_of_an_unreachable_cluster_is_forgotten_once_its_loss_is_confirmed(simulated, first):
    simulated.move(OTHER, **OTHERS)
    simulated.cluster.others[FORMER] = None
    (simulated.project.settings.root / "flink_jobs" / f"{JOB}.py").unlink()
    with pytest.raises(RefusedError, match="can't be asked") as refused:
        forget(simulated.project, JOB, simulated.flink, "me")
    assert refused.value.remedy.endswith(f"sluice forget {JOB} --confirm-lost-cluster")
    forget(simulated.project, JOB, simulated.flink, "me", confirms_loss=True)
    assert simulated.place.is_forgotten


def test_removed_job_that_runs_on_its_former_cluster_is_not_forgotten(simulated, first):
    simulated.move(OTHER, **OTHERS)
    (simulated.project.settings.root / "flink_jobs" / f"{JOB}.py").unlink()
    with pytest.raises(RefusedError, match="it is RUNNING there"):
        forget(simulated.project, JOB, simulated.flink, "me", confirms_loss=True)


def test_another_cluster_at_the_former_address_is_recognised(simulated, first):
    """The address leads to another cluster, as behind a load balancer."""
    simulated.cluster.states, simulated.cluster.options[FORMER] = {}, OTHERS
    with pytest.raises(RefusedError, match=f"a different cluster now answers at {FORMER}"):
        simulated.operate()
    assert simulated.cluster.states == {}


def test_restarted_cluster_at_the_same_address_is_the_same_cluster(simulated, first):
    simulated.cluster.states.clear()
    assert simulated.operate().restored_from == simulated.cluster.newest_checkpoints[first.flink_job_id]


def test_high_availability_cluster_at_another_address_is_the_same_cluster(simulated):
    ha = {"high-availability.type": "zookeeper", "high-availability.storageDir": "s3://ha"}
    simulated.cluster.options[FORMER] = ha
    started = simulated.deploy()
    simulated.cluster.checkpoint(started.flink_job_id)
    simulated.move(OTHER, **ha)
    simulated.cluster.others[FORMER] = None
    assert simulated.operate().restored_from == simulated.cluster.newest_checkpoints[started.flink_job_id]


def test_job_found_under_another_address_of_its_cluster_is_unchanged(simulated, first):
    jobs = simulated.cluster.states
    simulated.move(OTHER)
    simulated.cluster.states = jobs
    simulated.cluster.others[FORMER] = None
    assert simulated.operate().unchanged


def test_suspended_job_is_resumed_on_another_cluster(simulated, first):
    suspended = simulated.deploy(kind="suspend")
    simulated.move(OTHER, **OTHERS)
    simulated.cluster.others[FORMER] = None
    assert simulated.operate(kind="resume").restored_from == suspended.savepoint


def test_stop_that_began_on_the_former_cluster_is_not_completed_on_another(simulated, first):
    with simulated.crash("after", "stop stop"):
        simulated.operate("crashed", overrides={"least": 1})
    operation = simulated.ledger.active(JOB).id
    simulated.move(OTHER, **OTHERS)
    assert "it is RUNNING there" in simulated.roll_back(operation).words
    with pytest.raises(RefusedError, match="it is RUNNING there"):
        simulated.operate("next", overrides={"least": 1})
    assert running(simulated) == [first.flink_job_id]


def test_job_of_an_unrecorded_cluster_is_started_and_its_cluster_recorded(simulated, first):
    """An older Sluice started the job without recording the cluster."""
    simulated.ledger.clusters.record(JOB, first.flink_job_id, {})
    simulated.move(OTHER, **OTHERS)
    simulated.cluster.snapshots[f"file:///others/{first.flink_job_id}/chk-1"] = simulated.cluster.snapshots[
        simulated.cluster.newest_checkpoints[first.flink_job_id]
    ]
    assert simulated.operate().flink_job_id != first.flink_job_id
    assert simulated.place.cluster["url"] == OTHER


@pytest.mark.parametrize(("silent", "words"), [(True, "can't be asked"), (False, "it is RUNNING there")])
def test_sweep_reports_a_job_that_may_run_on_the_former_cluster_as_unknown(simulated, first, silent, words):
    [member] = read_members(simulated.project, [JOB], {})
    simulated.move(OTHER, **OTHERS)
    if silent:
        simulated.cluster.others[FORMER] = None
    row = find_discrepancy(simulated.project, member, is_listed=False).apply(member.status)
    assert (row.state, row.verdict) == ("unreachable", "unknown")
    assert words in row.reasons[0]


@pytest.mark.parametrize("phase", ["stopped", "suspended"])
def test_job_that_runs_although_the_ledger_has_it_as_stopped_is_refused(simulated, first, phase):
    simulated.deploy(kind="suspend")
    handle = simulated.ledger.begin(JOB, kind="deploy", holder="x", release=1)
    handle.record("x", "y", transition=Columns({"phase": phase}))
    handle.finish("failed")
    simulated.cluster.states[first.flink_job_id] = "RUNNING"
    words = f"the ledger has it as {phase} since .*, and its Flink job {first.flink_job_id} is RUNNING on the cluster"
    with pytest.raises(RefusedError, match=words) as refused:
        simulated.operate(resume_suspended=True)
    assert f"cancel Flink job {first.flink_job_id} in the Flink UI" in refused.value.remedy
    assert simulated.cluster.running_jobs() == [first.flink_job_id]
    [member] = read_members(simulated.project, [JOB], {})
    row = find_discrepancy(simulated.project, member, is_listed=True).apply(member.status)
    assert (row.verdict, row.doubles) == ("failed", (first.flink_job_id,))
