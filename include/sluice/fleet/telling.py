"""Telling whoever listens what is new to them: once, and again at the next sweep where it did not get through."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from sluice.fleet.changes import changes, known_then, reports
from sluice.fleet.decision import approval_cause
from sluice.fleet.needs import Needed
from sluice.fleet.rows import JobStatus, one_each
from sluice.ledger.notification_log import Tellings
from sluice.ledger.samples import Samples
from sluice.plan.model import Plan

News = list[dict[str, Any]]
Listener = Callable[[News], None]
_ASKED = ("run", "approval")
"""The listener and the subject of what a run was made for that asks a person."""
_IN_VAIN = "in vain: "
"""Before the fingerprint of what nobody could be asked about."""


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
    return _tell(told, "verdict", listeners, lambda before: (changes(before, seen), known_then(before, seen)))


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


def tell_approval(
    told: Tellings, samples: Samples, plan: Plan, words: str, listeners: Mapping[str, Listener]
) -> list[str]:
    """Tell each listener that a plan waits for an approval, once; a sweep that comes to the same tells it no more.

    Args:
        told: What they were told.
        samples: What the sweeps have seen: how the job is.
        plan: The plan.
        words: What is to be done.
        listeners: See `tell_verdicts`.
    """
    last = next(reversed(samples.of(plan.job, datetime.now(UTC) - timedelta(days=1))), None)
    state, verdict = (last.state, last.verdict) if last else ("unknown", "unknown")
    change = {"job": plan.job, "old": verdict, "new": verdict, "state": state, "reasons": [words]}
    cause = approval_cause(plan.fingerprint)

    def find(before: Mapping[str, str]) -> tuple[News, Mapping[str, str]]:
        return ([] if before.get(plan.job) == cause else [change]), {**before, plan.job: cause}

    return _tell(told, "report", listeners, find)


def newly_to_ask(told: Tellings, needs: Sequence[Needed]) -> list[Needed]:
    """What a person is to be asked to approve, and was not asked for before; the ledger remembers that it is now."""
    wanted = {needed.job: needed.to_ask.fingerprint for needed in needs if needed.to_ask}
    known = told.known(*_ASKED)
    # What was asked stays known while it is desired: a run that was deleted is not made again and again.
    causes = {each.job: each.decision.cause for each in needs if each.decision.cause}
    kept = {job: asked for job, asked in known.items() if causes.get(job) == approval_cause(asked)}
    told.keep(*_ASKED, {**kept, **wanted})
    return [each for each in needs if each.job in wanted and known.get(each.job) != wanted[each.job]]


def not_asked(told: Tellings) -> set[str]:
    """The jobs whose approval was to be asked for the last time, and no run came about that would have asked."""
    return {job for job, asked in told.known(*_ASKED).items() if asked.startswith(_IN_VAIN)}


def asked_in_vain(told: Tellings, jobs: Iterable[str]) -> None:
    """Remember that the run which was to ask about a job could not be made: the next sweep asks again."""
    known, unmade = told.known(*_ASKED), frozenset(jobs)
    told.keep(*_ASKED, {job: f"{_IN_VAIN}{asked}" if job in unmade else asked for job, asked in known.items()})


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
