"""The share of a job's input that is left out: malformed, late, or dropped behind the watermark. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from sluice.health.formatting import seconds
from sluice.health.snapshot import WINDOW_MS, Snapshot
from sluice.health.tally import Tally, difference
from sluice.job.limits import Health

MIN_RECORDS = 100
MIN_SPAN_MS = 60_000
"""A share is judged once so many records came, or so much time has passed."""
_MOST = 0.5


@dataclass(frozen=True)
class Loss:
    """What a read or a window has left out for one cause.

    Attributes:
        lost: Records that a read, or rows that a window has left out.
        of: Records or rows that came in the same time.
        limit: The share that may be left out, 0 to 1.
        is_judged: Enough records came, or enough time has passed, to judge the job by the share.
        words: One line for a person.
    """

    lost: int
    of: int
    limit: float
    is_judged: bool
    words: str

    @property
    def exceeds(self) -> bool:
        """More than the limit is left out. Up to `MIN_RECORDS` records, a single one does not exceed it."""
        return self.lost > self.limit * max(self.of, MIN_RECORDS) or self.is_most

    @property
    def is_most(self) -> bool:
        """More than half is left out, or more than the limit if that is higher."""
        return self.lost > max(_MOST, self.limit) * self.of


def losses(snapshot: Snapshot, health: Health) -> tuple[Loss, ...]:
    """What is left out now, an entry for each cause; empty: nothing, or it isn't known.

    A share is computed since the newest earlier counters that are at least a minute old and have enough records since;
    without such counters, over the last ten minutes, or since the tasks started.
    """
    return tuple(loss for loss in _losses(snapshot, health) if loss.lost)


def _losses(snapshot: Snapshot, health: Health) -> Iterator[Loss]:
    tally = snapshot.tally
    if tally is None:
        return
    for number, read in enumerate(tally.reads):
        since, judged = _window(snapshot, tally, partial(_records, number))
        found = since.reads[number]
        records = found.records
        causes = (
            (found.malformed, health.malformed, f"malformed{_reason(snapshot, read.name)}"),
            (found.old, health.late, "left out: event time more than watermark_delay before their arrival"),
            (found.ahead, health.late, "left out: event time more than future_tolerance after their arrival"),
            (found.timeless, health.late, "left out: no event time"),
        )
        for lost, limit, cause in causes:
            yield Loss(lost, records, limit, judged, f"{read.name}: {lost:,} of {records:,} records {cause}")
    for number, window in enumerate(tally.windows):
        since, judged = _window(snapshot, tally, partial(_rows, number))
        rows = since.windows[number]
        words = f"{window.name}: {rows.late:,} of {rows.rows:,} rows dropped: behind the watermark{_ahead(snapshot)}"
        # Without numRecordsIn, at least the dropped rows came.
        yield Loss(rows.late, max(rows.rows, rows.late), health.late, judged, words)


def _records(number: int, tally: Tally) -> int:
    return tally.reads[number].records


def _rows(number: int, tally: Tally) -> int:
    return tally.windows[number].rows


def _window(snapshot: Snapshot, tally: Tally, count: Callable[[Tally], int]) -> tuple[Tally, bool]:
    """What was counted in the time that is judged, and whether that is enough to judge."""
    for then in reversed(snapshot.past):
        since, span = difference(tally, then), tally.at_ms - then.at_ms
        if span >= MIN_SPAN_MS and count(since) >= MIN_RECORDS:
            return since, True
    span = snapshot.cluster_ms - snapshot.began_ms if snapshot.began_ms else snapshot.running_ms
    oldest: Tally | None = None
    if snapshot.past and span > WINDOW_MS:
        oldest = snapshot.past[0]
        span = tally.at_ms - oldest.at_ms
    since = difference(tally, oldest)
    return since, span >= MIN_SPAN_MS or count(since) >= MIN_RECORDS


def _reason(snapshot: Snapshot, read: str) -> str:
    first, last = snapshot.reasons.get(read, ("", ""))
    words = f"; first reason {first or last}" if first or last else ""
    return f"{words}; last {last}" if last and last != first else words


def _ahead(snapshot: Snapshot) -> str:
    """The cause of a watermark ahead of the clock: a record's Kafka timestamp lies in the future."""
    lag = snapshot.watermark_lag_ms
    if lag is None or lag >= 0:
        return ""
    return f", which a record with a Kafka timestamp in the future has set to {seconds(-lag)} ahead of the clock"
