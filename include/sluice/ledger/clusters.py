"""Record the cluster of a running job whose placement has none, being from before the ledger recorded it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import update
from sqlalchemy.orm import Session, sessionmaker

from sluice.ledger.tables import Placement


class Clusters:
    """The clusters of one environment's placements.

    Args:
        sessions: The sessions of the ledger's database.
        environment: The name of the environment.
    """

    def __init__(self, sessions: sessionmaker[Session], environment: str) -> None:
        self._sessions = sessions
        self._environment = environment

    def record(self, job: str, flink_job_id: str, cluster: Mapping[str, Any]) -> None:
        """Record the cluster (`Identity.values`) on which the job's Flink job was found running."""
        with self._sessions.begin() as session:
            session.execute(
                update(Placement)
                .where(
                    Placement.environment == self._environment,
                    Placement.job == job,
                    Placement.flink_job_id == flink_job_id,
                    Placement.phase == "running",
                )
                .values(cluster=dict(cluster))
            )
