"""The environment's cluster is another one than that on which the job was started: no job runs on both."""

import pytest

from sluice.errors import RefusedError
from sluice.fleet.discrepancies import find_discrepancy
from sluice.fleet.members import read_members
from sluice.operation.forget import forget
from tests.support.simulated import JOB, Died

FORMER, OTHER = "http://flink", "http://other"
OTHERS = {"execution.checkpointing.dir": "file:///others", "execution.checkpointing.savepoint-dir": "file:///others"}


@pytest.fixture
def runs(simulated):
    started = simulated.deploy()
    simulated.checkpoint(started.flink_job_id)
    simulated.ledger.saw_checkpoint(JOB, started.flink_job_id)
    return started


def running(simulated):
    """The jobs that run on any cluster."""
    known = [simulated.states, *(states for states in simulated.clusters.values() if states)]
    return [job for states in known for job, state in states.items() if state == "RUNNING"]


@pytest.mark.parametrize("request_", [{"overrides": {"least": 1}}, {"kind": "rollback", "to": 1}, {"kind": "suspend"}])
@pytest.mark.parametrize("options", [OTHERS, {}], ids=["other directories", "the same directories"])
def test_job_that_runs_on_the_former_cluster_is_refused_on_another(simulated, runs, request_, options):
    simulated.move(OTHER, **options)
    with pytest.raises(RefusedError, match=f"was started on the cluster {FORMER} .*; it is RUNNING there") as refused:
        simulated.operate(**request_)
    assert f"run sluice suspend {JOB} there first" in refused.value.remedy
    assert running(simulated) == [runs.flink_job_id]
    assert simulated.ledger.active(JOB) is None


@pytest.mark.parametrize("state", ["CANCELED", None])
def test_job_that_the_former_cluster_no_longer_has_goes_on_from_its_checkpoint(simulated, runs, state):
    simulated.move(OTHER, **OTHERS)
    simulated.clusters[FORMER] = {runs.flink_job_id: state} if state else {}
    started = simulated.operate()
    assert started.restored_from == simulated.completed[runs.flink_job_id]
    assert running(simulated) == [started.flink_job_id]
    assert simulated.place.cluster["url"] == OTHER


def test_job_of_a_silent_cluster_is_not_started_until_a_person_confirms_its_loss(simulated, runs):
    simulated.move(OTHER, **OTHERS)
    simulated.clusters[FORMER] = None
    for kind in ("deploy", "rollback"):
        with pytest.raises(RefusedError, match="the former cluster can't be asked whether the job still runs") as error:
            simulated.operate(kind=kind, **({"to": 1} if kind == "rollback" else {}))
        assert f"sluice deploy {JOB} --confirm-lost-cluster" in error.value.remedy
    assert simulated.states == {}
    started = simulated.operate(confirm_lost_cluster=True)
    assert started.restored_from == simulated.completed[runs.flink_job_id]
    assert simulated.place.cluster["url"] == OTHER
    # It is this cluster's from now on.
    simulated.settle(started)
    assert simulated.operate().unchanged


def test_confirmed_loss_of_a_cluster_starts_no_job_that_runs_there_by_its_own_answer(simulated, runs):
    simulated.move(OTHER, **OTHERS)
    for request_ in ({}, {"kind": "rollback", "to": 1}, {"kind": "suspend"}):
        with pytest.raises(RefusedError, match="it is RUNNING there") as refused:
            simulated.operate(confirm_lost_cluster=True, **request_)
        assert "confirm" not in refused.value.remedy
    assert running(simulated) == [runs.flink_job_id]


def test_removed_job_of_a_silent_cluster_is_taken_off_the_list_once_its_loss_is_confirmed(simulated, runs):
    simulated.move(OTHER, **OTHERS)
    simulated.clusters[FORMER] = None
    (simulated.project.settings.root / "flink_jobs" / f"{JOB}.py").unlink()
    with pytest.raises(RefusedError, match="can't be asked") as refused:
        forget(simulated.project, JOB, simulated.flink, "me")
    assert refused.value.remedy.endswith(f"sluice forget {JOB} --confirm-lost-cluster")
    forget(simulated.project, JOB, simulated.flink, "me", confirms_loss=True)
    assert simulated.place.is_forgotten


def test_removed_job_that_runs_on_its_former_cluster_stays_on_the_list(simulated, runs):
    simulated.move(OTHER, **OTHERS)
    (simulated.project.settings.root / "flink_jobs" / f"{JOB}.py").unlink()
    with pytest.raises(RefusedError, match="it is RUNNING there"):
        forget(simulated.project, JOB, simulated.flink, "me", confirms_loss=True)


def test_another_cluster_at_the_former_address_is_not_taken_for_the_former_one(simulated, runs):
    """Its address names another cluster by now, as a load balancer may do."""
    simulated.states, simulated.options[FORMER] = {}, OTHERS
    with pytest.raises(RefusedError, match=f"at {FORMER} another cluster answers by now"):
        simulated.operate()
    assert simulated.states == {}


def test_cluster_that_was_restarted_at_its_address_is_the_same_one(simulated, runs):
    simulated.states.clear()
    assert simulated.operate().restored_from == simulated.completed[runs.flink_job_id]


def test_cluster_with_high_availability_is_the_same_one_at_another_address(simulated):
    ha = {"high-availability.type": "zookeeper", "high-availability.storageDir": "s3://ha"}
    simulated.options[FORMER] = ha
    started = simulated.deploy()
    simulated.checkpoint(started.flink_job_id)
    simulated.move(OTHER, **ha)
    simulated.clusters[FORMER] = None
    assert simulated.operate().restored_from == simulated.completed[started.flink_job_id]


def test_job_that_is_found_under_another_address_of_its_cluster_is_gone_on_with(simulated, runs):
    jobs = simulated.states
    simulated.move(OTHER)
    simulated.states = jobs
    simulated.clusters[FORMER] = None
    assert simulated.operate().unchanged


def test_suspended_job_is_resumed_on_another_cluster(simulated, runs):
    suspended = simulated.deploy(kind="suspend")
    simulated.move(OTHER, **OTHERS)
    simulated.clusters[FORMER] = None
    assert simulated.operate(kind="resume").restored_from == suspended.savepoint


def test_stop_that_was_begun_on_the_former_cluster_is_not_finished_on_another(simulated, runs, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr("sluice.operation.stop.Stop.complete", dies)
        with pytest.raises(Died):
            simulated.operate("gone", overrides={"least": 1})
    operation = simulated.ledger.active(JOB).id
    simulated.move(OTHER, **OTHERS)
    assert "it is RUNNING there" in simulated.roll_back(operation).words
    with pytest.raises(RefusedError, match="it is RUNNING there"):
        simulated.operate("next", overrides={"least": 1})
    assert running(simulated) == [runs.flink_job_id]


def dies(*_arguments):
    raise Died


def test_job_whose_cluster_is_not_known_is_started_as_before_and_found_once_it_runs(simulated, runs):
    """An older Sluice has started it, and did not keep where."""
    simulated.ledger.clusters.record(JOB, runs.flink_job_id, {})
    simulated.move(OTHER, **OTHERS)
    simulated.files[f"file:///others/{runs.flink_job_id}/chk-1"] = simulated.files[
        simulated.completed[runs.flink_job_id]
    ]
    assert simulated.operate().flink_job_id != runs.flink_job_id
    assert simulated.place.cluster["url"] == OTHER


@pytest.mark.parametrize(("silent", "words"), [(True, "can't be asked"), (False, "it is RUNNING there")])
def test_sweep_knows_nothing_of_a_job_that_may_run_on_the_former_cluster(simulated, runs, silent, words):
    [member] = read_members(simulated.project, [JOB], {})
    simulated.move(OTHER, **OTHERS)
    if silent:
        simulated.clusters[FORMER] = None
    row = find_discrepancy(simulated.project, member, is_listed=False).apply(member.status)
    assert (row.state, row.verdict) == ("unreachable", "unknown")
    assert words in row.reasons[0]


@pytest.mark.parametrize("phase", ["stopped", "suspended"])
def test_job_that_runs_although_it_was_stopped_is_refused_by_both_names(simulated, runs, phase):
    simulated.deploy(kind="suspend")
    handle = simulated.ledger.begin(JOB, kind="deploy", holder="x", release=1)
    handle.record("x", "y", place={"phase": phase})
    handle.finish("failed")
    simulated.states[runs.flink_job_id] = "RUNNING"
    words = f"the ledger has it as {phase} since .*, and its Flink job {runs.flink_job_id} is RUNNING on the cluster"
    with pytest.raises(RefusedError, match=words) as refused:
        simulated.operate(wake=True)
    assert f"cancel Flink job {runs.flink_job_id} in the Flink UI" in refused.value.remedy
    assert simulated.alive() == [runs.flink_job_id]
    [member] = read_members(simulated.project, [JOB], {})
    row = find_discrepancy(simulated.project, member, is_listed=True).apply(member.status)
    assert (row.verdict, row.doubles) == ("failed", (runs.flink_job_id,))
