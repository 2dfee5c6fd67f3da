"""A plan of a replay: two hours in two chunks."""

from datetime import UTC, datetime

from sluice.replay.model import ChunkPlan, ReplayPlan


def hour(number):
    return datetime(2026, 1, 31, number, tzinfo=UTC)


def plan(**more):
    chunks = tuple(
        ChunkPlan(
            number=number,
            name=f"counts.replay.abcdefgh.{number}",
            since=hour(11 + number),
            before=hour(12 + number),
            until=hour(14),
            offsets={"events": {0: (100 * number, 100 * number + 150), 1: (5, 5)}},
        )
        for number in (1, 2)
    )
    given = {
        "id": "abcdefgh" * 4,
        "job": "counts",
        "release": 3,
        "start": hour(12),
        "end": hour(14),
        "parallel": 2,
        "parallelism": 1,
        "slots": 2,
        "slots_free": 7,
        "chunks": chunks,
        "held": (),
        "output": "separate",
        "outputs": {"counts": "counts.replay.abcdefgh"},
        "partitions": {"counts": 3},
        "output_starts": {},
        "most": 4,
        "overrides": {},
        "resolved": {},
        "artifact": "a" * 64,
        "module": "flink_jobs.counts",
        "fingerprint": "f" * 64,
        "begins": "window_start",
        "ends": "window_end",
        "seconds": None,
    }
    return ReplayPlan(**{**given, **more})
