"""Short idle timeout: all live records are counted; records that are too late are dropped, and counted as late."""

import asyncio
import time
from collections import Counter

from sluice.health.probe import probe
from sluice.health.verdict import verdict
from sluice.local.traffic import oracle, wire
from sluice.local.traffic.generator import Shares, Traffic
from tests.support.running import deploy
from tests.support.waiting import wait_for

JOB = "event_metrics"
MINUTE = 60_000


class Run:
    """The job on topics of its own."""

    def __init__(self, lab, name):
        lab.product_jobs()
        lab.deployment(
            f"jobs:\n  {JOB}:\n    reads: {{events: {{topic: {name}, idle_timeout: 5s}}}}\n"
            f"    writes: {{topic: {name}_out}}\n"
        )
        self.lab, self.topic = lab, name
        self.servers = lab.local.kafka_servers
        self.job_id = deploy(lab.project, JOB).flink_job_id

    def snapshot(self):
        async def ask():
            async with self.lab.project.connect_async() as flink:
                group = self.lab.project.desired(JOB).group
                return await probe(flink, self.job_id, (self.topic,), self.lab.project.brokers, group)

        return asyncio.run(ask())

    def rows(self):
        return Counter(tuple(sorted(row.items())) for row in wire.rows(self.servers, f"{self.topic}_out"))


def wanted(messages):
    return Counter(tuple(sorted(row.items())) for row in oracle.compute(messages).event_metrics)


def traffic(rate, count):
    """A day ago, from 50 seconds past a full minute: the first window closes while the traffic goes on."""
    start = (int(time.time() * 1000) - 86_400_000) // MINUTE * MINUTE + 50_000
    return Traffic(seed=7, rate=rate, start_ms=start, partitions=3, shares=Shares(late=0.02)).bounded(count)


def at_their_pace(messages, closing):
    """Each message when it is due; the closing ones at once."""
    begun = time.monotonic()
    for message in messages[:-closing]:
        time.sleep(max(0.0, begun + (message.at_ms - messages[0].at_ms) / 1000 - time.monotonic()))
        yield message
    yield from messages[-closing:]


def test_all_live_records_are_counted_despite_idle_partitions(lab):
    run = Run(lab, "live_events")
    messages = traffic(rate=300, count=5_400)
    want = wanted(messages)
    wire.produce(run.servers, run.topic, at_their_pace(messages, closing=3))
    wait_for(lambda: run.rows().total() >= want.total())
    assert run.rows() == want
    assert run.snapshot().counters.late_dropped == 0


def test_late_records_of_a_formerly_idle_partition_are_reported(lab):
    run = Run(lab, "late_events")
    messages = traffic(rate=100, count=3_000)
    first = [message for message in messages if message.partition == 0]
    wire.produce(run.servers, run.topic, first)
    # That its rows come out says that the others are taken for idle.
    want = wanted(first)
    wait_for(lambda: run.rows().total() >= want.total())
    wire.produce(run.servers, run.topic, [message for message in messages if message.partition != 0])
    judged = wait_for(
        lambda: (found := run.snapshot()).counters.late_dropped and verdict(found, lab.project.desired(JOB).health)
    )
    assert "rows that came behind the watermark" in " ".join(judged.reasons)
    assert run.rows() == want
