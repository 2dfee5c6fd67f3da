"""Telling whoever listens what is new to them: once, and again at the next sweep where it did not get through."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from sluice.fleet.changes import changes, reports
from sluice.fleet.needs import Needed
from sluice.fleet.rows import JobStatus, one_each
from sluice.release.told import Tellings

News = list[dict[str, Any]]
Listener = Callable[[News], None]


def tell_verdicts(told: Tellings, rows: Iterable[JobStatus], listeners: Mapping[str, Listener]) -> list[str]:
    """Tell each listener the verdicts that differ from what it was told last; see `changes`.

    Args:
        told: What they were told.
        rows: What was seen now, of the whole fleet.
        listeners: By their names. One that raises hinders no other, and is told again the next time.

    Returns:
        Which of them were not told, and why.
    """
    seen = one_each(rows, lambda row: row)
    after = {row.job: row.verdict for row in seen}
    return _tell(told, "verdict", listeners, lambda before: (changes(before, seen), after))


def tell_reports(
    told: Tellings, rows: Iterable[JobStatus], needs: Iterable[Needed], listeners: Mapping[str, Listener]
) -> list[str]:
    """Tell each listener what needs a person and was not told yet, though no verdict has changed; see `reports`.

    Args:
        told: What they were told.
        rows: What was seen now, of the whole fleet.
        needs: What the jobs need.
        listeners: See `tell_verdicts`.
    """
    seen, wanted = one_each(rows, lambda row: row), list(needs)
    return _tell(told, "report", listeners, lambda before: reports(before, seen, wanted))


def _tell(
    told: Tellings,
    subject: Literal["verdict", "report"],
    listeners: Mapping[str, Listener],
    find: Callable[[Mapping[str, str]], tuple[News, Mapping[str, str]]],
) -> list[str]:
    untold = []
    for name, listener in listeners.items():
        news, after = find(told.known(name, subject))
        if news:
            try:
                listener(news)
            except Exception as error:  # noqa: BLE001 - a listener is anybody's code
                untold.append(f"{name} was not told, and will be at the next sweep: {type(error).__name__}: {error}")
                continue
        told.keep(name, subject, after)
    return untold
