"""What a task is asked for, as the fields of the trigger form of deploy.<job>."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sluice.airflow.params import SETTING
from sluice.plan.model import Kind, Mode


def asked_for(
    operation: Kind,
    *,
    config: Mapping[str, Any] | None = None,
    to_release: int | None = None,
    mode: Mode | None = None,
    allow_state_loss: bool = False,
    wake: bool = False,
    reason: str | None = None,
) -> dict[str, Any]:
    """The fields.

    Args:
        operation: What is to be done.
        config: Settings of the job over the deployment file's, for a deploy.
        to_release: For a rollback, the release; None: the healthy one before.
        mode: How the old job hands over; None: as planned.
        allow_state_loss: Approves ahead a plan that loses state.
        wake: A deploy may start a suspended job.
        reason: Kept with the operation.
    """
    return {
        "operation": operation,
        "to_release": to_release,
        "mode": mode,
        "allow_state_loss": allow_state_loss,
        "wake": wake,
        "reason": reason,
        **{f"{SETTING}{name}": value for name, value in (config or {}).items()},
    }
