"""The job that an operation has started, suspended or found running."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Log = Callable[[str], None]
"""Receives a line of progress."""


@dataclass(frozen=True)
class Started:
    """A job after the stages of a plan: started, unchanged or suspended.

    Attributes:
        flink_job_id: Its Flink job; None: it was suspended.
        restored_from: The savepoint or checkpoint that it was restored from.
        unchanged: This operation started no Flink job.
        recorded: A new release was recorded for the running job.
        positions: The next offset of the state that it was restored from, per topic and partition.
        former_job_id: The Flink job that was stopped for it.
        counts: Its reads count the records that they skip, as generated code does since version 2.
    """

    operation: str
    release: int
    flink_job_id: str | None
    restored_from: str | None
    unchanged: bool
    recorded: bool = False
    savepoint: str | None = None
    positions: Mapping[str, Any] | None = None
    former_job_id: str | None = None
    counts: bool = False
