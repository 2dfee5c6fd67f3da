"""Find the columns of a table that are window bounds, in the planner's relational tree."""

from __future__ import annotations

import re
from typing import Any

from pyflink.table import StreamTableEnvironment, Table

_WINDOWS = frozenset({"TUMBLE", "HOP", "CUMULATE", "SESSION"})
_WINDOW_COLUMNS = 3
"""Number of columns that a windowing table function appends: window_start, window_end, window_time."""
_BOUND_FUNCTION = re.compile(r"(TUMBLE|HOP|SESSION)_(START|END)")
_SHIFTED = frozenset({"AS", "CAST", "+", "-", "Reinterpret"})
"""Calls whose result is still a window bound: a new name or precision, or shifted by an interval."""


def window_bounds(table: Table, t_env: StreamTableEnvironment) -> dict[str, bool]:
    """The columns with window bounds, or window bounds shifted by an interval: by name, whether it is nullable.

    Windows may be made by SQL's windowing table functions, SQL's group window functions or the Table API. Their bounds
    are followed through projections, filters, groupings, MIN and MAX, unions and joins; not through anything else.
    Nullability comes from the planner, since the Table API reports window bounds as nullable, which they are not.
    """
    rel = t_env._j_tenv.getPlanner().createRelBuilder().queryOperation(table._j_table.getQueryOperation()).build()
    fields = rel.getRowType().getFieldList()
    return {
        field.getName(): bool(field.getType().isNullable())
        for index, field in enumerate(fields)
        if _is_timestamp(field) and _is_bound(rel, index)
    }


def _is_timestamp(field: Any) -> bool:
    return str(field.getType().getSqlTypeName()) == "TIMESTAMP"


def _is_bound(rel: Any, index: int) -> bool:
    """Whether a column of this node is a window bound."""
    inputs = list(rel.getInputs())
    match rel.getClass().getSimpleName():
        case "LogicalFilter" | "LogicalSort":
            found = _is_bound(inputs[0], index)
        case "LogicalProject":
            found = _holds_bound(rel.getProjects()[index], inputs[0])
        case "LogicalAggregate" | "LogicalWindowAggregate":
            found = _is_grouped_bound(rel, inputs[0], index)
        case "LogicalTableFunctionScan":
            found = _is_function_bound(rel, inputs, index)
        case "LogicalUnion":
            found = all(_is_bound(part, index) for part in inputs)
        case "LogicalJoin":
            left = inputs[0].getRowType().getFieldCount()
            found = _is_bound(inputs[0], index) if index < left else _is_bound(inputs[1], index - left)
        case _:
            found = False
    return found


def _holds_bound(expression: Any, source: Any) -> bool:
    """Whether an expression over a node's columns is a window bound."""
    kind = expression.getClass().getSimpleName()
    if kind == "RexInputRef":
        return _is_bound(source, expression.getIndex())
    if kind != "RexCall":
        return False
    name = expression.getOperator().getName()
    if _BOUND_FUNCTION.fullmatch(name):
        return True
    parts = [part for part in expression.getOperands() if part.getClass().getSimpleName() != "RexLiteral"]
    return name in _SHIFTED and len(parts) == 1 and _holds_bound(parts[0], source)


def _is_grouped_bound(rel: Any, source: Any, index: int) -> bool:
    """Whether a column of an aggregation is a window bound. Its columns: keys, aggregates, and window properties."""
    keys, calls = rel.getGroupCount(), list(rel.getAggCallList())
    if index < keys:
        return _is_bound(source, rel.getGroupSet().nth(index))
    if index < keys + len(calls):
        call = calls[index - keys]
        return call.getAggregation().getName() in ("MIN", "MAX") and _is_bound(source, call.getArgList()[0])
    return True


def _is_function_bound(rel: Any, inputs: list[Any], index: int) -> bool:
    if rel.getCall().getOperator().getName() not in _WINDOWS or len(inputs) != 1:
        return False
    own = rel.getRowType().getFieldCount() - _WINDOW_COLUMNS
    return index >= own or _is_bound(inputs[0], index)
