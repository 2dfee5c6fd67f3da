"""A verdict that has changed is told once."""

import pytest

from sluice.fleet.changes import changes
from sluice.fleet.rows import JobStatus


@pytest.mark.parametrize(
    ("before", "verdict", "told"),
    [
        ({"a": "healthy"}, "healthy", False),
        ({"a": "healthy"}, "degraded", True),
        ({"a": "degraded"}, "degraded", False),
        ({"a": "failed"}, "healthy", True),
        ({"a": "healthy"}, "unknown", True),
        ({}, "healthy", False),
        ({}, "idle", False),
        ({}, "failed", True),
    ],
)
def test_changes(before, verdict, told):
    found = changes(before, [JobStatus("a", "RUNNING", verdict=verdict, reasons=("why",))])
    assert bool(found) == told
    for change in found:
        assert change == {
            "job": "a",
            "old": before.get("a"),
            "new": verdict,
            "state": "RUNNING",
            "reasons": ["why"],
        }
