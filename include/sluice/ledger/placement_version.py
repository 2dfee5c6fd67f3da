"""The version of a placement: detects that another operation has changed the job between planning and execution."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime

from sluice.errors import ChangedError
from sluice.ledger.tables import Placement


@dataclass(frozen=True)
class PlacementVersion:
    """The columns of a placement that every operation changes. All None: the job was never started."""

    phase: str | None = None
    release: int | None = None
    flink_job_id: str | None = None
    trigger_id: str | None = None
    since: datetime | None = None

    @classmethod
    def of(cls, place: Placement | None) -> PlacementVersion:
        """The version of a placement; of None: the version of a job that was never started."""
        return cls(**{each.name: getattr(place, each.name) for each in fields(cls)}) if place else cls()

    @property
    def words(self) -> str:
        """A description for messages."""
        if self.phase is None:
            return "never deployed"
        return f"release {self.release} {self.phase} (Flink job {(self.flink_job_id or '')[:8]})"


def check_placement_version(job: str, planned: PlacementVersion, found: PlacementVersion) -> None:
    """Refuse an operation whose plan is outdated.

    Raises:
        ChangedError: another operation has changed the placement since planning.
    """
    if planned != found:
        raise ChangedError(
            f"{job}: another operation has changed the job since this one was planned; then: {planned.words}, "
            f"now: {found.words}",
            remedy="check the job with sluice status, and repeat the command if it is still wanted",
        )
