"""Wait for the gates of a job to pass: one asynchronous loop, used by the shell and by Airflow's triggerer."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections import defaultdict
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from sluice.clock import MACHINE, Clock
from sluice.errors import FlinkError, UnreachableError
from sluice.flink import calls
from sluice.flink.client import AsyncFlinkClient
from sluice.flink.stale_metrics import fetch_interval
from sluice.health.formatting import clock
from sluice.health.gates import REPEATEDLY, Gate, Reading, judge, repeats_own_failure
from sluice.health.probe import probe
from sluice.health.progress import MetricsAge, Proof
from sluice.health.snapshot import Snapshot
from sluice.kafka.client import Brokers
from sluice.operation.gate_order import GateOrder
from sluice.project import Project
from sluice.state.offsets import offsets_by_partition

_PAUSE, _SHORT_PAUSE = 1.0, 0.25
"""Seconds between two snapshots, and between those of the first `_SOON` seconds, in which most jobs pass."""
_SOON = 10.0
_STALE_MS = 30_000
"""Metrics that haven't changed for so long may be stale: then the cluster is asked how often it fetches them."""
_FETCHES = 3
"""Metrics are stale once they haven't changed for so many fetch intervals, at least `_STALE_MS`."""


async def readings(project: Project, order: GateOrder) -> AsyncGenerator[tuple[Gate, Reading]]:
    """Poll the job; yield each changed reading with its gate. The last one is of the last gate, or is hopeless.

    One snapshot may pass several gates. An error of the cluster or of a broker is no finding about the job: the
    request is repeated until the deadline.
    """
    last: str | None = None
    watch = _Watch(project.brokers, order, project.clock)
    left = list(order.gates)
    began = project.clock.now()
    async with project.connect_async() as flink:
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
                    await watch.request_checkpoint(flink)
                    soon = (project.clock.now() - began).total_seconds() < _SOON
                    await project.clock.pause(_SHORT_PAUSE if soon else _PAUSE)
                    break
                left.pop(0)


def port_readings(project: Project, order: GateOrder) -> AsyncGenerator[tuple[Gate, Reading]]:
    """The readings from the project's port `gates`; by default those of `readings`."""
    return (project.ports.gates or readings)(project, order)


def look(project: Project, order: GateOrder) -> Reading:
    """The current reading of the first gate, from one snapshot."""

    async def first() -> Reading:
        async with aclosing(port_readings(project, order)) as found:
            _, reading = await anext(found)
            return reading

    return asyncio.run(first())


class _Watch:
    """The observations so far: the previous snapshot, and the earlier readings of each gate."""

    def __init__(self, brokers: Brokers, order: GateOrder, clock: Clock = MACHINE) -> None:
        self._clock = clock
        self._brokers = brokers
        self._order = order
        self._former: Snapshot | None = None
        self._proof: Proof | None = None
        self._requested_at_start: int | None = None
        self._not_triggered = ""
        self._metrics_age = MetricsAge()
        self._stale_after_ms: float | None = None
        self._stale = ""
        self._earlier: defaultdict[Gate, list[Reading]] = defaultdict(list)

    async def look(self, flink: AsyncFlinkClient) -> Snapshot | Reading:
        """A snapshot of the job, or a reading that says why none could be taken."""
        order = self._order
        started_at = offsets_by_partition(order.positions or {}, order.topics)
        try:
            if self._proof is None and order.requires_proof and "running" in order.gates:
                # Read the ends before the first snapshot: records that arrive later were not waiting at the start.
                ends = await asyncio.to_thread(self._brokers.stable_ends, order.topics)
                self._proof = Proof(ends, started_at)
            self._former = await probe(
                flink,
                order.flink_job_id,
                order.topics,
                self._brokers,
                order.group,
                previous=self._former,
                started_at=started_at,
                untimed=order.untimed,
            )
            self._stale = await self._stale_metrics(flink, self._former)
        except (UnreachableError, FlinkError) as error:
            return Reading(passed=False, words=str(error))
        return self._former

    async def _stale_metrics(self, flink: AsyncFlinkClient, snapshot: Snapshot) -> str:
        """That the cluster's metrics are stale, one line; empty: they aren't.

        No gate can pass until they change. See `sluice.flink.stale_metrics`.
        """
        age_ms = self._metrics_age.stale_ms(snapshot)
        if age_ms < _STALE_MS:
            return ""
        if self._stale_after_ms is None:
            try:
                configuration = await flink.send(calls.cluster_config())
            except FlinkError:
                # Access may be denied: assume Flink's defaults.
                configuration = ()
            self._stale_after_ms = max(_STALE_MS, _FETCHES * fetch_interval(configuration).total_seconds() * 1000)
        if age_ms < self._stale_after_ms:
            return ""
        return f"the metrics of the cluster have not changed since {clock(snapshot.cluster_ms - age_ms)}"

    async def request_checkpoint(self, flink: AsyncFlinkClient) -> None:
        """Trigger a checkpoint if only that is missing; once after each start of the job's tasks."""
        snapshot, proof = self._former, self._proof
        if not self._order.triggers_checkpoint or snapshot is None or proof is None:
            return
        if not proof.lacks_only_checkpoint or self._requested_at_start == snapshot.began_ms:
            return
        self._not_triggered = ""
        try:
            await flink.send(calls.take_checkpoint(self._order.flink_job_id, self._trigger_id(snapshot.began_ms)))
        except UnreachableError:
            # The next snapshot tries again.
            return
        except FlinkError as error:
            # The job's own interval still leads to a checkpoint.
            self._not_triggered = error.message
        self._requested_at_start = snapshot.began_ms

    def _trigger_id(self, began_ms: int) -> str:
        """The id of the one checkpoint for this start of the tasks: Flink takes a repeated request as the first one."""
        return uuid.uuid5(uuid.UUID(self._order.flink_job_id), str(began_ms)).hex

    def _proven(self, look: Snapshot, reading: Reading) -> Reading:
        """The reading; passed only once a checkpoint covers the waiting records, and no restart has followed it."""
        missing = self._proof.missing(look) if self._proof else None
        if missing is not None and repeats_own_failure(look, self._order.health):
            # A checkpoint between two failures proves nothing: the records that cause them are still unread.
            often = "" if reading.words.endswith(REPEATEDLY) else REPEATEDLY
            return replace(reading, passed=False, hopeless=True, words=f"{reading.words}{often}; {missing}")
        if missing is None:
            return reading
        words = [reading.words]
        if reading.passed:
            words.append(missing)
        if self._not_triggered:
            words.append(f"triggering a checkpoint failed: {self._not_triggered}")
        return replace(reading, passed=False, words=", ".join(words))

    def read(self, gate: Gate, look: Snapshot | Reading) -> Reading:
        """The reading of a gate from a snapshot."""
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
            if self._stale and not reading.passed:
                reading = replace(reading, words=f"{reading.words}; {self._stale}")
        if self._clock.now().timestamp() > order.deadline and not reading.passed:
            return Reading(passed=False, hopeless=True, words=f"{reading.words}, at the deadline")
        return reading


def _restored(order: GateOrder, snapshot: Snapshot, reading: Reading) -> Reading | None:
    """A failed reading if the job was not restored from the state that it was submitted with; None: it was."""
    wanted, found = order.restored_from, snapshot.restored_from
    if wanted is None or (found is not None and _path(found) == _path(wanted)):
        return None
    if found is None:
        # The cluster may report it a moment later.
        words = f"{reading.words}, but the cluster reports no restored state, expected {wanted}"
        return Reading(passed=False, words=words) if reading.passed else None
    if f"/{order.flink_job_id}/" in found:
        # The job has failed over, to a checkpoint of its own.
        return None
    return Reading(passed=False, hopeless=True, words=f"restored from {found}, expected {wanted}")


def _before(order: GateOrder, snapshot: Snapshot) -> Reading | None:
    """A failed reading if the job reads records that its state already includes: it would count them twice."""
    for (topic, number), position in offsets_by_partition(order.positions or {}, order.topics).items():
        split = (snapshot.splits or {}).get((topic, number))
        if (
            split is not None
            and not split.is_guessed
            and split.next_offset is not None
            and split.next_offset < position
        ):
            found = f"reads {topic}-{number} from offset {split.next_offset:,}"
            words = f"{found}, expected at least {position:,}, the offset in its state"
            return Reading(passed=False, hopeless=True, words=words)
    return None


def _path(uri: str) -> str:
    """The URI with one slash after the scheme: Flink reports `file:/x` for `file:///x`."""
    return re.sub(r"^(\w+):/+", r"\1:/", uri)
