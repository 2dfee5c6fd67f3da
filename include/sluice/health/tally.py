"""Counters of a job's reads and windows: records that came, and those that were left out, by cause. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import TypeVar

_TABLE = re.compile(r".*default_database_(?P<read>.+?)(__topic)?$")
"""The name of a read's source operator in metrics. Flink cuts it to 80 characters, so a long name loses its end."""


@dataclass(frozen=True)
class ReadCounts:
    """Counters of a read's source since its tasks started, in records.

    Attributes:
        name: The read.
        records: All records that came.
        malformed: Left out: they break the contract.
        reported: They break the contract, and the job reads them on purpose (`with_malformed`).
        old: Left out: event time more than `watermark_delay` before arrival, or than `past_tolerance` if smaller.
        ahead: Left out: event time more than `future_tolerance` after arrival.
        timeless: Left out: no event time.
    """

    name: str
    records: int = 0
    malformed: int = 0
    reported: int = 0
    old: int = 0
    ahead: int = 0
    timeless: int = 0

    @property
    def misdated(self) -> int:
        """Records left out for their event time."""
        return self.old + self.ahead + self.timeless


@dataclass(frozen=True)
class WindowCounts:
    """Counters of an operator that drops late rows, since its tasks started, in rows.

    Where Flink aggregates records before the window, a row may stand for several records.
    """

    name: str
    rows: int = 0
    late: int = 0


Counts = TypeVar("Counts", ReadCounts, WindowCounts)


@dataclass(frozen=True)
class Tally:
    """The counters of a job at a moment in epoch milliseconds."""

    at_ms: int
    reads: tuple[ReadCounts, ...] = ()
    windows: tuple[WindowCounts, ...] = ()

    def is_before(self, later: Tally) -> bool:
        """Whether no counter is smaller in the later tally, as it would be after the tasks restarted."""
        return all(_only_grew(now, then) for now, then in _pairs(later.reads, self.reads)) and all(
            _only_grew(now, then) for now, then in _pairs(later.windows, self.windows)
        )

    @property
    def malformed(self) -> int:
        """Records that break the contract, left out or not."""
        return sum(read.malformed + read.reported for read in self.reads)

    @property
    def late(self) -> int:
        """Records that reads, and rows that windows have left out for their event time."""
        return sum(read.misdated for read in self.reads) + sum(window.late for window in self.windows)

    @property
    def records(self) -> int:
        """All records that came."""
        return sum(read.records for read in self.reads)


def read_name(operator: str) -> str | None:
    """The read whose table a source operator reads; None: the operator is a source of the pipeline's own."""
    match = _TABLE.fullmatch(operator)
    return match["read"] if match else None


def difference(now: Tally, then: Tally | None) -> Tally:
    """What was counted between two moments; without an earlier one, since the tasks started."""
    if then is None:
        return now
    return Tally(
        now.at_ms,
        tuple(_subtract(new, old) for new, old in _pairs(now.reads, then.reads, missing=ReadCounts(""))),
        tuple(_subtract(new, old) for new, old in _pairs(now.windows, then.windows, missing=WindowCounts(""))),
    )


def _only_grew(now: Counts, then: Counts) -> bool:
    names = [field.name for field in fields(now) if field.name != "name"]
    return all(getattr(now, name) >= getattr(then, name) for name in names)


def _subtract(new: Counts, old: Counts) -> Counts:
    counts = {
        field.name: max(0, getattr(new, field.name) - getattr(old, field.name))
        for field in fields(new)
        if field.name != "name"
    }
    return type(new)(new.name, **counts)


def _pairs(
    now: Iterable[Counts], then: Iterable[Counts], missing: Counts | None = None
) -> Iterable[tuple[Counts, Counts]]:
    before: Mapping[str, Counts] = {item.name: item for item in then}
    for item in now:
        other = before.get(item.name, missing)
        if other is not None:
            yield item, other
