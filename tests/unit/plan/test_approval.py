"""An approval covers plans that lose no more than the approved one, and no others."""

from datetime import UTC, datetime

import pytest

from sluice.errors import RefusedError
from sluice.plan.approval import Approval, identity, refuse_unapproved
from sluice.plan.markdown import markdown
from sluice.plan.model import Change, Plan
from sluice.plan.stages import Prepare, Start
from sluice.state.change import StateChange, StateOfOperator
from sluice.state.offsets import NO_LONGER_HELD

AT = datetime(2026, 1, 31, 12, tzinfo=UTC)
MORE_STATE = "there is state that the approved plan did not have: Join[9]"
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


def test_approved_plan_passes_as_does_one_approved_in_advance():
    refuse_unapproved(PLAN, Approval("ann", AT, PLAN))
    refuse_unapproved(PLAN, Approval("ann", AT))


@pytest.mark.parametrize(
    ("now", "words"),
    [
        ({"fingerprint": "g"}, "code or settings have changed"),
        ({"former_release": 3}, "release 3 runs or ran, not 2"),
        ({"kind": "rollback"}, "it is a rollback, not a deploy"),
        ({"state": StateChange(kept=(SOURCE, WINDOW, JOIN))}, MORE_STATE),
        ({"state": StateChange(kept=(SOURCE,), dropped=(JOIN,))}, MORE_STATE),
    ],
)
def test_plan_that_exceeds_its_approval_is_refused(now, words):
    with pytest.raises(RefusedError) as refused:
        refuse_unapproved(changed(**now), Approval("ann", AT, PLAN))
    assert str(refused.value).startswith(f"counts: this is not the plan that ann has approved: {words};")


def test_state_with_another_meaning_needs_an_approval_of_exactly_that():
    alters = changed(mode="savepoint", state=StateChange(kept=(SOURCE,), altered=(WINDOW, JOIN)))
    other = changed(mode="savepoint", state=StateChange(kept=(SOURCE, JOIN), altered=(WINDOW,)))
    loses = changed(state=StateChange(kept=(SOURCE,), dropped=(WINDOW, JOIN)))
    for approved, name in ((other, "Join[9]"), (loses, "GlobalWindowAggregate[5], Join[9]")):
        with pytest.raises(RefusedError) as refused:
            refuse_unapproved(alters, Approval("ann", AT, approved))
        assert f"the state of {name} is kept with another meaning" in str(refused.value)
    refuse_unapproved(alters, Approval("ann", AT, alters))
    refuse_unapproved(other, Approval("ann", AT, alters))


def test_approval_to_change_states_meaning_does_not_cover_abandoning_all_state():
    approved = changed(mode="savepoint")
    refuse_unapproved(approved, Approval("ann", AT, PLAN))
    with pytest.raises(RefusedError, match="it abandons all state"):
        refuse_unapproved(PLAN, Approval("ann", AT, approved))


def test_approval_covers_state_that_has_grown():
    grown = changed(state=StateChange(kept=(WINDOW.model_copy(update={"size": 2**30}),)), mode=None)
    refuse_unapproved(grown, Approval("ann", AT, PLAN))


def test_plan_in_markdown_lists_changes_and_the_lost_state():
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


def test_plan_identity_ignores_the_text_of_the_newest_failure():
    first, second = (
        changed(reasons=(*PLAN.reasons, f"its newest failure: RuntimeException: instruction {number}"))
        for number in (1, 2)
    )
    assert identity(first) == identity(second) == identity(PLAN)
    assert identity(changed(reasons=("config.hours: other words",))) != identity(PLAN)


def test_plan_identity_ignores_how_many_records_kafka_has_deleted():
    first, second = (
        changed(reasons=(f"{NO_LONGER_HELD}{gone} offsets are missing (in-0: {gone})",)) for gone in ("1,200", "35,017")
    )
    assert identity(first) == identity(second)
    more = changed(reasons=(f"{NO_LONGER_HELD}9 offsets are missing (in-0: 4, in-7: 5)",))
    assert identity(more) != identity(first)


def test_refusal_of_swapped_window_keys_suggests_mode_stateless():
    swapped = WINDOW.model_copy(update={"old": "Aggregate(groupBy=[a, b])", "new": "Aggregate(groupBy=[b, a])"})
    plan = changed(mode="savepoint", state=StateChange(kept=(SOURCE,), altered=(swapped,)))
    with pytest.raises(RefusedError, match="state would be kept with another meaning") as refused:
        refuse_unapproved(plan, None)
    assert "sluice plan counts shows what it computes, old and new" in refused.value.remedy
    assert "take mode stateless" in refused.value.remedy
