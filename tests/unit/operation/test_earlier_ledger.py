"""A ledger that an earlier version wrote (schema 0009) is continued: a running, a suspended and a half-stopped job.

The files of earlier_ledger/ were written by that version: its ledger, and the cluster's jobs and their states.
"""

import json
import sqlite3
from pathlib import Path

import pytest

from sluice.client.protocol import State
from sluice.errors import RefusedError
from sluice.fleet.members import read_members
from tests.simulator.simulated import JOB

DATA = Path(__file__).parent / "earlier_ledger"


@pytest.fixture
def restored(simulated):
    """Continues one of the stored situations."""

    def restore(name):
        simulated.rewrite((DATA / "counts.txt").read_text())
        file = Path(simulated.lab.project.settings.home) / "ledger.db"
        file.unlink()
        with sqlite3.connect(file) as connection:
            for part in ("schema", name):
                connection.executescript((DATA / f"{part}.sql").read_text())
        found = json.loads((DATA / f"{name}.json").read_text())
        simulated.cluster.states, simulated.cluster.newest_checkpoints = found["states"], found["completed"]
        simulated.cluster.snapshots = {path: State.model_validate(held) for path, held in found["files"].items()}
        savepoints = [path for path in simulated.cluster.snapshots if "/savepoint-" in path]
        simulated.cluster.stop_savepoint = savepoints[0] if savepoints else None
        return simulated

    return restore


def only_savepoint(simulated):
    [path] = [path for path in simulated.cluster.snapshots if "/savepoint-" in path]
    return path


def test_running_job_is_not_redeployed(restored):
    simulated = restored("running")
    plan = simulated.plan().plan
    assert (plan.action, plan.release, plan.changes) == ("none", 2, ())
    (member,) = read_members(simulated.project, [JOB], {})
    assert not member.status.drift


def test_change_needs_an_approval_if_the_cluster_can_not_describe_the_job(restored):
    simulated = restored("running")
    [former] = simulated.cluster.running_jobs()
    # The earlier version did not store what operators compute, and this cluster does not know the job's plan.
    with pytest.raises(RefusedError, match="Window may compute something else .* which is not known"):
        simulated.operate(clear_overrides=True)
    assert simulated.cluster.running_jobs() == [former]
    started = simulated.operate(clear_overrides=True, approved=True)
    assert (started.former_job_id, started.restored_from) == (former, started.savepoint)
    assert simulated.cluster.running_jobs() == [started.flink_job_id]


def test_suspended_job_is_resumed_from_its_savepoint(restored):
    simulated = restored("suspended")
    with pytest.raises(RefusedError, match="is suspended"):
        simulated.plan()
    started = simulated.deploy(kind="resume")
    assert (started.release, started.restored_from) == (1, only_savepoint(simulated))
    assert simulated.cluster.running_jobs() == [started.flink_job_id]


def test_half_stopped_job_is_started_from_the_savepoint_of_its_stop(restored):
    simulated = restored("stopping")
    assert simulated.place.phase == "stopping"
    # The release that ran takes its own state; the one that was to follow needs an approval, as above.
    started = simulated.deploy(kind="rollback", target_release=1)
    assert (started.release, started.restored_from) == (1, only_savepoint(simulated))
    assert simulated.cluster.running_jobs() == [started.flink_job_id]
    assert [row.outcome for row in simulated.ledger.operations(JOB)] == ["healthy", "abandoned", "healthy"]


def test_half_stopped_job_is_replaced_as_its_operation_began(restored):
    simulated = restored("stopping")
    started = simulated.operate(overrides={"least": 1}, approved=True)
    # Compiled by this version, it is another release than the one that the earlier version had entered.
    assert (started.release, started.restored_from) == (3, only_savepoint(simulated))
    assert simulated.cluster.running_jobs() == [started.flink_job_id]
