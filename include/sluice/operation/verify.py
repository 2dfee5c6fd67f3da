"""Verify a started job at its gates, and finish the operation."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from datetime import UTC, datetime

from sluice.errors import FlinkError, OperationError, SluiceError
from sluice.flink import calls
from sluice.flink.client import FlinkClient
from sluice.flink.identity import identify
from sluice.health.gates import GATES, Gate
from sluice.ledger.operation_handle import LEASE, OperationHandle
from sluice.ledger.values import Outcome
from sluice.operation.context import OperationContext
from sluice.operation.gate import port_readings
from sluice.operation.gate_order import gate_order
from sluice.operation.retention import thin
from sluice.operation.started import Log, Started
from sluice.project import Project


class GatesFailedError(OperationError):
    """The job did not pass a gate: the gate and its reading."""


class NotSettledError(OperationError):
    """The job is as planned, and the operation could not be ended. The next operation verifies the job again."""


def verify(context: OperationContext, started: Started) -> None:
    """Execute the stage `Verify`: wait until the job has passed its gates.

    Raises:
        GatesFailedError: it does not pass a gate.
        BusyError: another process has taken over the operation.
    """
    # The client process takes half a gigabyte, and the gates may take minutes.
    context.compiler.close()
    problem = failed_gate(context, started)
    if problem is not None:
        raise GatesFailedError(problem)


def failed_gate(context: OperationContext, started: Started, gates: Iterable[Gate] = GATES) -> str | None:
    """Wait until the job has passed these gates; the gate that it does not pass, with its reading, or None.

    Raises:
        BusyError: another process has taken over the operation.
    """
    return asyncio.run(pass_gates(context.project, context.operation, started, context.log, gates))


def settle_started(context: OperationContext, started: Started) -> tuple[Outcome, int | None]:
    """Execute the stage `Settle`: finish the operation; the outcome and the downtime in ms.

    Raises:
        NotSettledError: the operation could not be finished.
    """
    try:
        return settle(context.project, context.flink, context.operation, started, context.log)
    except SluiceError as error:
        runs = started.flink_job_id is not None
        state = "it runs and has passed its gates" if runs else "it is suspended"
        raise NotSettledError(
            f"{context.job}: {state}, but the operation could not be completed: {error}",
            remedy=f"run sluice {'deploy' if runs else 'suspend'} {context.job} again to complete the operation",
        ) from error


async def pass_gates(
    project: Project, operation: OperationHandle, started: Started, log: Log, gates: Iterable[Gate] = GATES
) -> str | None:
    """Wait for each gate to pass, holding the lock; why the job does not pass, or None.

    Raises:
        BusyError: another process has taken over the operation.
    """
    job = operation.row.job
    order = gate_order(project, job, started, tuple(gates), log)
    operation.keep_until(datetime.fromtimestamp(order.deadline, UTC) + LEASE)
    async for gate, reading in port_readings(project, order):
        log(reading.words)
        if reading.hopeless:
            return f"{gate}: {reading.words}"
        if reading.passed:
            record_passed(project, job, gate, started)
    return None


def record_passed(project: Project, job: str, gate: Gate, started: Started) -> None:
    """Record what a passed gate shows. The gate `running`: the job has completed a checkpoint since its start."""
    if gate == "running" and started.flink_job_id:
        project.ledger.saw_checkpoint(job, started.flink_job_id)


def settle(
    project: Project, flink: FlinkClient, operation: OperationHandle, started: Started, log: Log
) -> tuple[Outcome, int | None]:
    """Finish an operation whose job was suspended or has passed every gate; the outcome and the downtime in ms."""
    if started.flink_job_id is None:
        operation.finish(Outcome.SUSPENDED)
        return Outcome.SUSPENDED, None
    place = project.ledger.placement(operation.row.job)
    if place is not None and place.cluster is None:
        # An older Sluice recorded no cluster at the start. If this request fails, the next sweep records it.
        with contextlib.suppress(SluiceError):
            cluster = identify(flink, project.flink_name).values
            project.ledger.clusters.record(place.job, started.flink_job_id, cluster)
    downtime = None
    if started.former_job_id:
        downtime = measure_downtime(flink, started.former_job_id, started.flink_job_id)
        if downtime is not None:
            operation.update(downtime_ms=downtime)
            log(f"downtime {downtime / 1000:.2f} s, from the old job's end until all tasks ran")
    outcome = Outcome.HEALTHY
    if started.unchanged:
        outcome = Outcome.UNCHANGED
    elif started.recorded:
        outcome = Outcome.RECORDED
    operation.finish(outcome)
    thin(project, flink, operation.row.job, log)
    return outcome, downtime


def measure_downtime(flink: FlinkClient, former: str, new: str) -> int | None:
    """The time from the former job's end until the last task of the new one ran, by the JobManager's clock, in ms.

    None: the cluster no longer knows the former job, or not all tasks of the new one run.
    """
    try:
        ended = flink.send(calls.job(former)).end_time
        running = last_running(flink, new)
    except FlinkError:
        return None
    return running - ended if ended > 0 and running is not None else None


def last_running(flink: FlinkClient, job: str) -> int | None:
    """When the last of a Flink job's subtasks began to run, in epoch ms; None: some subtasks don't run yet.

    Raises:
        FlinkError: the cluster doesn't know the job.
    """
    vertices = flink.send(calls.job(job)).vertices
    moments = [flink.send(calls.subtask_times(job, vertex.id)).running_since for vertex in vertices]
    known = [moment for moment in moments if moment is not None]
    return max(known) if known and len(known) == len(moments) else None
