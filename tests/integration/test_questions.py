"""Approval requests and answers as Airflow's own database has them."""

from tests.support.approving import PREPARED
from tests.support.own_process import run_fresh_script

REAL = """
from airflow.models import import_all_models
from airflow.models.base import Base
from airflow.models.dag import DagModel
from airflow.models.dag_version import DagVersion
from airflow.models.dagbundle import DagBundleModel
from airflow.models.dagrun import DagRun
from airflow.models.hitl import HITLDetail
from airflow.models.taskinstance import TaskInstance
from airflow.sdk.execution_time.supervisor import InProcessSupervisorComms, InProcessTestSupervisor
from airflow.settings import engine
from airflow.utils.session import create_session
import psutil, structlog

import_all_models()
Base.metadata.create_all(engine)
with create_session() as session:
    session.add(DagBundleModel(name="dags"))
    session.flush()
    session.add(DagModel(dag_id="deploy.counts", bundle_name="dags"))
    session.flush()
    version = DagVersion(dag_id="deploy.counts", version_number=1, bundle_name="dags")
    session.add(version)
    session.add(DagRun(dag_id="deploy.counts", run_id="r1", run_type="manual", state="running",
                       run_after=datetime.now(UTC)))
    session.flush()
    row = TaskInstance(task=ApproveOperator(task_id="approve", job="counts", plan={}, dag=DAG("deploy.counts")),
                       run_id="r1", dag_version_id=version.id)
    row.dag_id = "deploy.counts"
    session.add(row)
"""


def test_airflow_stores_and_clears_approval_requests_as_sluice_expects(tmp_path):
    """Its upsert and its clearing of a task, on a metadata database of its own."""
    script = (
        PREPARED
        + REAL
        + """
supervisor = InProcessTestSupervisor(
    id=uuid.uuid4(), pid=1, process=psutil.Process(), process_log=structlog.get_logger(),
    client=InProcessTestSupervisor._api_client())
supervisor.comms = InProcessSupervisorComms(supervisor=supervisor)
runner.SUPERVISOR_COMMS = supervisor.comms


def row(session):
    return session.query(TaskInstance).one()


def identity(run):
    with create_session() as session:
        return row(session).id


def clear():
    with create_session() as session:
        row(session).prepare_db_for_next_try(session)


def detail():
    with create_session() as session:
        return session.query(HITLDetail).one()


def answer(option):
    with create_session() as session:
        kept = session.query(HITLDetail).one()
        kept.responded_at, kept.chosen_options = datetime.now(UTC), [option]
        kept.responded_by = {"id": "7", "name": "ann"}


assert ask().method_name == "execute_complete"
body, former = detail().body, identity("r1")
assert "windows of another length" in body
clear()
assert identity("r1") != former
# The same plan: it is asked anew, and the answer to what was asked before is gone.
answer("Approve")
assert ask().method_name == "execute_complete"
assert (detail().body, detail().responded_at) == (body, None)
answered("Approve")
clear()
answer("Approve")
assert "the approval of another plan" in refused()
assert (detail().body, detail().responded_at, detail().ti_id) == (body, None, identity("r1"))
assert [(each.fingerprint, each.answer) for each in ledger.approvals.of("counts")] == [("f", "approved")]
"""
    )
    run_fresh_script(script, tmp_path, str(tmp_path))
