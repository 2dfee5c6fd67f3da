"""A plan as text, for a terminal, a log and a page."""

from __future__ import annotations

from collections.abc import Iterator

from sluice.plan.model import Plan
from sluice.state.change import StateOfOperator

ACTIONS = {
    "none": "runs as it should",
    "record": "is recorded as a new release, without a restart",
    "start": "is started",
    "recover": "is started again",
    "redeploy": "is replaced",
    "suspend": "is suspended",
}
"""What happens to the job."""


def explain(plan: Plan) -> list[str]:
    """The plan, line by line."""
    mode = f", {plan.mode}" if plan.mode else ""
    lines = [f"{plan.job} {ACTIONS[plan.action]} ({plan.category}{mode})"]
    lines += [f"  warning: {warning}" for warning in plan.warnings]
    lines += [f"  {reason}" for reason in plan.reasons]
    lines += [
        f"  {change.path}: {words_of(change.old)} -> {words_of(change.new)} ({change.category}: {change.why})"
        for change in plan.changes
    ]
    if plan.overrides:
        given = ", ".join(f"{name}={value}" for name, value in plan.overrides.items())
        lines.append(f"  set by a run, over the deployment file: {given}")
    lines += [f"  topic {topic.words}" for topic in plan.topics if topic.action != "keep"]
    lines += list(_state(plan))
    if plan.expected_downtime_ms is not None:
        lines.append(f"  expected downtime: {plan.expected_downtime_ms / 1000:.1f} s")
    if plan.needs_approval:
        lines.append(f"  needs an approval: {' and '.join(plan.dangers)}")
    return [*lines, *(f"  {number}. {stage.words}" for number, stage in enumerate(plan.stages, 1))]


def _state(plan: Plan) -> Iterator[str]:
    for fate, operator in plan.state.fates:
        size = size_of(operator)
        changed = ", input changed" if fate == "kept" and operator.old is not None else ""
        yield f"  state {fate}{changed}: {operator.name}{f', {size}' if size else ''}"
        if operator.old is not None:
            yield f"    old: {operator.old}"
            yield f"    new: {operator.new}"


def size_of(operator: StateOfOperator) -> str:
    """The size of an operator's state; empty: it has none."""
    if not operator.size:
        return ""
    return f"{operator.size / 1024:,.1f} KiB" if operator.size < 2**20 else f"{operator.size / 2**20:,.1f} MiB"


def words_of(value: object) -> str:
    """A value of a change, as text."""
    return "nothing" if value is None else str(value)
