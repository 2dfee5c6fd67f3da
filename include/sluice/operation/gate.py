"""Waiting at a gate: one asynchronous loop, for the shell and for Airflow's triggerer alike."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from sluice.errors import UnreachableError
from sluice.flink.client import AsyncFlinkClient
from sluice.health.gates import Gate, Reading, judge
from sluice.health.probe import probe
from sluice.health.snapshot import Snapshot
from sluice.job.limits import Health

_PAUSE = 1.0
"""Seconds between two looks."""


@dataclass(frozen=True)
class GateOrder:
    """What to wait for.

    Attributes:
        gates: Which, in the order in which they are to be passed.
        deadline: Unix time, seconds, until which they must be passed.
        restored_from: The savepoint or checkpoint that the job must have been restored from; None: not looked at.
    """

    gates: tuple[Gate, ...]
    flink_url: str
    flink_job_id: str
    topics: tuple[str, ...]
    kafka: Mapping[str, str]
    group: str
    health: Health
    deadline: float
    restored_from: str | None = None


async def readings(order: GateOrder) -> AsyncIterator[tuple[Gate, Reading]]:
    """Look again and again; each changed reading with its gate. The last is of the last gate, or is hopeless.

    One look serves as many gates as it passes. A cluster or broker that doesn't answer says nothing about the job: it
    is asked again until the deadline.
    """
    last: str | None = None
    left = list(order.gates)
    async with AsyncFlinkClient(order.flink_url) as flink:
        while left:
            look = await _look(order, flink)
            while left:
                gate = left[0]
                reading = look if isinstance(look, Reading) else _judge(order, gate, look)
                if time.time() > order.deadline and not reading.passed:
                    reading = Reading(passed=False, hopeless=True, words=f"{reading.words}, at the deadline")
                if reading.words != last or reading.passed or reading.hopeless:
                    yield gate, reading
                    last = reading.words
                if reading.hopeless:
                    return
                if not reading.passed:
                    await asyncio.sleep(_PAUSE)
                    break
                left.pop(0)


async def _look(order: GateOrder, flink: AsyncFlinkClient) -> Snapshot | Reading:
    try:
        return await probe(flink, order.flink_job_id, order.topics, order.kafka, order.group)
    except UnreachableError as error:
        return Reading(passed=False, words=str(error))


def _judge(order: GateOrder, gate: Gate, snapshot: Snapshot) -> Reading:
    restored = _restored(order, snapshot) if gate == "running" else None
    return restored or judge(gate, snapshot, order.health)


def _restored(order: GateOrder, snapshot: Snapshot) -> Reading | None:
    """A job that was restored from something else than it was told to is not the one that was meant."""
    wanted, found = order.restored_from, snapshot.restored_from
    if wanted is None or found is None or _path(found) == _path(wanted):
        return None
    if f"/{order.flink_job_id}/" in found:
        # It has failed over meanwhile, to a checkpoint of its own.
        return None
    return Reading(passed=False, hopeless=True, words=f"restored from {found}, not from {wanted}")


def _path(uri: str) -> str:
    """One spelling: Flink writes `file:/x` and takes `file:///x`."""
    return re.sub(r"^(\w+):/+", r"\1:/", uri)
