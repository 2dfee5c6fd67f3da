"""A whole operation as one task: when it rolls back, and when a retry continues; in a process of its own."""

from pathlib import Path

from tests.support.own_process import run_script

PREPARED = """
from types import SimpleNamespace
import sluice.airflow.deploy as deploy
import sluice.airflow.triggers as triggers
import sluice.operation.gate as gate
import sluice.operation.gate_order as gate_order
from airflow.sdk.bases.operator import ExecutorSafeguard
from airflow.sdk.exceptions import AirflowException, AirflowFailException, TaskDeferred
from sluice.airflow.operators import SwitchOverOperator
from sluice.clock import MACHINE
from sluice.health.gates import Reading

ExecutorSafeguard.test_mode = True
STARTED = {"operation": "o", "release": 2, "flink_job_id": "f", "savepoint": "s", "restored_from": "s",
           "unchanged": False, "deadline": 1.0, "positions": None}
recorded, taken_back, seen, readings = [], [], [], {}
operation = SimpleNamespace(
    record=lambda *stage, **data: recorded.append((*stage, data)), keep_until=lambda moment: None)
ledger = SimpleNamespace(
    saw_checkpoint=lambda *job: seen.append(job),
    operation=lambda identity: SimpleNamespace(
        id=identity, kind="deploy", outcome="healthy", release=2, former_release=1, flink_job_id="f", savepoint="s",
        restored_from="s", downtime_ms=900, approved_by=None))
project = SimpleNamespace(ledger=ledger, kafka={}, clock=MACHINE)
def order_of(project, job, started, gates, log, deadline):
    return SimpleNamespace(deadline=9e9, gate=gates[0], model_dump=lambda mode: {"gate": gates[0]})
gate_order.gate_order = order_of
triggers.GateTrigger = lambda order, **where: SimpleNamespace(gate=order["gate"])
gate.look = lambda project, order: readings.get(order.gate, Reading(passed=True, words=f"{order.gate} passed"))
deploy.settle_operation = lambda task, context, project, started: {"outcome": "healthy", "downtime_ms": 900}
deploy.roll_back_run = lambda *given: taken_back.append(given[3]) or SimpleNamespace(words="went back")


class Extra(dict):
    def __missing__(self, key):
        return self.setdefault(key.uri, SimpleNamespace(extra=None))


def context(attempt=1):
    return {"ti": SimpleNamespace(try_number=attempt, max_tries=2), "outlet_events": Extra()}


def task(kind=deploy.DeployOperator, raises=None):
    def switch(self, context):
        if raises is not None:
            raise raises
        return STARTED

    SwitchOverOperator.work = switch
    operator = kind(task_id="t", job="counts")
    operator.project = lambda: project
    operator.held = lambda project, context: operation
    operator.driver = lambda context, project: SimpleNamespace(
        failed=lambda stage, reason: operation.record(stage, "failed", reason=reason),
        passed=lambda gate, job: gate == "running" and project.ledger.saw_checkpoint("counts", job.flink_job_id))
    return operator


def resumed(event, **kwargs):
    # As Airflow goes on once a trigger has fired.
    return task().resume_execution("passed", {"event": event, **kwargs}, context())


def failure(call):
    try:
        call()
    except AirflowException as error:
        return error
    raise AssertionError("it did not fail")
"""


def run(tmp_path: Path, script: str) -> None:
    run_script(PREPARED + script, tmp_path, str(tmp_path))


def test_job_that_passes_all_gates_at_once_is_not_deferred_and_emits_its_asset(tmp_path):
    run(
        tmp_path,
        """
where = context()
row = task().execute(where)
assert (row["job"], row["outcome"], row["release"], row["downtime_ms"]) == ("counts", "healthy", 2, 900)
assert seen == [("counts", "f")]
assert where["outlet_events"]["sluice://job/counts"].extra["operation"] == "o"
assert [each.uri for each in task().outlets] == ["sluice://job/counts"]
""",
    )


def test_deploy_waits_for_a_gate_in_the_triggerer_and_continues_with_the_next(tmp_path):
    run(
        tmp_path,
        """
readings["consumer_lag"] = Reading(passed=False, words="12 records behind")
try:
    task().execute(context())
    raise SystemExit("it did not wait")
except TaskDeferred as waits:
    assert waits.method_name == "passed"
    kwargs = waits.kwargs
assert kwargs == {"started": STARTED, "gate": "consumer_lag"}, kwargs
row = resumed({"passed": True, "words": "0 records behind"}, **kwargs)
assert row["outcome"] == "healthy"
assert taken_back == []
""",
    )


def test_failed_gate_rolls_back_and_fails_the_task_without_retries(tmp_path):
    run(
        tmp_path,
        """
error = failure(lambda: resumed({"passed": False, "words": "stuck"}, started=STARTED, gate="watermark"))
assert isinstance(error, AirflowFailException)
assert str(error) == "counts: went back", error
assert recorded == [("verify", "failed", {"reason": "watermark: stuck"})]
readings["running"] = Reading(passed=False, hopeless=True, words="it has failed")
failure(lambda: task().execute(context()))
assert taken_back == ["counts: release 2: watermark: stuck", "counts: release 2: running: it has failed"]
""",
    )


def test_retryable_error_is_rolled_back_by_the_last_attempt_only(tmp_path):
    run(
        tmp_path,
        """
for attempt, expected in ((1, 0), (2, 0), (3, 1)):
    failure(lambda: task(raises=AirflowException("no answer")).execute(context(attempt)))
    assert len(taken_back) == expected, (attempt, taken_back)
failure(lambda: task(raises=AirflowFailException("refused")).execute(context(1)))
assert taken_back == ["no answer", "refused"]
""",
    )


def test_any_error_during_verification_is_rolled_back_by_the_last_attempt(tmp_path):
    run(
        tmp_path,
        """
from sluice.errors import UnreachableError
from sqlalchemy.exc import OperationalError


def broken(error):
    def raises(*_arguments, **_more):
        raise error
    return raises


def fails_at(name, error):
    taken_back.clear()
    owner = gate_order if name == "gate_order" else deploy
    former = getattr(owner, name)
    setattr(owner, name, broken(error))
    for attempt, expected in ((1, 0), (2, 0), (3, 1)):
        for call in (lambda: task().execute(context(attempt)),
                     lambda: task().resume_execution("passed", PASSED, context(attempt))):
            taken_back.clear()
            try:
                call()
                raise SystemExit(f"{name} did not fail")
            except Exception as error:
                assert len(taken_back) == expected, (name, attempt, taken_back)
                assert (str(error) == "counts: went back") == bool(expected), error
    setattr(owner, name, former)


PASSED = {"event": {"passed": True, "words": "0 behind"}, "started": STARTED, "gate": "running"}
fails_at("settle_operation", UnreachableError("Flink does not answer"))
fails_at("settle_operation", OperationalError("COMMIT", {}, Exception("the ledger is gone")))
fails_at("gate_order", KeyError("release"))
fails_at("set_event_extra", RuntimeError("no event"))
""",
    )


def test_failure_to_extend_the_lease_rolls_back_and_a_deferral_does_not(tmp_path):
    run(
        tmp_path,
        """
from sluice.errors import UnreachableError


def extend_lease(self, *_arguments):
    raise UnreachableError("the ledger does not answer")


readings["consumer_lag"] = Reading(passed=False, words="12 records behind")
try:
    task().execute(context(3))
    raise SystemExit("it did not wait")
except TaskDeferred:
    assert taken_back == []
deploy.DeployOperator.extend_lease = extend_lease
assert str(failure(lambda: task().execute(context(3)))) == "counts: went back"
assert taken_back == ["the ledger does not answer"]
""",
    )


def test_failed_or_timed_out_trigger_is_rolled_back_by_the_last_attempt(tmp_path):
    run(
        tmp_path,
        """
from airflow.sdk.bases.operator import TRIGGER_FAIL_REPR, TriggerFailureReason
from airflow.sdk.exceptions import TaskDeferralError, TaskDeferralTimeout

for reason, kind in ((TriggerFailureReason.TRIGGER_TIMEOUT, TaskDeferralTimeout),
                     (TriggerFailureReason.TRIGGER_FAILURE, TaskDeferralError)):
    taken_back.clear()
    ended = lambda attempt: failure(
        lambda: task().resume_execution(TRIGGER_FAIL_REPR, {"error": reason, "traceback": ["x"]}, context(attempt)))
    assert type(ended(1)) is kind
    assert taken_back == []
    assert str(ended(3)) == "counts: went back"
    assert taken_back == [str(kind(reason))], taken_back
""",
    )


def test_error_is_unchanged_if_there_is_nothing_to_roll_back(tmp_path):
    run(
        tmp_path,
        """
deploy.roll_back_run = lambda *_arguments: None
error = failure(lambda: task(raises=AirflowFailException("counts: it is suspended")).execute(context()))
assert str(error) == "counts: it is suspended"
""",
    )


def test_each_operator_requests_the_operation_of_its_name(tmp_path):
    run(
        tmp_path,
        """
kinds = (deploy.DeployOperator, deploy.RollBackToOperator, deploy.SuspendOperator, deploy.ResumeOperator)
assert [kind(task_id="t", job="counts").asked["operation"] for kind in kinds] == [
    "deploy", "rollback", "suspend", "resume"]
given = deploy.RollBackToOperator(task_id="t", job="counts", to_release=3, mode="last-state", reason="it is slow").asked
assert (given["to_release"], given["mode"], given["reason"]) == (3, "last-state", "it is slow")
assert deploy.DeployOperator(task_id="t", job="counts", config={"window": "30s"}).asked["config_window"] == "30s"
""",
    )
