"""Notify of changed verdicts and needs: each once, and again at the next sweep where a notifier failed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from sluice.fleet.decision import approval_cause
from sluice.fleet.needs import Needed
from sluice.fleet.rows import CHANGING, JobStatus, one_each
from sluice.ledger.notification_log import NotificationLog
from sluice.ledger.samples import Samples
from sluice.plan.model import Plan

_NOT_SEEN = ("unreachable", CHANGING)


def changes(before: Mapping[str, str], rows: Iterable[JobStatus]) -> list[dict[str, Any]]:
    """A job seen for the first time has changed only if something is wrong with it.

    `unknown` says that a job could not be judged, not that it has changed: what it was before goes on being compared
    only while sweeps see it, so going into and coming out of `unknown` are both told. Of a job that an operation
    changes at this moment nothing is told.

    Args:
        before: The verdicts that were told last, by the job's name.
        rows: What was seen now.

    Returns:
        A list of {job, old, new, state, reasons}.
    """
    return [
        _change(row, before.get(row.job), row.reasons)
        for row in rows
        if row.state != CHANGING
        and before.get(row.job, "healthy") != row.verdict
        and not (row.job not in before and row.verdict == "idle")
    ]


def known_then(before: Mapping[str, str], rows: Iterable[JobStatus]) -> dict[str, str]:
    """The verdicts that are known once these rows are told; of a job that is being changed, what was known before."""
    verdicts = {row.job: before.get(row.job) if row.state == CHANGING else row.verdict for row in rows}
    return {job: verdict for job, verdict in verdicts.items() if verdict is not None}


def reports(
    before: Mapping[str, str], rows: Iterable[JobStatus], needs: Iterable[Needed]
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """What needs a person in a job whose verdict doesn't tell: given up, an approval, what can't be deployed.

    Args:
        before: The causes that were told last, by the job's name.
        rows: What was seen now.
        needs: What the jobs need.

    Returns:
        A list as that of `changes`, `old` and `new` the same, `reasons` what is to be done; and the causes that are
        known once it is told. Of a job that could not be looked at, that is what was known before.
    """
    seen = {row.job: row for row in rows}
    causes = {each.job: each for each in needs if each.decision.cause}
    news = [
        _change(seen[job], seen[job].verdict, (each.decision.why,))
        for job, each in causes.items()
        if before.get(job) != each.decision.cause
    ]
    kept = {job: cause for job, cause in before.items() if job in seen and seen[job].state in _NOT_SEEN}
    return news, {**kept, **{job: each.decision.cause or "" for job, each in causes.items()}}


def _change(row: JobStatus, old: str | None, reasons: Iterable[str]) -> dict[str, Any]:
    return {"job": row.job, "old": old, "new": row.verdict, "state": row.state, "reasons": list(reasons)}


News = list[dict[str, Any]]
Listener = Callable[[News], None]
_ASKED = ("run", "approval")
"""The listener and the subject of what a run was made for that asks a person."""
_IN_VAIN = "in vain: "
"""Before the fingerprint of what nobody could be asked about."""


def notify_verdicts(told: NotificationLog, rows: Iterable[JobStatus], listeners: Mapping[str, Listener]) -> list[str]:
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


def notify_reports(
    told: NotificationLog, rows: Iterable[JobStatus], needs: Iterable[Needed], listeners: Mapping[str, Listener]
) -> list[str]:
    """Tell each listener what needs a person and was not told yet, though no verdict has changed; see `reports`.

    Args:
        told: What they were told.
        rows: What was seen now, of the whole fleet.
        needs: What the jobs need.
        listeners: See `notify_verdicts`.
    """
    seen, wanted = one_each(rows, lambda row: row), list(needs)
    return _tell(told, "report", listeners, lambda before: reports(before, seen, wanted))


def notify_approval(
    told: NotificationLog, samples: Samples, plan: Plan, words: str, listeners: Mapping[str, Listener]
) -> list[str]:
    """Tell each listener that a plan waits for an approval, once; a sweep that comes to the same tells it no more.

    Args:
        told: What they were told.
        samples: What the sweeps have seen: how the job is.
        plan: The plan.
        words: What is to be done.
        listeners: See `notify_verdicts`.
    """
    last = next(reversed(samples.of(plan.job, datetime.now(UTC) - timedelta(days=1))), None)
    state, verdict = (last.state, last.verdict) if last else ("unknown", "unknown")
    change = {"job": plan.job, "old": verdict, "new": verdict, "state": state, "reasons": [words]}
    cause = approval_cause(plan.fingerprint)

    def find(before: Mapping[str, str]) -> tuple[News, Mapping[str, str]]:
        return ([] if before.get(plan.job) == cause else [change]), {**before, plan.job: cause}

    return _tell(told, "report", listeners, find)


def new_approval_requests(told: NotificationLog, needs: Sequence[Needed]) -> list[Needed]:
    """What a person is to be asked to approve, and was not asked for before; the ledger remembers that it is now."""
    wanted = {needed.job: needed.to_ask.fingerprint for needed in needs if needed.to_ask}
    known = told.known(*_ASKED)
    # What was asked stays known while it is desired: a run that was deleted is not made again and again.
    causes = {each.job: each.decision.cause for each in needs if each.decision.cause}
    kept = {job: asked for job, asked in known.items() if causes.get(job) == approval_cause(asked)}
    told.keep(*_ASKED, {**kept, **wanted})
    return [each for each in needs if each.job in wanted and known.get(each.job) != wanted[each.job]]


def unrequested_approvals(told: NotificationLog) -> set[str]:
    """The jobs whose approval was to be asked for the last time, and no run came about that would have asked."""
    return {job for job, asked in told.known(*_ASKED).items() if asked.startswith(_IN_VAIN)}


def mark_unrequested(told: NotificationLog, jobs: Iterable[str]) -> None:
    """Remember that the run which was to ask about a job could not be made: the next sweep asks again."""
    known, unmade = told.known(*_ASKED), frozenset(jobs)
    told.keep(*_ASKED, {job: f"{_IN_VAIN}{asked}" if job in unmade else asked for job, asked in known.items()})


def _tell(
    told: NotificationLog,
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
