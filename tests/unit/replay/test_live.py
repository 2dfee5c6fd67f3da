"""How far a live job is by its watermarks: what is not known is never taken for past."""

import re
from datetime import UTC, datetime

import httpx
import pytest

from sluice.flink.client import FlinkClient
from sluice.replay import live_guard as live
from tests.support.answering import answered_by

NONE = -(2**63)
SOURCE, WINDOW, SINK = "Source: lines", "GlobalWindowAggregate", "Sink: Writer"


def watermark(told, *, restored=False, is_mixed=False, age_ms=60_000):
    """What is taken for the job's watermark, in milliseconds.

    Args:
        told: By vertex what its subtasks tell.
        restored: It was started from a state.
        is_mixed: It reads topics without event time as well.
        age_ms: For how long it has run.
    """
    vertices = [
        {"id": f"v{number}", "name": name, "parallelism": 2, "status": "RUNNING", "tasks": {}}
        for number, name in enumerate(told)
    ]

    def cluster(request):
        path = request.url.path
        if found := re.fullmatch(r"/jobs/j/vertices/v(\d)/watermarks", path):
            values = list(told.values())[int(found[1])]
            metrics = [{"id": f"{number}.w", "value": str(value)} for number, value in enumerate(values)]
            return httpx.Response(200, json=metrics)
        if path == "/jobs/j/checkpoints":
            counts = dict.fromkeys(("restored", "completed", "failed", "in_progress"), 0)
            of = {"id": 3, "restore_timestamp": 1, "is_savepoint": True}
            return httpx.Response(200, json={"counts": counts, "latest": {"restored": of if restored else None}})
        job = {"jid": "j", "name": "counts", "state": "RUNNING", "start-time": 0, "now": age_ms, "vertices": vertices}
        return httpx.Response(200, json=job)

    with FlinkClient("http://flink", exchange=answered_by(cluster)) as flink:
        found = live._watermark(flink, "j", is_mixed=is_mixed)
    return None if found is None else (found - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1000


def test_the_smallest_of_what_comes_after_the_sources_counts():
    assert watermark({SOURCE: [9, 9], WINDOW: [700, 600], SINK: [650, 800]}) == 600


@pytest.mark.parametrize(
    ("told", "given"),
    [
        ({SOURCE: [], WINDOW: [NONE, NONE]}, {"restored": True}),
        ({SOURCE: [], WINDOW: []}, {}),
        # A subtask that got nothing yet may hold what was restored into it.
        ({SOURCE: [], WINDOW: [700, NONE]}, {"restored": True}),
        ({SOURCE: [], WINDOW: [700, 700], SINK: [NONE, NONE]}, {}),
        ({SOURCE: [], WINDOW: [NONE, NONE]}, {"is_mixed": True}),
    ],
)
def test_what_is_not_told_is_not_past(told, given):
    assert watermark(told, **given) is None


def test_a_subtask_without_input_holds_nothing_where_nothing_was_restored():
    assert watermark({SOURCE: [], WINDOW: [700, NONE]}) == 700


def test_what_reads_a_topic_without_event_time_holds_no_windows():
    assert watermark({SOURCE: [], WINDOW: [700, 800], SINK: [NONE, NONE]}, restored=True, is_mixed=True) == 700


def test_a_job_that_is_one_chain_waits_for_no_watermark():
    assert watermark({"Source: lines -> Sink: Writer": []}, restored=True) > 10**14
