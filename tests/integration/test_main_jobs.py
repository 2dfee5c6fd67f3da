"""The four jobs and the dead letters on generated events, against an independent computation.

`make audit` takes 200,000 of them.
"""

import math
import os
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from sluice.local.traffic import generator, oracle, wire
from sluice.operation.topics import create_topics
from tests.support.running import deploy
from tests.support.waiting import wait_for

EVENTS = int(os.environ.get("SLUICE_AUDIT_EVENTS", "20000"))
JOBS = ("dead_letters", "event_metrics", "performance_metrics", "processing_metrics", "session_metrics")


@pytest.fixture(scope="module")
def messages():
    day_ago = (int(time.time()) - 86_400) * 1000
    traffic = generator.Traffic(seed=20_261_124, rate=40, start_ms=day_ago, partitions=3)
    messages = traffic.bounded(EVENTS)
    # A few of a million bytes, which the traffic itself would be too thick with.
    first = messages[0].at_ms
    return [generator.Message(b"huge", generator.huge(first), first, n % 3) for n in range(3)] + messages


@pytest.fixture(scope="module")
def expected(messages):
    return oracle.compute(messages)


def test_every_job_writes_exactly_the_right_rows(lab, messages, expected):
    lab.product_jobs()
    # All of it lies in the topic before the jobs begin, more than one partition at a time is read: none is idle.
    jobs = "".join(f"  {job}:\n    reads:\n      events:\n        idle_timeout:\n" for job in JOBS)
    lab.deployment(f"jobs:\n{jobs}")
    servers = lab.local.kafka_servers
    create_topics(lab.project, "event_metrics")
    wire.produce(servers, "analytics_events", messages)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda job: deploy(lab.project, job), JOBS))

    for topic in ("event_metrics", "session_metrics", "processing_metrics"):
        want = Counter(map(frozen, getattr(expected, topic)))
        wait_for(lambda topic=topic, want=want: len(wire.rows(servers, topic)) >= want.total(), message=topic)
        assert Counter(map(frozen, wire.rows(servers, topic))) == want, topic
    performance, letters = "performance_metrics", "analytics_events_dead_letters"
    wait_for(lambda: len(wire.rows(servers, performance)) >= len(expected.performance_metrics), message=performance)
    assert_performance(wire.rows(servers, performance), expected.performance_metrics)
    wait_for(lambda: len(wire.consume(servers, letters)) >= len(expected.malformed), message=letters)
    assert_dead_letters(wire.consume(servers, letters), expected.malformed)
    # The closing events open the last window, which nothing closes.
    counted = len(messages) - 3
    wait_for(lambda: records(wire.rows(servers, "analytics_events_quality")) >= counted, message="quality")
    quality = wire.rows(servers, "analytics_events_quality")
    assert records(quality) == counted
    assert sum(row["malformed"] for row in quality) == len(expected.malformed)
    assert sum(row["late"] for row in quality) == expected.late


def records(quality):
    return sum(row["records"] for row in quality)


def frozen(row):
    return tuple(sorted(row.items()))


def assert_performance(found, wanted):
    def by_key(rows):
        return {(row["window_start"], row["device_category"]): row for row in rows}

    assert len(found) == len(wanted)
    found, wanted = by_key(found), by_key(wanted)
    assert found.keys() == wanted.keys()
    for key, row in wanted.items():
        assert found[key]["window_end"] == row["window_end"]
        assert found[key]["avg_load_time"] == row["avg_load_time"], key
        # Interpolated in another order of operations.
        assert math.isclose(found[key]["p95_load_time"], row["p95_load_time"], rel_tol=1e-12), key


def assert_dead_letters(found, malformed):
    assert Counter(
        (letter.value, letter.key, letter.headers["reason"].partition(":")[0]) for letter in found
    ) == Counter((message.value, message.key, fault) for message, fault in malformed)
    positions = {(letter.headers["topic"], letter.headers["partition"], letter.headers["offset"]) for letter in found}
    assert len(positions) == len(malformed)
