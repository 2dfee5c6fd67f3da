"""Which changes of verdicts are reported."""

import pytest

from sluice.fleet.notifications import changes, reports, verdicts_after
from sluice.fleet.rows import JobStatus


@pytest.mark.parametrize(
    ("before", "verdict", "is_reported"),
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
def test_changed_verdict_is_reported(before, verdict, is_reported):
    found = changes(before, [JobStatus("a", "RUNNING", verdict=verdict, reasons=("why",))])
    assert bool(found) == is_reported
    for change in found:
        assert change == {
            "job": "a",
            "old": before.get("a"),
            "new": verdict,
            "state": "RUNNING",
            "reasons": ["why"],
        }


def test_job_with_operation_in_progress_is_not_reported_and_keeps_its_verdict():
    rows = [JobStatus(job, "changing", verdict="unknown") for job in ("a", "new")]
    before = {"a": "degraded", "removed": "healthy"}
    assert changes(before, rows) == []
    assert verdicts_after(before, rows) == {"a": "degraded"}
    assert reports({"a": "approval f5"}, rows, []) == ([], {"a": "approval f5"})
