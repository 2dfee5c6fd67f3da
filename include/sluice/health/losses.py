"""How much of a job's input is left out: malformed, late, or dropped behind the watermark. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from sluice.health.snapshot import WINDOW_MS, Snapshot
from sluice.health.tally import Tally, difference
from sluice.health.words import seconds
from sluice.job.limits import Health

LEAST_RECORDS = 100
LEAST_MS = 60_000
"""Over how many records, or how long, a share is judged at the least."""
_HALF = 0.5


@dataclass(frozen=True)
class Loss:
    """What a read or a window has left out for one cause.

    Attributes:
        lost: Records of a read, or rows of a window.
        of: How many came in the same time.
        limit: Which share of them may be left out, 0 to 1.
        is_judged: They are enough, or were watched for long enough, to say something of the job.
        words: One line.
    """

    lost: int
    of: int
    limit: float
    is_judged: bool
    words: str

    @property
    def exceeds(self) -> bool:
        """It is more than the limit; of few records a single one is not."""
        return self.lost > self.limit * max(self.of, LEAST_RECORDS) or self.is_most

    @property
    def is_most(self) -> bool:
        """It is more than half, or than the limit where that is more."""
        return self.lost > max(_HALF, self.limit) * self.of


def losses(snapshot: Snapshot, health: Health) -> tuple[Loss, ...]:
    """What is left out at present, each cause by itself; empty: nothing, or it isn't known.

    Each is judged over the newest earlier counters which are old enough and have enough records since; over all that is
    known where there are none. Those are the counters of ten minutes, or since the tasks began.
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
        # An operator that does not tell how many rows came has been given those that it dropped, at the least.
        yield Loss(rows.late, max(rows.rows, rows.late), health.late, judged, words)


def _records(number: int, tally: Tally) -> int:
    return tally.reads[number].records


def _rows(number: int, tally: Tally) -> int:
    return tally.windows[number].rows


def _window(snapshot: Snapshot, tally: Tally, count: Callable[[Tally], int]) -> tuple[Tally, bool]:
    """What was counted in the time that is judged by, and whether that is enough."""
    for then in reversed(snapshot.past):
        since, span = difference(tally, then), tally.at_ms - then.at_ms
        if span >= LEAST_MS and count(since) >= LEAST_RECORDS:
            return since, True
    span = snapshot.cluster_ms - snapshot.began_ms if snapshot.began_ms else snapshot.running_ms
    oldest: Tally | None = None
    if snapshot.past and span > WINDOW_MS:
        oldest = snapshot.past[0]
        span = tally.at_ms - oldest.at_ms
    since = difference(tally, oldest)
    return since, span >= LEAST_MS or count(since) >= LEAST_RECORDS


def _reason(snapshot: Snapshot, read: str) -> str:
    first, last = snapshot.reasons.get(read, ("", ""))
    words = f"; first reason {first or last}" if first or last else ""
    return f"{words}; last {last}" if last and last != first else words


def _ahead(snapshot: Snapshot) -> str:
    """A watermark ahead of the clock: a record's Kafka timestamp was."""
    lag = snapshot.watermark_lag_ms
    if lag is None or lag >= 0:
        return ""
    return f", which a record with a Kafka timestamp in the future has set to {seconds(-lag)} ahead of the clock"
