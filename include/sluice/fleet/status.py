"""Looking at the fleet: for a person, who only reads, and for the record."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

from confluent_kafka.admin import AdminClient

from sluice.errors import SluiceError
from sluice.fleet.discrepancies import find_discrepancy
from sluice.fleet.exposition import write_metrics
from sluice.fleet.members import Member, all_names, read_members
from sluice.fleet.readings import to_sample, to_snapshot
from sluice.fleet.reconcile import IsGone, read_ledger_view
from sluice.fleet.rows import Found, JobStatus, one_each
from sluice.fleet.sweep import Pace, sweep
from sluice.flink.client import AsyncFlinkClient, FlinkClient
from sluice.flink.identity import identify
from sluice.health.snapshot import Snapshot
from sluice.operation.holder import is_gone
from sluice.project import Project

_COMPARABLE = timedelta(hours=1)
"""What is older than this, and than the last sweep, says nothing of where things go now."""


def fleet_status(project: Project, names: Iterable[str] = ()) -> list[JobStatus]:
    """The status of these jobs, or of all and what else runs on the cluster. Reads, and writes nothing."""
    return [found.status for found in look(project, names, last_snapshots(project))]


def look(project: Project, names: Iterable[str], former: Mapping[str, Snapshot]) -> list[Found]:
    """One sweep over these jobs, or over all and what else runs on the cluster; writes nothing.

    Args:
        project: The project.
        names: The jobs' names; none: all.
        former: Snapshots to compare with, by the job's name.

    Raises:
        ConfigError: there is no job of that name.
    """
    chosen = list(names)
    members = read_members(project, chosen or all_names(project), former)
    return look_at(project, members, is_whole=not chosen)


def sweep_and_record(project: Project, run: str | None = None, gone: IsGone = is_gone) -> list[Found]:
    """One sweep over the whole fleet: its samples go into the ledger, its metrics into a file.

    Args:
        project: The project.
        run: The run of redeploy_and_verify that looks; None: a person does.
        gone: See `read_ledger_view`.

    Returns:
        The rows, those of jobs that nobody declares as well.
    """
    began = datetime.now(UTC)
    members = read_members(project, all_names(project), last_snapshots(project))
    found = look_at(project, members, gone=gone)
    record(project, members, found, began, run)
    return found


def look_at(
    project: Project,
    members: Sequence[Member],
    *,
    is_whole: bool = True,
    admin: AdminClient | None = None,
    pace: Pace | None = None,
    gone: IsGone = is_gone,
) -> list[Found]:
    """One sweep over these members; see `sweep` and `read_ledger_view`."""

    async def go() -> list[Found]:
        async with AsyncFlinkClient(project.flink) as flink:
            return await sweep(
                members,
                flink,
                project.kafka,
                is_whole=is_whole,
                standing=partial(read_ledger_view, project, gone),
                admin=admin,
                pace=pace or Pace(),
                doubt=partial(find_discrepancy, project),
            )

    return asyncio.run(go())


def record(
    project: Project, members: Sequence[Member], found: Sequence[Found], began: datetime, run: str | None = None
) -> None:
    """Write down what a sweep has found.

    Args:
        project: The project.
        members: What was looked at.
        found: A row for each, and more.
        began: When the sweep began.
        run: See `sweep_and_record`.
    """
    ledger = project.ledger
    for member, row in zip(members, found, strict=False):
        snapshot, flink_job_id = row.snapshot, member.status.flink_job_id
        if snapshot and snapshot.checkpoints.completed and flink_job_id and not member.had_checkpoint:
            ledger.saw_checkpoint(member.status.job, flink_job_id)
    _keep_clusters(project, found)
    samples = [to_sample(project.environment, row, began, run) for row in one_each(found, lambda row: row.status)]
    ledger.samples.add(samples, older_than=began - timedelta(days=project.settings.sample_days))
    write_metrics(project.settings.home, project.environment, sorted(samples, key=lambda sample: sample.job))


def _keep_clusters(project: Project, found: Sequence[Found]) -> None:
    """Record on which cluster the jobs run that were started where the ledger did not keep that, or under an alias."""
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
    # Where it doesn't answer any more, the next sweep does it.
    with contextlib.suppress(SluiceError), FlinkClient(project.flink) as flink:
        cluster = identify(flink, project.flink_name).values
        for job, place in running.items():
            project.ledger.clusters.record(job, place.flink_job_id, cluster)


def last_snapshots(project: Project) -> dict[str, Snapshot]:
    """What the ledger's newest samples were made of, by the job's name."""
    known, recent = project.ledger.samples, datetime.now(UTC) - _COMPARABLE
    samples = known.newest(min(known.last_run() or recent, recent))
    snapshots = {job: to_snapshot(sample.readings) for job, sample in samples.items()}
    return {job: snapshot for job, snapshot in snapshots.items() if snapshot}
