"""The transitions of a placement: the only ways in which an operation changes where a job runs.

    running ──RequestStop──▶ stopping ──Stopped──▶ stopped ──Submit──▶ running
       │ ▲                  suspending ─Stopped──▶ suspended ─Submit─▶ running
       │ └──StopFailed──────────┘
       └──Submit (a lost job comes back), RecordRelease, Cancel, CancelWithoutState

Each is written in one transaction with the journal entry of the effect that follows it. So an attempt that continues
after a crash finds either the former placement, or the intention.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sluice.ledger.tables import Phase, Placement, StopMode

Positions = Mapping[str, Mapping[Any, int]]
"""Offsets of the next records to read, by topic and partition."""


@dataclass(frozen=True)
class Submit:
    """`flink_job_id` is submitted, and should run from now on.

    Attributes:
        restored_from: The savepoint or checkpoint that the submission names; None: it starts without state.
        state_path: The state whose positions the job starts from, also where it takes nothing else of it.
        positions: The positions of that state, or those that were committed to the job's group; None: not known.
        carried_over: It starts without state, from the offsets of its group.
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
        placement.phase, placement.release, placement.flink_job_id = "running", self.release, self.flink_job_id
        placement.restored_from, placement.state_path = self.restored_from, self.state_path
        placement.positions = None if self.positions is None else dict(self.positions)
        placement.carried_over, placement.cluster = self.carried_over, dict(self.cluster)
        placement.had_checkpoint = False
        _forget_stop(placement)


@dataclass(frozen=True)
class RequestStop:
    """The Flink job is about to be stopped as `mode` says, under `trigger_id`.

    Attributes:
        phase: `stopping`, or `suspending` where nothing is to start afterwards.
        savepoint_directory: Where Flink writes the savepoint; None: the mode takes none.
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
    """A stop that goes on is for another end: nothing starts afterwards (`suspending`), or something (`stopping`)."""

    phase: Phase

    def apply(self, placement: Placement) -> None:
        """Change the placement."""
        placement.phase = self.phase


@dataclass(frozen=True)
class Cancel:
    """The Flink job is about to be cancelled, without a savepoint.

    Attributes:
        release: The release that should run afterwards, from `state_path`; None: the one that runs.
        by_checkpoint: Its newest checkpoint becomes its state: `trigger_id` of the checkpoint that is tried first.
    """

    release: int | None = None
    by_checkpoint: str | None = None

    def apply(self, placement: Placement) -> None:
        """Change the placement."""
        placement.phase = "stopping"
        placement.stop_mode = "cancel" if self.by_checkpoint is None else "last-state"
        placement.trigger_id, placement.savepoint_directory = self.by_checkpoint, None
        placement.release = placement.release if self.release is None else self.release


@dataclass(frozen=True)
class CancelWithoutState:
    """The Flink job is about to be cancelled, and its state is given up: only `positions` go on."""

    positions: Positions

    def apply(self, placement: Placement) -> None:
        """Change the placement."""
        Cancel().apply(placement)
        placement.state_path, placement.positions = None, dict(self.positions)
        placement.had_checkpoint, placement.carried_over = False, True


@dataclass(frozen=True)
class Stopped:
    """The Flink job has ended; the next start takes `state_path`.

    Attributes:
        phase: `stopped`, or `suspended`.
        carried_over: The next start begins without state, from the offsets of the group; None: as before.
        positions: Where it goes on without state; None: as before.
        release: The release that should run next; None: the one that ran.
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
    """The Flink job runs on: its stop could not be completed."""

    def apply(self, placement: Placement) -> None:
        """Change the placement."""
        placement.phase = "running"
        _forget_stop(placement)


@dataclass(frozen=True)
class RecordRelease:
    """The Flink job that runs is the new release's: both compile to the same graph."""

    release: int

    def apply(self, placement: Placement) -> None:
        """Change the placement."""
        placement.release = self.release


Transition = Submit | RequestStop | ChangePurpose | Cancel | CancelWithoutState | Stopped | StopFailed | RecordRelease


def _forget_stop(placement: Placement) -> None:
    placement.stop_mode, placement.trigger_id, placement.savepoint_directory = None, None, None
