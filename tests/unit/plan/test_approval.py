"""What was approved covers what loses no more, and nothing else."""

from datetime import UTC, datetime

import pytest

from sluice.errors import RefusedError
from sluice.plan.approval import Approval, identity, refuse_unapproved
from sluice.plan.markdown import markdown
from sluice.plan.model import Change, Plan
from sluice.plan.stages import Prepare, Start
from sluice.state.change import StateChange, StateOfOperator

AT = datetime(2026, 1, 31, 12, tzinfo=UTC)
WINDOW = StateOfOperator(id="1", name="GlobalWindowAggregate[5]", size=26_317)
SOURCE = StateOfOperator(id="0", name="Source: events", size=512)
JOIN = StateOfOperator(id="2", name="Join[9]", size=9)
PLAN = Plan(
    job="counts",
    action="redeploy",
    category="state_breaking",
    mode="stateless",
    former_release=2,
    fingerprint="f",
    reasons=("config.hours: windows of another length",),
    changes=(Change(path="config.hours", old=1, new="2 | 3", category="state_breaking", why="windows"),),
    state=StateChange(kept=(SOURCE,), dropped=(WINDOW,)),
    needs_approval=True,
    stages=(Prepare(), Start(source="offsets")),
)


def changed(**values):
    return PLAN.model_copy(update=values)


def test_a_plan_that_loses_state_needs_an_approval():
    with pytest.raises(RefusedError, match=r"counts: state would be abandoned: config\.hours: windows of another"):
        refuse_unapproved(PLAN, None)
    refuse_unapproved(changed(needs_approval=False), None)


def test_the_approved_plan_is_done_and_so_is_one_that_was_approved_ahead():
    refuse_unapproved(PLAN, Approval("ann", AT, PLAN))
    refuse_unapproved(PLAN, Approval("ann", AT))


@pytest.mark.parametrize(
    ("now", "words"),
    [
        ({"fingerprint": "g"}, "code or settings have changed"),
        ({"former_release": 3}, "release 3 runs or ran, not 2"),
        ({"kind": "rollback"}, "it is a rollback, not a deploy"),
        ({"state": StateChange(kept=(SOURCE, WINDOW, JOIN))}, "there is state that was not there: Join[9]"),
        ({"state": StateChange(kept=(SOURCE,), dropped=(JOIN,))}, "there is state that was not there: Join[9]"),
    ],
)
def test_what_goes_beyond_the_approved_plan_is_refused(now, words):
    with pytest.raises(RefusedError) as refused:
        refuse_unapproved(changed(**now), Approval("ann", AT, PLAN))
    assert str(refused.value).startswith(f"counts: this is not the plan that ann has approved: {words};")


def test_state_under_another_meaning_is_refused_where_something_else_was_approved():
    alters = changed(mode="savepoint", state=StateChange(kept=(SOURCE,), altered=(WINDOW, JOIN)))
    other = changed(mode="savepoint", state=StateChange(kept=(SOURCE, JOIN), altered=(WINDOW,)))
    loses = changed(state=StateChange(kept=(SOURCE,), dropped=(WINDOW, JOIN)))
    for approved, name in ((other, "Join[9]"), (loses, "GlobalWindowAggregate[5], Join[9]")):
        with pytest.raises(RefusedError) as refused:
            refuse_unapproved(alters, Approval("ann", AT, approved))
        assert f"the state of {name} goes on under another meaning" in str(refused.value)
    refuse_unapproved(alters, Approval("ann", AT, alters))
    refuse_unapproved(other, Approval("ann", AT, alters))


def test_abandoning_all_state_is_more_than_a_change_of_its_meaning():
    approved = changed(mode="savepoint")
    refuse_unapproved(approved, Approval("ann", AT, PLAN))
    with pytest.raises(RefusedError, match="it abandons all state"):
        refuse_unapproved(PLAN, Approval("ann", AT, approved))


def test_state_that_has_grown_is_the_same_state_and_less_is_no_difference():
    grown = changed(state=StateChange(kept=(WINDOW.model_copy(update={"size": 2**30}),)), mode=None)
    refuse_unapproved(grown, Approval("ann", AT, PLAN))


def test_a_plan_as_markdown_says_what_is_lost_and_why():
    text = markdown(PLAN)
    assert text.startswith("**counts** is replaced (state_breaking, stateless). This **loses state**.\n\n### Why")
    assert "| config.hours | 1 | 2 \\| 3 | state_breaking: windows |" in text
    assert "| GlobalWindowAggregate[5] | 25.7 KiB | **lost** |" in text
    assert "1. compile the release; its client waits\n1. start without state" in text
    going_on = StateChange(kept=(SOURCE, WINDOW))
    kept = markdown(changed(mode="savepoint", state=going_on, needs_approval=False, reasons=(), changes=()))
    assert "| GlobalWindowAggregate[5] | 25.7 KiB | kept |" in kept
    assert "loses" not in kept
    assert "### Why" not in kept
    assert "### What changes" not in kept


def test_the_words_of_a_jobs_newest_failure_make_no_other_plan():
    first, second = (
        changed(reasons=(*PLAN.reasons, f"its newest failure: RuntimeException: instruction {number}"))
        for number in (1, 2)
    )
    assert identity(first) == identity(second) == identity(PLAN)
    assert identity(changed(reasons=("config.hours: other words",))) != identity(PLAN)


def test_records_that_retention_removes_while_a_plan_waits_make_no_other_plan():
    first, second = (
        changed(reasons=(f"Kafka no longer holds all that was not read yet: {gone} offsets are gone (in-0: {gone})",))
        for gone in ("1,200", "35,017")
    )
    assert identity(first) == identity(second)
    more = changed(reasons=("Kafka no longer holds all that was not read yet: 9 offsets are gone (in-0: 4, in-7: 5)",))
    assert identity(more) != identity(first)


def test_a_window_whose_keys_were_swapped_names_the_way_without_its_state():
    swapped = WINDOW.model_copy(update={"old": "Aggregate(groupBy=[a, b])", "new": "Aggregate(groupBy=[b, a])"})
    plan = changed(mode="savepoint", state=StateChange(kept=(SOURCE,), altered=(swapped,)))
    with pytest.raises(RefusedError, match="state would go on under another meaning") as refused:
        refuse_unapproved(plan, None)
    assert "sluice plan counts shows what it computes, old and new" in refused.value.remedy
    assert "take mode stateless" in refused.value.remedy
