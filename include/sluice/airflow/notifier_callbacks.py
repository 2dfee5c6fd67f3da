"""Airflow's notifiers as callbacks of the fleet's notifications."""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from functools import partial
from typing import TYPE_CHECKING

from airflow.sdk.bases.notifier import BaseNotifier

if TYPE_CHECKING:
    from airflow.sdk import Context

    from sluice.fleet.notifications import Changes, Notify


def notifier_callbacks(notifiers: Iterable[BaseNotifier], context: Context) -> dict[str, Notify]:
    """A callback for each notifier, by its class name; a second notifier of the same class gets the suffix 2.

    The ledger records the last notification under that name.
    """
    found: dict[str, Notify] = {}
    for notifier in notifiers:
        kind = type(notifier).__name__
        number = 1 + sum(name.split()[0] == kind for name in found)
        found[kind if number == 1 else f"{kind} {number}"] = partial(_notify, notifier, context)
    return found


def _notify(notifier: BaseNotifier, context: Context, changes: Changes) -> None:
    """Call a copy: a notifier renders its templates in place, and would send the same text the next time."""
    copy(notifier)({**context, "changes": changes})
