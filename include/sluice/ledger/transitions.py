"""The transitions of a placement: the only ways in which an operation changes where a job runs.

    running ──RequestStop──▶ stopping ──Stopped──▶ stopped ──Submit──▶ running
       │ ▲                  suspending ─Stopped──▶ suspended ─Submit─▶ running
       │ └──StopFailed──────────┘
       └──Submit (a lost job comes back), RecordRelease, Cancel, CancelWithoutState

The ledger writes each transition in one transaction with the journal entry of the effect that follows it. So a process
that continues after a crash finds either the placement before the transition, or the intended one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sluice.ledger.tables import Placement
from sluice.ledger.values import Phase, StopMode

Positions = Mapping[str, Mapping[Any, int]]
"""Offsets of the next records to read, by topic and partition."""


@dataclass(frozen=True)
class Submit:
    """`flink_job_id` is submitted, and should run from now on.

    Attributes:
        restored_from: The savepoint or checkpoint that the submission names; None: the job starts without state.
        state_path: The state from whose positions the job starts, even if it restores nothing else of it.
        positions: The positions in that state, or those committed by the job's consumer group; None: unknown.
        carried_over: The job starts without state, from the offsets of its consumer group.
        cluster: `Identity.values` of the cluster.
    """

    release: int
    flink_job_id: str
    restored_from: str | None
    state_path: str | None
    positions: Positions | None
    carried_over: bool
    cluster: Mapping[str, Any]

    def apply(self, placement: Placement) -> None:
        """Change the placement."""
        placement.phase, placement.release, placement.flink_job_id = Phase.RUNNING, self.release, self.flink_job_id
        placement.restored_from, placement.state_path = self.restored_from, self.state_path
        placement.positions = None if self.positions is None else dict(self.positions)
        placement.carried_over, placement.cluster = self.carried_over, dict(self.cluster)
        placement.had_checkpoint = False
        _forget_stop(placement)


@dataclass(frozen=True)
class RequestStop:
    """The Flink job is about to be stopped with `mode`, under `trigger_id`.

    Attributes:
        phase: `stopping`, or `suspending` if no job starts afterwards.
        savepoint_directory: The target directory of the savepoint; None: the mode takes none.
    """

    phase: Phase
    mode: StopMode
    trigger_id: str
    savepoint_directory: str | None

    def apply(self, placement: Placement) -> None:
        """Change the placement."""
        placement.phase, placement.stop_mode = self.phase, self.mode
        placement.trigger_id, placement.savepoint_directory = self.trigger_id, self.savepoint_directory


@dataclass(frozen=True)
class ChangePurpose:
    """A stop in progress gets another purpose: a suspension (`suspending`), or a start afterwards (`stopping`)."""

    phase: Phase

    def apply(self, placement: Placement) -> None:
        """Change the placement."""
        placement.phase = self.phase


@dataclass(frozen=True)
class Cancel:
    """The Flink job is about to be cancelled, without a savepoint.

    Attributes:
        release: The release that should run afterwards, from `state_path`; None: the running one.
        by_checkpoint: Trigger id of a checkpoint that is tried before the cancel. The job's newest checkpoint then
            becomes its state. None: a plain cancel.
    """

    release: int | None = None
    by_checkpoint: str | None = None

    def apply(self, placement: Placement) -> None:
        """Change the placement."""
        placement.phase = Phase.STOPPING
        placement.stop_mode = StopMode.CANCEL if self.by_checkpoint is None else StopMode.LAST_STATE
        placement.trigger_id, placement.savepoint_directory = self.by_checkpoint, None
        placement.release = placement.release if self.release is None else self.release


@dataclass(frozen=True)
class CancelWithoutState:
    """The Flink job is about to be cancelled and its state dropped; the next start reads from `positions`."""

    positions: Positions

    def apply(self, placement: Placement) -> None:
        """Change the placement."""
        Cancel().apply(placement)
        placement.state_path, placement.positions = None, dict(self.positions)
        placement.had_checkpoint, placement.carried_over = False, True


@dataclass(frozen=True)
class Stopped:
    """The Flink job has ended; the next start restores `state_path`.

    Attributes:
        phase: `stopped` or `suspended`.
        carried_over: The next start is without state, from the offsets of the consumer group; None: unchanged.
        positions: The positions of a start without state; None: unchanged.
        release: The release that should run next; None: unchanged.
    """

    phase: Phase
    state_path: str | None
    carried_over: bool | None = None
    positions: Positions | None = None
    release: int | None = None

    def apply(self, placement: Placement) -> None:
        """Change the placement."""
        placement.phase, placement.state_path = self.phase, self.state_path
        if self.carried_over is not None:
            placement.carried_over = self.carried_over
        if self.positions is not None:
            placement.positions = dict(self.positions)
        if self.release is not None:
            placement.release = self.release


@dataclass(frozen=True)
class StopFailed:
    """The stop failed: the Flink job keeps running."""

    def apply(self, placement: Placement) -> None:
        """Change the placement."""
        placement.phase = Phase.RUNNING
        _forget_stop(placement)


@dataclass(frozen=True)
class RecordRelease:
    """The running Flink job becomes the new release's, since both releases compile to the same graph."""

    release: int

    def apply(self, placement: Placement) -> None:
        """Change the placement."""
        placement.release = self.release


Transition = Submit | RequestStop | ChangePurpose | Cancel | CancelWithoutState | Stopped | StopFailed | RecordRelease


def _forget_stop(placement: Placement) -> None:
    placement.stop_mode, placement.trigger_id, placement.savepoint_directory = None, None, None
