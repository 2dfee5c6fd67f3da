"""Where a job stood at a moment, to be held against where it stands later."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime

from sluice.errors import ChangedError
from sluice.ledger.tables import Placement


@dataclass(frozen=True)
class PlacementVersion:
    """Where a job stood when an operation was planned, which is meant for no other place.

    All None: nothing of it was ever started.
    """

    phase: str | None = None
    release: int | None = None
    flink_job_id: str | None = None
    trigger_id: str | None = None
    since: datetime | None = None

    @classmethod
    def of(cls, place: Placement | None) -> PlacementVersion:
        """That of a placement; None: there is none."""
        return cls(**{each.name: getattr(place, each.name) for each in fields(cls)}) if place else cls()

    @property
    def words(self) -> str:
        """For a person."""
        if self.phase is None:
            return "never deployed"
        return f"release {self.release} {self.phase} (Flink job {(self.flink_job_id or '')[:8]})"


def check_placement_version(job: str, planned: PlacementVersion, found: PlacementVersion) -> None:
    """Refuse what was planned of a job that stands elsewhere by now.

    Raises:
        ChangedError: another operation has come and gone meanwhile.
    """
    if planned != found:
        raise ChangedError(
            f"{job}: another operation has changed the job since this one was planned; then: {planned.words}, "
            f"now: {found.words}",
            remedy="look at the job, and ask again if it is still meant",
        )
