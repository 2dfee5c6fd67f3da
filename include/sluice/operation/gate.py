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
        deadline: Unix time, seconds, until which it must be passed.
        restored_from: The savepoint or checkpoint that the job must have been restored from; None: not looked at.
    """

    gate: Gate
    flink_url: str
    flink_job_id: str
    topics: tuple[str, ...]
    kafka: Mapping[str, str]
    group: str
    health: Health
    deadline: float
    restored_from: str | None = None


async def readings(order: GateOrder) -> AsyncIterator[Reading]:
    """Look again and again; each changed reading, the last of which is passed or hopeless.

    A cluster or broker that doesn't answer says nothing about the job: it is asked again until the deadline.
    """
    last: str | None = None
    snapshot: Snapshot | None = None
    earlier: list[Reading] = []
    async with AsyncFlinkClient(order.flink_url) as flink:
        while True:
            try:
                snapshot = await probe(
                    flink, order.flink_job_id, order.topics, order.kafka, order.group, former=snapshot
                )
                judged = judge(order.gate, snapshot, order.health, earlier, int(order.deadline * 1000))
                earlier.append(judged)
                reading = _restored(order, snapshot) or judged
            except UnreachableError as error:
                reading = Reading(passed=False, words=str(error))
            if time.time() > order.deadline and not reading.passed:
                reading = Reading(passed=False, hopeless=True, words=f"{reading.words}, at the deadline")
            if reading.words != last or reading.passed or reading.hopeless:
                yield reading
                last = reading.words
            if reading.passed or reading.hopeless:
                return
            await asyncio.sleep(_PAUSE)


def _restored(order: GateOrder, snapshot: Snapshot) -> Reading | None:
    """A job that was restored from something else than it was told to is not the one that was meant."""
    wanted, found = order.restored_from, snapshot.restored_from
    if order.gate != "running" or wanted is None or found is None or _path(found) == _path(wanted):
        return None
    if f"/{order.flink_job_id}/" in found:
        # It has failed over meanwhile, to a checkpoint of its own.
        return None
    return Reading(passed=False, hopeless=True, words=f"restored from {found}, not from {wanted}")


def _path(uri: str) -> str:
    """One spelling: Flink writes `file:/x` and takes `file:///x`."""
    return re.sub(r"^(\w+):/+", r"\1:/", uri)
