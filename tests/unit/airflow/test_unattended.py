"""Requests of a sweep that lead to no operation are counted; in a process of its own, as the DAGs."""

from tests.support.own_process import run_script

SCRIPT = """
from types import SimpleNamespace
from airflow.sdk.bases.operator import ExecutorSafeguard
from airflow.sdk.exceptions import AirflowException
import airflow.providers.apache.kafka.hooks.client as kafka_hooks
import sluice.operation.run as operation_run, sluice.operation.topics as topics
import sluice.operation.failed_attempts as unbegun
import sluice.release.artifact as artifact
from sluice.airflow.operators import CreateTopicsOperator, PackageOperator, PlanOperator, SwitchOverOperator
from sluice.errors import BusyError, RefusedError, UnreachableError

ExecutorSafeguard.test_mode = True
recorded = []
kafka_hooks.KafkaAdminClientHook = lambda kafka_config_id: SimpleNamespace(get_conn=None)
def record(project, job, request, holder, reason):
    recorded.append((job, request.target_release, reason))
unbegun.record_unbegun = record
ledger = SimpleNamespace(refuse_busy=lambda *_: None, active=lambda job: None)


def tried(kind, error, attempt=1, held=None, **asked):
    def fails(*_arguments, **_more):
        raise error

    operation_run.make_plan = topics.create_topics = artifact.package = fails
    SwitchOverOperator._switch = fails
    more = {"plan": None} if kind is SwitchOverOperator else {}
    operator = kind(task_id="t", job="counts", asked={"operation": "rollback", "to_release": 3, **asked}, **more)
    catalog = SimpleNamespace(job=lambda _name: SimpleNamespace(module="m"))
    content = SimpleNamespace(kafka=SimpleNamespace(connection="kafka_default"))
    settings = SimpleNamespace(root=".", artifacts=".")
    operator.project = lambda: SimpleNamespace(
        ledger=ledger, catalog=catalog, content=content, settings=settings, kafka={}
    )
    operator.wait_for_lock = lambda *_: None
    operator.is_gone = lambda context: None
    operator.holder = lambda context: "me"
    operator.held = lambda *_: held
    recorded.clear()
    try:
        operator.execute({"ti": SimpleNamespace(try_number=attempt, max_tries=2, map_index=-1)})
        raise SystemExit("it did not fail")
    except AirflowException as failure:
        assert str(failure) == str(error)
    return recorded


REFUSED, SILENT = RefusedError("its state is gone"), UnreachableError("no answer")
for kind in (PlanOperator, SwitchOverOperator):
    assert tried(kind, REFUSED, unattended=True) == [("counts", 3, "its state is gone")]
    # A retry may succeed.
    assert tried(kind, SILENT, unattended=True) == []
    assert tried(kind, SILENT, attempt=3, unattended=True) == [("counts", 3, "no answer")]
    # A person decides, or another operation holds the job.
    assert tried(kind, REFUSED) == []
    assert tried(kind, BusyError("somebody else"), unattended=True) == []
# The deploy tasks between the plan and the switch-over.
for kind in (CreateTopicsOperator, PackageOperator):
    deploys = {"operation": "deploy", "to_release": None}
    assert tried(kind, REFUSED, unattended=True, **deploys) == [("counts", None, "its state is gone")]
    assert tried(kind, SILENT, unattended=True, **deploys) == []
    assert tried(kind, SILENT, attempt=3, unattended=True, **deploys) == [("counts", None, "no answer")]
    assert tried(kind, REFUSED, **deploys) == []
# The ledger has it already.
begun = SimpleNamespace(record=lambda *_, **__: None)
assert tried(SwitchOverOperator, REFUSED, held=begun, unattended=True) == []
"""


def test_sweeps_request_that_fails_before_an_operation_is_counted_without_retries(tmp_path):
    run_script(SCRIPT, tmp_path)
