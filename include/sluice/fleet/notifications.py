"""Call notifiers once for each changed verdict and each job that needs a person; repeat calls that failed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

from sluice.fleet.decision import approval_cause
from sluice.fleet.needs import Needed
from sluice.fleet.rows import CHANGING, JobStatus, one_per_job
from sluice.ledger.notification_log import NotificationLog
from sluice.ledger.samples import Samples
from sluice.plan.model import Plan

_NOT_SEEN = ("unreachable", CHANGING)


def changes(before: Mapping[str, str], rows: Iterable[JobStatus]) -> list[dict[str, Any]]:
    """The verdicts that differ from the last notification. The first verdict of a job is a change unless it is good.

    Changes to `unknown`, the verdict of a job that can't be judged, and from it are reported like others. Jobs with an
    operation in progress are left out.

    Args:
        before: The verdicts of the last notification, by the job's name.
        rows: The rows of a sweep.

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


def verdicts_after(before: Mapping[str, str], rows: Iterable[JobStatus]) -> dict[str, str]:
    """The verdicts to record after a notification; a job with an operation in progress keeps its last one."""
    verdicts = {row.job: before.get(row.job) if row.state == CHANGING else row.verdict for row in rows}
    return {job: verdict for job, verdict in verdicts.items() if verdict is not None}


def reports(
    before: Mapping[str, str], rows: Iterable[JobStatus], needs: Iterable[Needed]
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The jobs that need a person for a reason that no verdict shows.

    For instance an approval, a release that can't be deployed, or retries that have ended.

    Args:
        before: The causes of the last notification, by the job's name.
        rows: The rows of a sweep.
        needs: What the jobs need.

    Returns:
        A list as from `changes`, with `old` and `new` the same and the decision's `why` as reason; and the causes to
        record after the notification. A job that could not be read keeps its last cause.
    """
    seen = {row.job: row for row in rows}
    causes = {each.job: each for each in needs if each.decision.cause}
    found = [
        _change(seen[job], seen[job].verdict, (each.decision.why,))
        for job, each in causes.items()
        if before.get(job) != each.decision.cause
    ]
    kept = {job: cause for job, cause in before.items() if job in seen and seen[job].state in _NOT_SEEN}
    return found, {**kept, **{job: each.decision.cause or "" for job, each in causes.items()}}


def _change(row: JobStatus, old: str | None, reasons: Iterable[str]) -> dict[str, Any]:
    return {"job": row.job, "old": old, "new": str(row.verdict), "state": row.state, "reasons": list(reasons)}


Changes = list[dict[str, Any]]
Notify = Callable[[Changes], None]
"""Calls one notifier, which may raise any exception."""
_APPROVAL = ("run", "approval")
"""Notifier and subject under which the ledger records the approvals for which the sweep has triggered a run."""
_NOT_REQUESTED = "in vain: "
"""The prefix of a recorded fingerprint whose run could not be triggered. The ledger keeps this value."""


def notify_verdicts(sent: NotificationLog, rows: Iterable[JobStatus], notifiers: Mapping[str, Notify]) -> list[str]:
    """Call each notifier with the verdicts that have changed since its last notification; see `changes`.

    Args:
        sent: The last notifications.
        rows: The rows of a sweep over the whole fleet.
        notifiers: The notifiers by their names. One that raises is called again at the next sweep, and does not affect
            the others.

    Returns:
        A message for each notifier that failed.
    """
    seen = one_per_job(rows, lambda row: row)
    return _notify(sent, "verdict", notifiers, lambda before: (changes(before, seen), verdicts_after(before, seen)))


def notify_reports(
    sent: NotificationLog, rows: Iterable[JobStatus], needs: Iterable[Needed], notifiers: Mapping[str, Notify]
) -> list[str]:
    """Call each notifier with the jobs that need a person and that it was not called with before; see `reports`.

    Args:
        sent: The last notifications.
        rows: The rows of a sweep over the whole fleet.
        needs: What the jobs need.
        notifiers: See `notify_verdicts`.
    """
    seen, wanted = one_per_job(rows, lambda row: row), list(needs)
    return _notify(sent, "report", notifiers, lambda before: reports(before, seen, wanted))


def notify_approval(
    sent: NotificationLog, samples: Samples, plan: Plan, words: str, notifiers: Mapping[str, Notify], now: datetime
) -> list[str]:
    """Call each notifier once because a plan waits for an approval; sweeps don't report the same plan again.

    Args:
        sent: The last notifications.
        samples: The recorded sweeps, for the job's state.
        plan: The plan.
        words: What to do.
        notifiers: See `notify_verdicts`.
        now: The time.
    """
    last = next(reversed(samples.of(plan.job, now - timedelta(days=1))), None)
    state, verdict = (last.state, last.verdict) if last else ("unknown", "unknown")
    change = {"job": plan.job, "old": verdict, "new": verdict, "state": state, "reasons": [words]}
    cause = approval_cause(plan.fingerprint)

    def find(before: Mapping[str, str]) -> tuple[Changes, Mapping[str, str]]:
        return ([] if before.get(plan.job) == cause else [change]), {**before, plan.job: cause}

    return _notify(sent, "report", notifiers, find)


def new_approval_requests(sent: NotificationLog, needs: Sequence[Needed]) -> list[Needed]:
    """The jobs with an approval that was not requested before. This records them as requested."""
    wanted = {needed.job: needed.approval_request.fingerprint for needed in needs if needed.approval_request}
    known = sent.known(*_APPROVAL)
    # A request stays recorded while its state is desired, so that a run that a person deleted is not triggered again.
    causes = {each.job: each.decision.cause for each in needs if each.decision.cause}
    kept = {job: requested for job, requested in known.items() if causes.get(job) == approval_cause(requested)}
    sent.keep(*_APPROVAL, {**kept, **wanted})
    return [each for each in needs if each.job in wanted and known.get(each.job) != wanted[each.job]]


def unrequested_approvals(sent: NotificationLog) -> set[str]:
    """The jobs whose approval was not requested, because their run could not be triggered."""
    return {job for job, requested in sent.known(*_APPROVAL).items() if requested.startswith(_NOT_REQUESTED)}


def mark_unrequested(sent: NotificationLog, jobs: Iterable[str]) -> None:
    """Record that no run could be triggered to request a job's approval, so that the next sweep triggers one."""
    known, unmade = sent.known(*_APPROVAL), frozenset(jobs)
    values = {job: f"{_NOT_REQUESTED}{value}" if job in unmade else value for job, value in known.items()}
    sent.keep(*_APPROVAL, values)


def _notify(
    sent: NotificationLog,
    subject: Literal["verdict", "report"],
    notifiers: Mapping[str, Notify],
    find: Callable[[Mapping[str, str]], tuple[Changes, Mapping[str, str]]],
) -> list[str]:
    failed = []
    for name, notify in notifiers.items():
        found, after = find(sent.known(name, subject))
        if found:
            try:
                notify(found)
            except Exception as error:  # noqa: BLE001 - a notifier is the user's code
                why = f"{type(error).__name__}: {error}"
                failed.append(f"notifier {name} failed, and is called again at the next sweep: {why}")
                continue
        sent.keep(name, subject, after)
    return failed
