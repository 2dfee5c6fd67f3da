"""What was done to a job, and what follows from it for what may be done next: guards against flapping. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

GIVE_UP_AFTER = 6
"""Tries that came to nothing, or to nothing that lasted."""
_FIRST_WAIT = timedelta(minutes=2)
"""After one try; twice as long after each further one."""
_LONGEST_WAIT = timedelta(hours=1)
SHORT = timedelta(minutes=30)
"""What held longer was no failure; where sweeps are far apart, longer than they take to look twice."""
_REMEMBERED = timedelta(days=1)
"""After which a job that was given up is tried again."""
_GOOD = ("healthy", "unchanged", "recorded", "suspended")


@dataclass(frozen=True)
class PastOperation:
    """An operation of the ledger, as far as it matters here.

    Attributes:
        kind: deploy, rollback, suspend or resume.
        outcome: healthy, unchanged, recorded, suspended, rolled_back, failed or abandoned; None: it goes on.
        action: What it did to the job, as its plan says: redeploy, recover, start, record, suspend or none; None: it
            was never planned.
        release: What it was to run.
        fingerprint: Of that release.
        former_fingerprint: Of what ran before; None: nothing did.
        reason: Why it failed.
    """

    kind: str
    outcome: str | None
    release: int
    fingerprint: str | None
    former_fingerprint: str | None
    started_at: datetime
    ended_at: datetime | None
    reason: str | None = None
    action: str | None = None


def blocked(operations: Sequence[PastOperation]) -> dict[str | None, str]:
    """Fingerprints that were rolled back, by a person or by Sluice, each with when; deploying one by hand lifts that.

    Args:
        operations: Newest first.
    """
    held: dict[str | None, str] = {}
    for operation in reversed(operations):
        when = f"{operation.started_at:%Y-%m-%d %H:%M} UTC"
        if operation.outcome == "rolled_back":
            held[operation.fingerprint] = f"release {operation.release} at {when}"
        elif operation.outcome in _GOOD and operation.kind == "rollback":
            if operation.former_fingerprint != operation.fingerprint:
                held[operation.former_fingerprint] = f"to release {operation.release} at {when}"
            held.pop(operation.fingerprint, None)
        elif operation.outcome in _GOOD and operation.kind != "suspend":
            held.pop(operation.fingerprint, None)
    held.pop(None, None)
    return held


def tries(
    operations: Sequence[PastOperation], now: datetime, short: timedelta, counts: Callable[[PastOperation], bool]
) -> list[PastOperation]:
    """The newest operations that came to nothing, or to nothing that lasted; newest first.

    Args:
        operations: Newest first.
        now: The time.
        short: What held longer was no failure.
        counts: Whether one was a try at what is to be done now: what else was done to the job is none.
    """
    made: list[PastOperation] = []
    until = now
    for operation in operations:
        if operation.ended_at is None:
            continue
        if operation.started_at < now - _REMEMBERED:
            break
        held = until - operation.ended_at
        if operation.outcome in _GOOD and held >= short:
            break
        until = operation.started_at
        if counts(operation):
            made.append(operation)
    return made


def wait_until(made: Sequence[PastOperation]) -> datetime:
    """When the next try may begin: after two minutes, then four, eight, and so on up to an hour.

    Args:
        made: Tries, newest first; at least one.
    """
    wait = _FIRST_WAIT
    for _ in made[1:]:
        wait = min(2 * wait, _LONGEST_WAIT)
    return (made[0].ended_at or made[0].started_at) + wait
