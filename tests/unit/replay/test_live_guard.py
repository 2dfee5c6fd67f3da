"""The live job's watermark: an unknown one never counts as past the range."""

import re
from datetime import UTC, datetime

import httpx
import pytest

from sluice.flink.client import FlinkClient
from sluice.replay import live_guard
from tests.support.answering import answered_by

NONE = -(2**63)
SOURCE, WINDOW, SINK = "Source: lines", "GlobalWindowAggregate", "Sink: Writer"


def watermark(reported, *, restored=False, is_mixed=False, age_ms=60_000):
    """The watermark that the guard computes, in milliseconds.

    Args:
        reported: The watermarks of each vertex's subtasks.
        restored: Whether the job was started from a savepoint.
        is_mixed: Whether it also reads topics without event time.
        age_ms: How long it has run.
    """
    vertices = [
        {"id": f"v{number}", "name": name, "parallelism": 2, "status": "RUNNING", "tasks": {}}
        for number, name in enumerate(reported)
    ]

    def cluster(request):
        path = request.url.path
        if found := re.fullmatch(r"/jobs/j/vertices/v(\d)/watermarks", path):
            values = list(reported.values())[int(found[1])]
            metrics = [{"id": f"{number}.w", "value": str(value)} for number, value in enumerate(values)]
            return httpx.Response(200, json=metrics)
        if path == "/jobs/j/checkpoints":
            counts = dict.fromkeys(("restored", "completed", "failed", "in_progress"), 0)
            of = {"id": 3, "restore_timestamp": 1, "is_savepoint": True}
            return httpx.Response(200, json={"counts": counts, "latest": {"restored": of if restored else None}})
        job = {"jid": "j", "name": "counts", "state": "RUNNING", "start-time": 0, "now": age_ms, "vertices": vertices}
        return httpx.Response(200, json=job)

    with FlinkClient("http://flink", exchange=answered_by(cluster)) as flink:
        found = live_guard._watermark(flink, "j", is_mixed=is_mixed)
    return None if found is None else (found - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1000


def test_the_smallest_watermark_behind_the_sources_counts():
    assert watermark({SOURCE: [9, 9], WINDOW: [700, 600], SINK: [650, 800]}) == 600


@pytest.mark.parametrize(
    ("reported", "given"),
    [
        ({SOURCE: [], WINDOW: [NONE, NONE]}, {"restored": True}),
        ({SOURCE: [], WINDOW: []}, {}),
        # A subtask without watermark may hold restored windows.
        ({SOURCE: [], WINDOW: [700, NONE]}, {"restored": True}),
        ({SOURCE: [], WINDOW: [700, 700], SINK: [NONE, NONE]}, {}),
        ({SOURCE: [], WINDOW: [NONE, NONE]}, {"is_mixed": True}),
    ],
)
def test_an_unreported_watermark_is_unknown(reported, given):
    assert watermark(reported, **given) is None


def test_a_subtask_without_watermark_is_ignored_in_a_job_without_state():
    assert watermark({SOURCE: [], WINDOW: [700, NONE]}) == 700


def test_operators_behind_a_topic_without_event_time_are_ignored():
    assert watermark({SOURCE: [], WINDOW: [700, 800], SINK: [NONE, NONE]}, restored=True, is_mixed=True) == 700


def test_a_job_of_one_chain_holds_no_windows():
    assert watermark({"Source: lines -> Sink: Writer": []}, restored=True) > 10**14
