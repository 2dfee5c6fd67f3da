"""Waiting at a gate: one asynchronous loop, for the shell and for Airflow's triggerer alike."""

from __future__ import annotations

import asyncio
import re
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

from sluice.errors import FlinkError, UnreachableError
from sluice.flink.access import Access
from sluice.flink.client import AsyncFlinkClient
from sluice.health.gates import Gate, Reading, judge, repeats_own_failure
from sluice.health.probe import probe
from sluice.health.progress import Proof
from sluice.health.snapshot import Snapshot
from sluice.job.limits import Health
from sluice.kafka.brokers import connect
from sluice.kafka.offsets import read_stable_ends
from sluice.state.offsets import offsets_by_partition

_PAUSE = 1.0
"""Seconds between two looks."""


@dataclass(frozen=True)
class GateOrder:
    """What to wait for.

    Attributes:
        gates: Which, in the order in which they are to be passed.
        deadline: Unix time, seconds, until which they must be passed.
        restored_from: The savepoint or checkpoint that the job must have been restored from; None: not looked at.
        positions: Per topic and partition the offset before which it must not read; None: not looked at.
        untimed: Which of the topics it reads without event time.
        must_count: See `judge`.
    """

    gates: tuple[Gate, ...]
    flink: Access | str
    flink_job_id: str
    topics: tuple[str, ...]
    kafka: Mapping[str, str]
    group: str
    health: Health
    deadline: float
    restored_from: str | None = None
    positions: Mapping[str, Mapping[Any, int]] | None = None
    untimed: tuple[str, ...] = ()
    must_count: bool = True


async def readings(order: GateOrder) -> AsyncGenerator[tuple[Gate, Reading]]:
    """Look again and again; each changed reading with its gate. The last is of the last gate, or is hopeless.

    One look serves as many gates as it passes. A cluster or broker that doesn't answer, or refuses to, says nothing
    about the job: it is asked again until the deadline.
    """
    last: str | None = None
    watch = _Watch(order)
    left = list(order.gates)
    async with AsyncFlinkClient(order.flink) as flink:
        while left:
            look = await watch.look(flink)
            while left:
                reading = watch.read(left[0], look)
                if reading.words != last or reading.passed or reading.hopeless:
                    yield left[0], reading
                    last = reading.words
                if reading.hopeless:
                    return
                if not reading.passed:
                    await asyncio.sleep(_PAUSE)
                    break
                left.pop(0)


def look(order: GateOrder) -> Reading:
    """Where the first of the gates stands now, by one look."""

    async def first() -> Reading:
        async with aclosing(readings(order)) as found:
            _, reading = await anext(found)
            return reading

    return asyncio.run(first())


class _Watch:
    """What was seen so far: the former snapshot, and the readings of each gate."""

    def __init__(self, order: GateOrder) -> None:
        self._order = order
        self._former: Snapshot | None = None
        self._proof: Proof | None = None
        self._earlier: defaultdict[Gate, list[Reading]] = defaultdict(list)

    async def look(self, flink: AsyncFlinkClient) -> Snapshot | Reading:
        """The job as it is now, or why it can't be looked at."""
        order = self._order
        started_at = offsets_by_partition(order.positions or {}, order.topics)
        try:
            if self._proof is None and "running" in order.gates:
                # Before the first look: what comes later did not wait.
                ends = await asyncio.to_thread(read_stable_ends, connect(order.kafka), order.topics, _servers(order))
                self._proof = Proof(ends, started_at)
            self._former = await probe(
                flink,
                order.flink_job_id,
                order.topics,
                order.kafka,
                order.group,
                previous=self._former,
                started_at=started_at,
                untimed=order.untimed,
            )
        except (UnreachableError, FlinkError) as error:
            return Reading(passed=False, words=str(error))
        return self._former

    def _proven(self, look: Snapshot, reading: Reading) -> Reading:
        """The reading; passed only once what waited is read and covered by a checkpoint, without a restart since."""
        missing = self._proof.missing(look) if self._proof else None
        if missing is not None and repeats_own_failure(look, self._order.health):
            # A checkpoint between two failures proves nothing: the records that cause them still wait.
            return replace(reading, passed=False, hopeless=True, words=f"{reading.words}, again and again; {missing}")
        if missing is None or not reading.passed:
            return reading
        return replace(reading, passed=False, words=f"{reading.words}, {missing}")

    def read(self, gate: Gate, look: Snapshot | Reading) -> Reading:
        """Where the gate stands."""
        order = self._order
        if isinstance(look, Reading):
            reading = look
        else:
            earlier = self._earlier[gate]
            reading = judge(gate, look, order.health, earlier, int(order.deadline * 1000), must_count=order.must_count)
            earlier.append(reading)
            if gate == "running":
                reading = self._proven(look, reading)
                reading = _restored(order, look, reading) or _before(order, look) or reading
        if time.time() > order.deadline and not reading.passed:
            return Reading(passed=False, hopeless=True, words=f"{reading.words}, at the deadline")
        return reading


def _servers(order: GateOrder) -> str:
    return order.kafka.get("bootstrap.servers", "")


def _restored(order: GateOrder, snapshot: Snapshot, reading: Reading) -> Reading | None:
    """A job that was restored from something else than it was told to, or from nothing, isn't the one meant."""
    wanted, found = order.restored_from, snapshot.restored_from
    if wanted is None or (found is not None and _path(found) == _path(wanted)):
        return None
    if found is None:
        # The cluster may tell it a moment later.
        words = f"{reading.words}, restored from nothing that the cluster tells, expected {wanted}"
        return Reading(passed=False, words=words) if reading.passed else None
    if f"/{order.flink_job_id}/" in found:
        # It has failed over meanwhile, to a checkpoint of its own.
        return None
    return Reading(passed=False, hopeless=True, words=f"restored from {found}, not from {wanted}")


def _before(order: GateOrder, snapshot: Snapshot) -> Reading | None:
    """A job that reads what its state has already counted would count it twice."""
    for (topic, number), position in offsets_by_partition(order.positions or {}, order.topics).items():
        split = (snapshot.splits or {}).get((topic, number))
        if (
            split is not None
            and not split.is_guessed
            and split.next_offset is not None
            and split.next_offset < position
        ):
            words = f"reads {topic}-{number} at {split.next_offset:,}, before {position:,}, where its state stands"
            return Reading(passed=False, hopeless=True, words=words)
    return None


def _path(uri: str) -> str:
    """One spelling: Flink writes `file:/x` and takes `file:///x`."""
    return re.sub(r"^(\w+):/+", r"\1:/", uri)
