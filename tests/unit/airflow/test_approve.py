"""The approve task: the plan that it shows, and the effect of each answer."""

from datetime import timedelta

import pytest
from airflow.sdk.exceptions import AirflowSkipException
from markdown_it import MarkdownIt

from sluice.plan.model import Mode
from sluice.state.change import StateChange, StateOfOperator
from tests.support.approving import OTHER, PLAN, Approvals, KeptQuestions, identity

LOSSLESS = PLAN.model_copy(update={"needs_approval": False})
ANOTHER_PLAN = "the approval of another plan"


@pytest.fixture
def airflow(connect):
    return connect(KeptQuestions())


@pytest.fixture
def approvals(airflow, url):
    return Approvals(url)


def test_approve_task_shows_the_plan_and_waits_a_day_without_holding_a_lock(approvals, airflow):
    waits = approvals.ask(reason="coarser is enough")
    assert (waits.method_name, waits.timeout) == ("execute_complete", timedelta(hours=24))
    shown = airflow.of()
    assert (shown.options, shown.defaults, shown.multiple) == (["Approve", "Reject"], ["Reject"], False)
    assert shown.subject == "counts: deploy that loses state"
    for words in (
        "| Window | 2.0 KiB | **lost** |",
        "- windows of another length",
        "Reason given: coarser is enough",
        "Without an answer within 24 h the plan is refused.",
    ):
        assert words in shown.body
    assert approvals.ledger.active("counts") is None
    assert approvals.newest.link == "http://x/dags/deploy.counts/runs/r1/tasks/approve/required_actions"


def test_approval_request_is_notified_once_in_the_form_of_the_sweeps_news(approvals):
    approvals.ask()
    assert [(each["job"], each["old"] == each["new"]) for each in approvals.notified] == [("counts", True)]
    assert approvals.newest.link in approvals.notified[0]["reasons"][0]
    approvals.ask()
    assert len(approvals.notified) == 1
    assert approvals.ledger.notifications.known("Recorder", "report") == {"counts": "approval f"}


def test_reason_of_a_request_is_shown_as_text_not_markup(approvals, airflow):
    approvals.ask(reason="![x](http://elsewhere.example/x) **approved by ops** <b>ok</b>\n\n# Approve this")
    html = MarkdownIt("commonmark", {"html": True}).render(airflow.of().body)
    [shown] = [line for line in html.splitlines() if "Reason given" in line]
    assert shown == (
        "<p>Reason given: ![x](http:\u200b//elsewhere.example/x) **approved by ops** &lt;b&gt;ok&lt;/b&gt; "
        "# Approve this</p>"
    )


def test_approval_is_recorded_with_its_user(approvals):
    approvals.ask()
    row = approvals.answered("Approve")
    assert row == {"by": "ann (7)", "at": approvals.newest.answered_at.isoformat()}
    assert (approvals.newest.answer, approvals.newest.answered_by) == ("approved", "ann (7)")
    assert approvals.given().by == "ann (7)"
    assert approvals.given("r2") is None


def test_rejection_fails_the_run_and_is_recorded(approvals):
    approvals.ask()
    assert approvals.answered("Reject") == "counts: ann (7) has rejected the plan; the job was not changed"
    assert approvals.newest.answer == "rejected"
    assert approvals.given() is None


def test_missing_answer_fails_the_run_and_is_recorded_without_a_user(approvals):
    approvals.ask()
    assert approvals.answered("Reject", by=None).startswith("counts: the plan was not approved in time")
    assert (approvals.newest.answer, approvals.newest.answered_by) == ("timed_out", None)
    assert approvals.given() is None


def test_retry_keeps_the_approval_and_a_run_cleared_later_asks_again(approvals):
    approvals.ask()
    approvals.answered("Approve")
    assert approvals.ask()["by"] == "ann (7)"
    begun = approvals.begin(approved_by=approvals.newest.answered_by, approved_at=approvals.newest.answered_at)
    # A retry continues the operation in progress.
    assert approvals.ask()["by"] == "ann (7)"
    begun.finish("healthy")
    assert approvals.given() is None
    assert approvals.ask().method_name == "execute_complete"
    assert [row.answer for row in approvals.ledger.approvals.of("counts")] == [None, "approved"]


def test_used_approval_stays_used_after_many_later_operations(approvals):
    approvals.ask()
    approvals.answered("Approve")
    approvals.begin(approved_by="ann", approved_at=approvals.newest.answered_at).finish("failed")
    for number in range(30):
        approvals.begin(f"other {number}", run=f"s{number}").finish("healthy")
    assert approvals.given() is None


def test_approval_is_used_by_a_run_whose_operation_no_longer_needed_one(approvals):
    approvals.ask()
    approvals.answered("Approve")
    begun = approvals.begin()
    assert approvals.given() is not None
    begun.finish("healthy")
    assert approvals.given() is None


def test_operation_of_another_run_does_not_use_an_approval(approvals):
    approvals.ask()
    approvals.answered("Approve")
    approvals.begin("g", run="r3").finish("healthy")
    assert approvals.given() is not None


def test_approval_is_used_by_an_abandoned_operation_that_began_after_it(approvals):
    ledger = approvals.ledger
    approvals.begin("e")
    approvals.ask()
    approvals.answered("Approve")
    approvals.begin(approved_by="ann", approved_at=approvals.newest.answered_at)
    # The operation that this run had begun before it asked does not use the approval.
    assert [row.outcome for row in ledger.operations("counts")] == [None, "abandoned"]
    assert approvals.given() is not None
    ledger.begin("counts", kind="deploy", holder="shell:me", release=1, is_gone=lambda _holder: True)
    assert approvals.given() is None


@pytest.mark.parametrize(
    ("plan", "asked", "params"),
    [
        (LOSSLESS, None, {}),
        (PLAN, None, {"allow_state_loss": True}),
        (PLAN, {"allow_state_loss": True}, {}),
    ],
    ids=["lossless", "approved by the form", "approved by the operator"],
)
def test_approve_task_is_skipped_for_lossless_or_preapproved_plans(approvals, airflow, plan, asked, params):
    with pytest.raises(AirflowSkipException):
        approvals.execute(approvals.task(plan, asked=asked), **params)
    assert airflow.shown == {}


def test_unattended_run_fails_instead_of_waiting_for_an_approval(approvals, airflow):
    assert approvals.refused(plan=PLAN, unattended=True) == (
        "counts: the plan needs an approval, and an unattended run can't ask for one: windows of another length; the "
        "job was not changed; start a run that isn't unattended, and approve its plan"
    )
    assert (airflow.shown, approvals.ledger.approvals.of("counts"), approvals.notified) == ({}, [], [])
    assert approvals.ask(unattended=False).method_name == "execute_complete"


def test_unattended_run_needs_no_approval_for_a_lossless_plan(approvals):
    with pytest.raises(AirflowSkipException):
        approvals.ask(plan=LOSSLESS, unattended=True)


def test_second_plan_of_a_job_is_refused_while_the_first_run_waits(approvals, airflow):
    approvals.ask()
    assert "approve or reject it first: http://x/dags/deploy.counts/runs/r1/" in approvals.refused("r2", PLAN)
    # No question is shown for a run that does not wait.
    assert list(airflow.shown) == [identity("r1")]
    approvals.alive.remove("r1")
    approvals.ask("r2")
    assert [row.answer for row in approvals.ledger.approvals.of("counts")] == [None, "withdrawn"]


def test_task_killed_before_it_reads_the_answer_asks_again(approvals, airflow):
    """Airflow passes the answer only to the task that it resumes."""
    approvals.ask()
    airflow.answer("Approve")
    assert approvals.ask().method_name == "execute_complete"
    assert (airflow.answers, approvals.newest.answer, approvals.given()) == ({}, None, None)


def test_run_is_refused_if_its_plan_differs_from_the_one_airflow_shows(approvals, airflow):
    approvals.ask()
    first = airflow.of()
    assert approvals.refused() == (
        "counts: Airflow still shows this run's request for the approval of another plan; "
        "start a new run of deploy.counts, which shows the current plan"
    )
    assert airflow.of() is first
    assert [(row.fingerprint, row.answer) for row in approvals.ledger.approvals.of("counts")] == [("f", "withdrawn")]
    # No answer to that question approves the new plan.
    airflow.answer("Approve")
    approvals.refused()
    airflow.answer("Approve")
    assert (approvals.given(), len(approvals.ledger.approvals.of("counts"))) == (None, 1)


def test_new_run_asks_for_the_changed_plan_and_the_old_run_for_its_own(approvals, airflow):
    approvals.ask()
    first = airflow.of()
    approvals.refused()
    assert approvals.ask("r2", OTHER).method_name == "execute_complete"
    assert airflow.of("r2").body != first.body
    assert approvals.answered("Approve", run="r2")["by"] == "ann (7)"
    assert approvals.ask().method_name == "execute_complete"
    assert approvals.newest.fingerprint == "f"


def test_used_approval_does_not_cover_another_plan_of_the_same_run(approvals):
    approvals.ask()
    approvals.answered("Approve")
    assert ANOTHER_PLAN in approvals.refused()
    approvals.begin(approved_by="ann", approved_at=approvals.newest.answered_at).finish("rolled_back")
    assert ANOTHER_PLAN in approvals.refused()
    assert approvals.newest.fingerprint == "f"


GROWN = StateChange(dropped=(StateOfOperator(id="1", name="Window", size=4096),))


def test_grown_state_is_still_the_plan_that_the_run_has_shown(approvals):
    approvals.ask()
    grown = PLAN.model_copy(update={"state": GROWN, "expected_downtime_ms": 900})
    assert approvals.ask(plan=grown).method_name == "execute_complete"


@pytest.mark.parametrize(
    "change",
    [{"mode": Mode.SAVEPOINT}, {"former_release": 2}, {"kind": "rollback"}, {"state": StateChange(kept=GROWN.dropped)}],
    ids=lambda change: next(iter(change)),
)
def test_plan_with_another_effect_is_not_the_one_that_the_run_has_shown(approvals, change):
    approvals.ask()
    assert ANOTHER_PLAN in approvals.refused(plan=PLAN.model_copy(update=change))
    assert approvals.ask().method_name == "execute_complete"
