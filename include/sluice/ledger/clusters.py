"""Record the cluster of a running job whose placement was written before the ledger had that column."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import update

from sluice.ledger.store import Store
from sluice.ledger.tables import Placement
from sluice.ledger.values import Phase


class Clusters(Store):
    """The clusters of one environment's placements."""

    def record(self, job: str, flink_job_id: str, cluster: Mapping[str, Any]) -> None:
        """Record the cluster (`Identity.values`) on which the job's Flink job was found running."""
        with self._sessions.begin() as session:
            session.execute(
                update(Placement)
                .where(
                    Placement.environment == self.environment,
                    Placement.job == job,
                    Placement.flink_job_id == flink_job_id,
                    Placement.phase == Phase.RUNNING,
                )
                .values(cluster=dict(cluster))
            )
