"""The approve task: the plan that it shows, and the effect of each answer; in a process of its own, as the DAGs."""

from pathlib import Path

from tests.support.approving import PREPARED
from tests.support.ledgers import new_ledger
from tests.support.own_process import run_script


def run(tmp_path: Path, script: str) -> None:
    new_ledger(tmp_path)
    run_script(PREPARED + script, tmp_path, str(tmp_path))


def test_approve_task_shows_the_plan_and_waits_a_day_without_holding_a_lock(tmp_path):
    run(
        tmp_path,
        """
waits = ask(reason="coarser is enough")
assert (waits.method_name, waits.timeout) == ("execute_complete", timedelta(hours=24)), vars(waits)
shown = airflow.of()
assert (shown.options, shown.defaults, shown.multiple) == (["Approve", "Reject"], ["Reject"], False)
assert shown.subject == "counts: deploy that loses state"
for words in ("| Window | 2.0 KiB | **lost** |", "- windows of another length", "Reason given: coarser is enough",
              "Without an answer within 24 h the plan is refused."):
    assert words in shown.body, shown.body
assert ledger.active("counts") is None
assert newest().link == "http://x/dags/deploy.counts/runs/r1/tasks/approve/required_actions"
# Told once, in the form of the sweep's news.
assert [(each["job"], each["old"] == each["new"]) for each in told] == [("counts", True)]
assert newest().link in told[0]["reasons"][0]
ask()
assert len(told) == 1
assert ledger.notifications.known("Tells", "report") == {"counts": "approval f"}
""",
    )


def test_reason_of_a_request_is_shown_as_text_not_markup(tmp_path):
    run(
        tmp_path,
        """
ask(reason="![x](http://elsewhere.example/x) **approved by ops** <b>ok</b>\\n\\n# Approve this")
from markdown_it import MarkdownIt
html = MarkdownIt("commonmark", {"html": True}).render(airflow.of().body)
[shown] = [line for line in html.splitlines() if "Reason given" in line]
assert shown == (
    "<p>Reason given: ![x](http:\u200b//elsewhere.example/x) **approved by ops** &lt;b&gt;ok&lt;/b&gt; "
    "# Approve this</p>"
), shown
""",
    )


def test_each_answer_is_recorded_with_its_user(tmp_path):
    run(
        tmp_path,
        """
ask()
row = answered("Approve")
assert row == {"by": "ann (7)", "at": newest().answered_at.isoformat()}
assert (newest().answer, newest().answered_by) == ("approved", "ann (7)")
assert given().by == "ann (7)"
assert given("r2") is None
ask("r2")
assert answered("Reject", run="r2") == "counts: ann (7) has rejected the plan; the job was not changed"
assert newest().answer == "rejected"
ask("r3")
assert answered("Reject", by=None, run="r3").startswith("counts: the plan was not approved in time")
assert (newest().answer, newest().answered_by) == ("timed_out", None)
assert [given(run) for run in ("r2", "r3")] == [None, None]
""",
    )


def test_retry_keeps_the_approval_and_a_run_cleared_later_asks_again(tmp_path):
    run(
        tmp_path,
        """
ask()
answered("Approve")
assert ask()["by"] == "ann (7)"
begun = operation(approved_by=newest().answered_by, approved_at=newest().answered_at)
# It is being done: a retry goes on with it.
assert ask()["by"] == "ann (7)"
begun.finish("healthy")
assert given() is None
assert ask().method_name == "execute_complete"
assert [row.answer for row in ledger.approvals.of("counts")] == [None, "approved"]
""",
    )


def test_used_approval_stays_used_after_many_later_operations(tmp_path):
    run(
        tmp_path,
        """
ask()
answered("Approve")
operation(approved_by="ann", approved_at=newest().answered_at).finish("failed")
for number in range(30):
    operation(f"other {number}", run=f"s{number}").finish("healthy")
assert given() is None
""",
    )


def test_approval_is_used_by_a_run_whose_operation_no_longer_needed_one(tmp_path):
    run(
        tmp_path,
        """
ask()
answered("Approve")
begun = operation()
assert given() is not None
begun.finish("healthy")
assert given() is None
# What another run does is not this one's.
ask("r2")
answered("Approve", run="r2")
operation("g", run="r3").finish("healthy")
assert given("r2") is not None
""",
    )


def test_approval_is_used_by_an_abandoned_operation_that_began_after_it(tmp_path):
    run(
        tmp_path,
        """
before = operation("e")
ask()
answered("Approve")
begun = operation(approved_by="ann", approved_at=newest().answered_at)
# Nothing was touched by what this run was at before it asked.
assert [row.outcome for row in ledger.operations("counts")] == [None, "abandoned"]
assert given() is not None
ledger.begin("counts", kind="deploy", holder="shell:me", release=1, is_gone=lambda _holder: True)
assert given() is None
""",
    )


def test_approve_task_is_skipped_for_lossless_or_preapproved_plans(tmp_path):
    run(
        tmp_path,
        """
for operator, params in ((task(PLAN.model_copy(update={"needs_approval": False})), {}),
                         (task(), {"allow_state_loss": True}), (task(asked={"allow_state_loss": True}), {})):
    try:
        operator.execute(context(**params))
        raise SystemExit("it was not skipped")
    except AirflowSkipException:
        pass
assert airflow.shown == {}
""",
    )


def test_unattended_run_fails_instead_of_waiting_for_an_approval(tmp_path):
    run(
        tmp_path,
        """
words = refused(plan=PLAN, unattended=True)
assert words == ("counts: the plan needs an approval, and an unattended run can't ask for one: windows of another "
                 "length; the job was not changed; start a run that isn't unattended, and approve its plan"), words
assert (airflow.shown, ledger.approvals.of("counts"), told) == ({}, [], [])
assert ask(unattended=False).method_name == "execute_complete"
# What loses nothing goes through.
try:
    ask(plan=PLAN.model_copy(update={"needs_approval": False}), unattended=True)
    raise SystemExit("it asked")
except AirflowSkipException:
    pass
""",
    )


def test_second_plan_of_a_job_is_refused_while_the_first_run_waits(tmp_path):
    run(
        tmp_path,
        """
ask()
assert "approve or reject it first: http://x/dags/deploy.counts/runs/r1/" in refused("r2", PLAN)
# Nobody is shown what nobody waits for.
assert list(airflow.shown) == [identity("r1")]
alive.remove("r1")
ask("r2")
assert [row.answer for row in ledger.approvals.of("counts")] == [None, "withdrawn"]
""",
    )


def test_task_killed_before_it_reads_the_answer_asks_again(tmp_path):
    """Airflow tells no task what was answered but the one that it goes on with."""
    run(
        tmp_path,
        """
ask()
airflow.answer("Approve")
assert ask().method_name == "execute_complete"
assert (airflow.answers, newest().answer, given()) == ({}, None, None)
""",
    )


def test_run_is_refused_if_its_plan_differs_from_the_one_airflow_shows(tmp_path):
    run(
        tmp_path,
        """
ask()
first = airflow.of()
words = refused()
assert words == ("counts: Airflow still shows this run's request for the approval of another plan; "
                 "start a new run of deploy.counts, which shows the current plan"), words
assert airflow.of() is first
assert [(row.fingerprint, row.answer) for row in ledger.approvals.of("counts")] == [("f", "withdrawn")]
# Whatever is answered to that: the new plan doesn't have it.
airflow.answer("Approve")
refused()
airflow.answer("Approve")
assert (given(), len(ledger.approvals.of("counts"))) == (None, 1)
# A new run asks; the old one asks what it has shown.
assert ask("r2", OTHER).method_name == "execute_complete"
assert airflow.of("r2").body != first.body
assert answered("Approve", run="r2")["by"] == "ann (7)"
assert ask().method_name == "execute_complete"
assert newest().fingerprint == "f"
""",
    )


def test_used_approval_does_not_cover_another_plan_of_the_same_run(tmp_path):
    run(
        tmp_path,
        """
ask()
answered("Approve")
assert "the approval of another plan" in refused()
operation(approved_by="ann", approved_at=newest().answered_at).finish("rolled_back")
assert "the approval of another plan" in refused()
assert ledger.approvals.of("counts")[0].fingerprint == "f"
""",
    )


def test_grown_state_is_still_the_plan_that_the_run_has_shown(tmp_path):
    run(
        tmp_path,
        """
ask()
state = StateChange(dropped=(StateOfOperator(id="1", name="Window", size=4096),))
grown = PLAN.model_copy(update={"state": state, "expected_downtime_ms": 900})
assert ask(plan=grown).method_name == "execute_complete"
for change in ({"mode": "savepoint"}, {"former_release": 2}, {"kind": "rollback"},
               {"state": StateChange(kept=state.dropped)}):
    assert "the approval of another plan" in refused(plan=PLAN.model_copy(update=change)), change
    assert ask().method_name == "execute_complete"
""",
    )
