"""The REST API's answers about metrics."""

from __future__ import annotations

from sluice.flink.models import Answer


class Metric(Answer):
    """A metric of a vertex: `<subtask>.<operator>.<name>` and its value as text."""

    id: str
    value: str | None = None


class MetricAggregate(Answer):
    """A metric over a vertex's subtasks."""

    id: str
    min: float | None = None
    max: float | None = None
    sum: float | None = None
