"""Approval requests in Airflow's own database: run in an interpreter whose Airflow home is new.

The first argument is the URL of a new ledger.
"""

import sys
import uuid
from datetime import UTC, datetime

import psutil
import structlog
from airflow.models import import_all_models
from airflow.models.base import Base
from airflow.models.dag import DagModel
from airflow.models.dag_version import DagVersion
from airflow.models.dagbundle import DagBundleModel
from airflow.models.dagrun import DagRun
from airflow.models.hitl import HITLDetail
from airflow.models.taskinstance import TaskInstance
from airflow.sdk import DAG
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.supervisor import InProcessSupervisorComms, InProcessTestSupervisor
from airflow.settings import engine
from airflow.utils.session import create_session

from sluice.airflow.approve import ApproveOperator
from tests.support.approving import Approvals


def prepare():
    """Create the database, with the task `approve` of a run of deploy.counts."""
    import_all_models()
    Base.metadata.create_all(engine)
    with create_session() as session:
        session.add(DagBundleModel(name="dags"))
        session.flush()
        session.add(DagModel(dag_id="deploy.counts", bundle_name="dags"))
        session.flush()
        version = DagVersion(dag_id="deploy.counts", version_number=1, bundle_name="dags")
        session.add(version)
        now = datetime.now(UTC)
        session.add(DagRun(dag_id="deploy.counts", run_id="r1", run_type="manual", state="running", run_after=now))
        session.flush()
        task = ApproveOperator(task_id="approve", job="counts", plan={}, dag=DAG("deploy.counts", schedule=None))
        instance = TaskInstance(task=task, run_id="r1", dag_version_id=version.id)
        instance.dag_id = "deploy.counts"
        session.add(instance)


def connect():
    """Let the task runner of this process send its requests to Airflow's API, in the same process."""
    supervisor = InProcessTestSupervisor(
        id=uuid.uuid4(),
        pid=1,
        process=psutil.Process(),
        process_log=structlog.get_logger(),
        client=InProcessTestSupervisor._api_client(),
    )
    supervisor.comms = InProcessSupervisorComms(supervisor=supervisor)
    task_runner.SUPERVISOR_COMMS = supervisor.comms


def task_instance(session):
    return session.query(TaskInstance).one()


def identity(_run="r1"):
    """The id of the task instance, which changes when the task is cleared."""
    with create_session() as session:
        return task_instance(session).id


def clear():
    with create_session() as session:
        task_instance(session).prepare_db_for_next_try(session)


def detail():
    with create_session() as session:
        return session.query(HITLDetail).one()


def answer(option):
    with create_session() as session:
        kept = session.query(HITLDetail).one()
        kept.responded_at, kept.chosen_options = datetime.now(UTC), [option]
        kept.responded_by = {"id": "7", "name": "ann"}


def main():
    prepare()
    connect()
    approvals = Approvals(sys.argv[1], identity)
    assert approvals.ask().method_name == "execute_complete"
    body, former = detail().body, identity()
    assert "windows of another length" in body
    clear()
    assert identity() != former
    # The same plan: Airflow shows the question again, and deletes the answer to the first one.
    answer("Approve")
    assert approvals.ask().method_name == "execute_complete"
    assert (detail().body, detail().responded_at) == (body, None)
    approvals.answered("Approve")
    clear()
    answer("Approve")
    assert "the approval of another plan" in approvals.refused()
    assert (detail().body, detail().responded_at, detail().ti_id) == (body, None, identity())
    known = approvals.ledger.approvals.of("counts")
    assert [(each.fingerprint, each.answer) for each in known] == [("f", "approved")]


if __name__ == "__main__":
    main()
