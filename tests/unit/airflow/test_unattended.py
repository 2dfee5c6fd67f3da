"""What a sweep asks for and no operation comes of is counted; in a process of its own, as the DAGs."""

from tests.support.own_process import run_script

SCRIPT = """
from types import SimpleNamespace
from airflow.sdk.bases.operator import ExecutorSafeguard
from airflow.sdk.exceptions import AirflowException
import sluice.operation.run as operation_run, sluice.operation.unbegun as unbegun
from sluice.airflow.operators import PlanOperator, SwitchOverOperator
from sluice.errors import BusyError, RefusedError, UnreachableError

ExecutorSafeguard.test_mode = True
recorded = []
unbegun.record_unbegun = lambda project, job, request, holder, reason: recorded.append((job, request.to, reason))
ledger = SimpleNamespace(refuse_busy=lambda *_: None, active=lambda job: None)


def tried(kind, error, attempt=1, held=None, **asked):
    def fails(*_arguments, **_more):
        raise error

    operation_run.make_plan = fails
    SwitchOverOperator._switch = fails
    more = {"plan": None} if kind is SwitchOverOperator else {}
    operator = kind(task_id="t", job="counts", asked={"operation": "rollback", "to_release": 3, **asked}, **more)
    operator.project = lambda: SimpleNamespace(ledger=ledger)
    operator.await_turn = lambda *_: None
    operator.is_gone = lambda context: None
    operator.holder = lambda context: "me"
    operator.held = lambda *_: held
    recorded.clear()
    try:
        operator.work({"ti": SimpleNamespace(try_number=attempt, max_tries=2, map_index=-1)})
        raise SystemExit("it did not fail")
    except AirflowException as failure:
        assert str(failure) == str(error)
    return recorded


REFUSED, SILENT = RefusedError("its state is gone"), UnreachableError("no answer")
for kind in (PlanOperator, SwitchOverOperator):
    assert tried(kind, REFUSED, unattended=True) == [("counts", 3, "its state is gone")]
    # A retry may mend it.
    assert tried(kind, SILENT, unattended=True) == []
    assert tried(kind, SILENT, attempt=3, unattended=True) == [("counts", 3, "no answer")]
    # A person looks, and somebody else works on it.
    assert tried(kind, REFUSED) == []
    assert tried(kind, BusyError("somebody else"), unattended=True) == []
# It is in the ledger already.
begun = SimpleNamespace(record=lambda *_, **__: None)
assert tried(SwitchOverOperator, REFUSED, held=begun, unattended=True) == []
"""


def test_a_try_of_a_sweep_that_could_not_be_planned_is_counted_once_no_retry_comes(tmp_path):
    run_script(SCRIPT, tmp_path)
