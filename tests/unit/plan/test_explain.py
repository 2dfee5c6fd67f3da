"""A plan in words."""

from sluice.plan.explain import explain
from sluice.plan.model import Change, Plan


def test_each_change_tells_its_category_and_why():
    change = Change(path="parallelism", old=1, new=2, category="stateless", why="state is spread")
    plan = Plan(job="counts", action="redeploy", category="state_compatible", fingerprint="f", changes=(change,))
    assert "  parallelism: 1 -> 2 (stateless: state is spread)" in explain(plan)
