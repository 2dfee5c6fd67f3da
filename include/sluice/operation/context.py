"""What the stages of one operation share: the job, the ports, and the operation in the ledger."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sluice.errors import OperationError
from sluice.flink.client import FlinkClient
from sluice.ledger.operation_handle import OperationHandle
from sluice.ledger.tables import Placement
from sluice.operation.holder import is_gone
from sluice.operation.started import Log
from sluice.project import Project
from sluice.release.compiler import Compiler
from sluice.state.offsets import topics_of
from sluice.state.state_loss import last_positions


@dataclass
class OperationContext:
    """The context of the operation of one job.

    Attributes:
        project: The project.
        job: The job's name.
        flink: The cluster.
        compiler: Compiles and submits releases, and reads checkpoints.
        holder: The holder of the operation. After a crash, the same holder continues its own operation.
        log: Receives progress.
        is_gone: Returns whether another holder is known to have ended.
        begun: The operation; None: it has not begun.
    """

    project: Project
    job: str
    flink: FlinkClient
    compiler: Compiler
    holder: str
    log: Log
    is_gone: Callable[[str], bool] = is_gone
    begun: OperationHandle | None = None

    @property
    def operation(self) -> OperationHandle:
        """The operation, which has begun."""
        if self.begun is None:
            raise RuntimeError("the stages of a plan are executed in order: the first one begins the operation")
        return self.begun

    @property
    def place(self) -> Placement:
        """The placement of the job.

        Raises:
            OperationError: the ledger has none.
        """
        place = self.project.ledger.placement(self.job)
        if place is None:
            raise OperationError(f"{self.job}: the ledger has no placement of the job")
        return place

    def last_positions(self, place: Placement, resolved: Mapping[str, Any]) -> dict[str, dict[str, int]]:
        """The offsets up to which the job has read the topics of a release.

        Args:
            place: The job's placement.
            resolved: The resolved values of the release.
        """
        return last_positions(self.project, place, topics_of(resolved))
