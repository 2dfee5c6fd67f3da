"""Run a sweep over the fleet: for a person, without writing anything, or to be recorded."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial

from sluice.errors import SluiceError
from sluice.fleet.discrepancies import find_discrepancy
from sluice.fleet.exposition import write_metrics
from sluice.fleet.members import Member, all_names, read_members
from sluice.fleet.readings import to_sample, to_snapshot
from sluice.fleet.reconcile import HolderEnded, read_ledger_view
from sluice.fleet.rows import JobObservation, JobStatus, one_per_job
from sluice.fleet.sweep import SweepBudget, sweep
from sluice.flink.identity import identify
from sluice.health.snapshot import Snapshot
from sluice.operation.holder import is_gone
from sluice.project import Project

_COMPARABLE = timedelta(hours=1)
"""Older snapshots, unless they are of the last sweep, are not compared with."""


def fleet_status(project: Project, names: Iterable[str] = ()) -> list[JobStatus]:
    """The status of these jobs; without names, of all jobs and of what else runs on the cluster. Writes nothing."""
    return [found.status for found in observe(project, names, last_snapshots(project))]


def observe(project: Project, names: Iterable[str], previous: Mapping[str, Snapshot]) -> list[JobObservation]:
    """One sweep over these jobs; without names, over all jobs and what else runs on the cluster. Writes nothing.

    Args:
        project: The project.
        names: The jobs' names.
        previous: Snapshots to compare with, by the job's name.

    Raises:
        ConfigError: there is no job of that name.
    """
    chosen = list(names)
    members = read_members(project, chosen or all_names(project), previous)
    return observe_members(project, members, is_whole=not chosen)


def sweep_and_record(
    project: Project, run: str | None = None, has_ended: HolderEnded = is_gone
) -> list[JobObservation]:
    """One sweep over the whole fleet; its samples go into the ledger, its metrics into a file.

    Args:
        project: The project.
        run: The run of redeploy_and_verify that sweeps; None: a person does.
        has_ended: See `read_ledger_view`.

    Returns:
        The rows, also those of jobs that no file declares.
    """
    began = project.clock.now()
    members = read_members(project, all_names(project), last_snapshots(project))
    found = observe_members(project, members, has_ended=has_ended)
    record(project, members, found, began, run)
    return found


def observe_members(
    project: Project,
    members: Sequence[Member],
    *,
    is_whole: bool = True,
    budget: SweepBudget | None = None,
    has_ended: HolderEnded = is_gone,
) -> list[JobObservation]:
    """One sweep over these members; see `sweep` and `read_ledger_view`."""

    async def go() -> list[JobObservation]:
        async with project.connect_async() as flink:
            return await sweep(
                members,
                flink,
                project.brokers,
                is_whole=is_whole,
                read_ledger=partial(read_ledger_view, project, has_ended),
                budget=budget or SweepBudget(),
                find_discrepancy=partial(find_discrepancy, project),
            )

    return asyncio.run(go())


def record(
    project: Project,
    members: Sequence[Member],
    found: Sequence[JobObservation],
    began: datetime,
    run: str | None = None,
) -> None:
    """Record a sweep.

    Args:
        project: The project.
        members: The jobs of the sweep.
        found: A row for each of them in the same order, then further rows.
        began: When the sweep began.
        run: See `sweep_and_record`.
    """
    ledger = project.ledger
    for member, row in zip(members, found, strict=False):
        snapshot, flink_job_id = row.snapshot, member.status.flink_job_id
        if snapshot and snapshot.checkpoints.completed and flink_job_id and not member.had_checkpoint:
            ledger.saw_checkpoint(member.status.job, flink_job_id)
    _keep_clusters(project, found)
    samples = [to_sample(project.environment, row, began, run) for row in one_per_job(found, lambda row: row.status)]
    ledger.samples.add(samples, older_than=began - timedelta(days=project.settings.sample_days))
    write_metrics(project.settings.home, project.environment, sorted(samples, key=lambda sample: sample.job))


def _keep_clusters(project: Project, found: Sequence[JobObservation]) -> None:
    """Record the cluster of jobs that run, for placements without a cluster, or with another address of it."""
    places = project.ledger.places()
    running = {
        row.status.job: place
        for row in found
        if row.snapshot and row.snapshot.state and not row.snapshot.state.is_terminal
        if (place := places.get(row.status.job)) and place.flink_job_id == row.status.flink_job_id
        if place.cluster is None or place.cluster["url"] != project.flink_url
    }
    if not running:
        return
    # If Flink doesn't answer any more, the next sweep records it.
    with contextlib.suppress(SluiceError), project.connect() as flink:
        cluster = identify(flink, project.flink_name).values
        for job, place in running.items():
            project.ledger.clusters.record(job, place.flink_job_id, cluster)


def last_snapshots(project: Project) -> dict[str, Snapshot]:
    """The snapshots in the ledger's newest samples, by the job's name."""
    known, recent = project.ledger.samples, project.clock.now() - _COMPARABLE
    samples = known.newest(min(known.last_run() or recent, recent))
    snapshots = {job: to_snapshot(sample.readings) for job, sample in samples.items()}
    return {job: snapshot for job, snapshot in snapshots.items() if snapshot}
