"""The directories of a job's checkpoints and savepoints."""

from __future__ import annotations

from collections.abc import Mapping

from sluice.errors import RefusedError
from sluice.flink import calls
from sluice.flink.client import FlinkClient
from sluice.flink.identity import Identity
from sluice.ledger.tables import Placement
from sluice.project import Project

_CHECKPOINTS = ("execution.checkpointing.dir", "state.checkpoints.dir")
_SAVEPOINTS = ("execution.checkpointing.savepoint-dir", "state.savepoints.dir")


class Directories:
    """The directories of one job, from its own Flink options over the cluster's.

    Args:
        flink: The cluster.
        options: The job's Flink options.
    """

    def __init__(self, flink: FlinkClient, options: Mapping[str, str]) -> None:
        self._options = {entry.key: entry.value for entry in flink.send(calls.cluster_config())} | dict(options)

    def checkpoints(self, flink_job_id: str) -> str | None:
        """The directory of a Flink job's retained checkpoints; None: none is configured."""
        base = self._first(_CHECKPOINTS)
        return f"{base.rstrip('/')}/{flink_job_id}" if base else None

    def savepoints(self, environment: str, job: str, operation: str) -> str:
        """The operation's own directory, which contains only its savepoint.

        Raises:
            RefusedError: the cluster has no savepoint directory.
        """
        base = self._first(_SAVEPOINTS)
        if not base:
            raise RefusedError(
                f"{job}: there is no directory for savepoints: {_SAVEPOINTS[0]} is not set",
                remedy="set it for the cluster or under defaults.flink of the deployment file, or take mode last-state",
            )
        return f"{base.rstrip('/')}/{environment}/{job}/{operation}"

    @property
    def is_elastic(self) -> bool:
        """Whether the cluster adds TaskManagers by itself, so that its number of free slots doesn't matter."""
        return bool(self._options.get("kubernetes.cluster-id") or self._options.get("yarn.application.id"))

    def _first(self, names: tuple[str, ...]) -> str | None:
        return next((value for name in names if (value := self._options.get(name))), None)


def directories_at(project: Project, flink: FlinkClient, place: Placement) -> Directories:
    """The directories of the job at a placement, from its own release's options.

    Those of the cluster on which the job was started take precedence over the current cluster's.
    """
    options = project.ledger.release(place.job, place.release).resolved["options"]
    started_on = Identity.of(place.cluster)
    return Directories(flink, {**(started_on.directories if started_on else {}), **options})
