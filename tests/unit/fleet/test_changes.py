"""A verdict that has changed is told once."""

import pytest

from sluice.fleet.notifications import changes, known_then, reports
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


def test_of_a_job_that_is_being_changed_nothing_is_told_and_nothing_is_forgotten():
    rows = [JobStatus(job, "changing", verdict="unknown") for job in ("a", "new")]
    before = {"a": "degraded", "removed": "healthy"}
    assert changes(before, rows) == []
    assert known_then(before, rows) == {"a": "degraded"}
    assert reports({"a": "approval f5"}, rows, []) == ([], {"a": "approval f5"})
