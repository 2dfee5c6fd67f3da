"""Print the fleet: once, repeatedly, or as metrics."""

from __future__ import annotations

import json as json_format
import sys
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict

from rich.console import Console
from rich.live import Live

from sluice.cli.output import print_json
from sluice.errors import OperationError
from sluice.fleet.exposition import render
from sluice.fleet.rows import JobObservation, JobStatus
from sluice.fleet.status import fleet_status, last_snapshots, observe, sweep_and_record
from sluice.fleet.table import fleet_table, print_fleet
from sluice.health.snapshot import Snapshot
from sluice.health.trend import choose_previous
from sluice.job.duration import epoch_milliseconds
from sluice.project import Project
from sluice.terminal import console

Observe = Callable[[Project, Sequence[str], Mapping[str, Snapshot]], list[JobObservation]]
"""Observes jobs once; see `sluice.fleet.status.observe`."""
_REMEMBERED = 30
"""The number of snapshots per job that are kept for comparison."""


def show_fleet(project: Project, jobs: Sequence[str], *, json: bool) -> None:
    """Print the jobs."""
    rows = fleet_status(project, jobs)
    if json:
        print_json(rows)
    else:
        print_fleet(rows)


def watch_fleet(
    project: Project,
    jobs: Sequence[str],
    seconds: float,
    *,
    json: bool,
    observe: Observe = observe,
    screen: Console = console,
) -> None:
    """Print the jobs until interrupted: one table that is updated, or a line of JSON per observation.

    Args:
        project: The project.
        jobs: The jobs' names; empty: all.
        seconds: The time between the beginnings of two observations.
        json: Print JSON.
        observe: Observes the jobs once.
        screen: Shows the table.
    """
    if json:
        _watch(project, jobs, seconds, _print_line, observe)
        return
    with Live(console=screen, auto_refresh=False) as live:
        _watch(project, jobs, seconds, lambda rows: live.update(fleet_table(rows), refresh=True), observe)


def _watch(
    project: Project,
    jobs: Sequence[str],
    seconds: float,
    show: Callable[[list[JobStatus]], None],
    observe: Observe,
) -> None:
    earlier: defaultdict[str, deque[Snapshot]] = defaultdict(lambda: deque(maxlen=_REMEMBERED))
    for job, snapshot in last_snapshots(project).items():
        earlier[job].append(snapshot)
    clock = project.clock
    while True:
        began, now = clock.monotonic(), epoch_milliseconds(clock.now())
        chosen = {job: choose_previous(tuple(taken), now) for job, taken in earlier.items()}
        former = {job: snapshot for job, snapshot in chosen.items() if snapshot}
        project = project.reread()
        found = observe(project, jobs, former)
        for row in found:
            if row.snapshot is not None:
                earlier[row.status.job].append(row.snapshot)
        show([row.status for row in found])
        clock.sleep(max(0.0, began + seconds - clock.monotonic()))


def _print_line(rows: list[JobStatus]) -> None:
    sys.stdout.write(json_format.dumps([asdict(row) for row in rows], default=str) + "\n")
    sys.stdout.flush()


def show_metrics(project: Project, *, sweep: bool) -> None:
    """Print the metrics of the last sweep, or of a new one.

    Raises:
        OperationError: no sweep is recorded.
    """
    if sweep:
        sweep_and_record(project)
    samples = project.ledger.samples.last_sweep()
    if not samples and not sweep:
        raise OperationError(
            f"environment {project.environment} has not been swept yet", remedy="run sluice metrics --sweep"
        )
    sys.stdout.write(render(samples))
