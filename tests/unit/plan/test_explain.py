"""A plan in words."""

from sluice.plan.explain import explain
from sluice.plan.markdown import markdown
from sluice.plan.model import Change, Plan, StateChange, StateOfOperator


def test_each_change_tells_its_category_and_why():
    change = Change(path="parallelism", old=1, new=2, category="stateless", why="state is spread")
    plan = Plan(job="counts", action="redeploy", category="state_compatible", fingerprint="f", changes=(change,))
    assert "  parallelism: 1 -> 2 (stateless: state is spread)" in explain(plan)


def test_why_an_approval_is_needed_is_said():
    plan = Plan(job="counts", action="redeploy", category="state_compatible", fingerprint="f", needs_approval=True)
    stuck = plan.model_copy(update={"no_way_back": "no way back to release 1"})
    assert "  needs an approval: there is no way back" in explain(stuck)
    assert "There is **no way back**." in markdown(stuck)
    assert "loses state" not in markdown(stuck)
    lossy = plan.model_copy(update={"category": "state_breaking"})
    assert "  needs an approval: it loses state" in explain(lossy)
    both = stuck.model_copy(update={"category": "state_breaking"})
    assert "  needs an approval: it loses state and there is no way back" in explain(both)
    assert "This **loses state**. There is **no way back**." in markdown(both)


def test_what_an_operator_computes_is_shown_old_and_new_where_it_differs():
    old, new = "Aggregate(groupBy=[a, b])", "Aggregate(groupBy=[b, a])"
    other = StateOfOperator(id="o", name="Aggregate", size=2048, old=old, new=new)
    mixed = StateOfOperator(id="m", name="Join", size=0, old="Calc(where=[a | b])", new="Calc(where=[a])")
    plan = Plan(
        job="counts",
        action="redeploy",
        category="state_breaking",
        fingerprint="f",
        needs_approval=True,
        state=StateChange(altered=(other,), kept=(mixed,)),
    )
    lines = explain(plan)
    begin = lines.index("  state altered: Aggregate, 2.0 KiB")
    assert lines[begin + 1 : begin + 3] == [f"    old: {old}", f"    new: {new}"]
    assert "  state kept, input changed: Join" in lines
    assert f"| Aggregate | `` {old} `` | `` {new} `` |" in markdown(plan)
    assert "| Join | `` Calc(where=[a \\| b]) `` |" in markdown(plan)
