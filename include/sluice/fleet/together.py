"""Jobs that stand still at the same time: what they share is at fault for that. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from sluice.fleet.rows import Found
from sluice.health.faults import fails_by_its_own
from sluice.job.duration import milliseconds
from sluice.job.limits import Health


def acquit_together(judged: Iterable[tuple[Found, Health]]) -> list[Found]:
    """The rows; of those that stand still where others do as well, none does so by its own.

    Args:
        judged: Rows of jobs that share the brokers and the cluster, each with its job's limits.
    """
    rows = list(judged)
    still = [found.status.job for found, health in rows if _stands_still(found, health)]
    return [_acquitted(found, health, still) for found, health in rows]


def _stands_still(found: Found, health: Health) -> bool:
    return found.snapshot is not None and found.snapshot.reads_nothing_of_its_input(milliseconds(health.stall))


def _acquitted(found: Found, health: Health, still: list[str]) -> Found:
    status, snapshot = found.status, found.snapshot
    if len(still) < 2 or status.job not in still or not status.own_fault or snapshot is None:
        return found
    if fails_by_its_own(snapshot, health):
        return found
    words = f"{len(still)} jobs stand still at once, so that it may be what they share: the brokers, the cluster"
    return replace(found, status=replace(status, own_fault=False, reasons=(*status.reasons, words)))
