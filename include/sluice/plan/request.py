"""What a person or a run asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sluice.plan.model import Kind, Mode


@dataclass(frozen=True)
class Request:
    """What a person or a run asks for.

    Attributes:
        mode: How the old job hands over; None: with a savepoint, or without state where that is abandoned on purpose.
        overrides: Settings of the job over the deployment file's, added to those of the release that runs.
        clear_overrides: Take back what former runs gave.
        to: For a rollback, the release to go back to; None: the healthy one before.
        seen: The release that was placed when it was asked for; refused where another one is by now. None: any.
        wake: A deploy may start a suspended job.
        confirm_lost_cluster: A person has confirmed that nothing of the job runs on the cluster where it was started,
            which is another one than that of today.
        grow_partitions, change_topics: What may be done to topics.
    """

    kind: Kind = "deploy"
    mode: Mode | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    clear_overrides: bool = False
    to: int | None = None
    seen: int | None = None
    wake: bool = False
    confirm_lost_cluster: bool = False
    grow_partitions: bool = False
    change_topics: bool = False
