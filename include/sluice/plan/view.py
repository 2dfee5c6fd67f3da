"""What a plan reads of a job: its ledger, its cluster, its brokers. Nothing here changes them."""

from __future__ import annotations

from collections.abc import Mapping

from sluice.client.protocol import Graph, State
from sluice.flink import calls
from sluice.flink.client import FlinkClient
from sluice.kafka.client import Brokers
from sluice.kafka.topic_steps import Step
from sluice.ledger.placement_version import PlacementVersion
from sluice.ledger.tables import Placement
from sluice.plan.hand_over import HandOver, hand_over_of
from sluice.plan.model import Mode
from sluice.plan.topics import topic_steps
from sluice.project import Project
from sluice.release.compiler import Compiler
from sluice.release.target import Target
from sluice.state.directories import Directories
from sluice.state.locate import find
from sluice.state.offsets import topics_of
from sluice.state.operators import Operators
from sluice.state.situation import Runs, Situation
from sluice.state.state_loss import last_positions
from sluice.state.successor import SuccessorState
from sluice.state.writer import written_operators


class ClusterView:
    """A read-only view of one job, for one plan.

    Args:
        project: The project.
        job: The job's name.
        flink: The cluster.
        compiler: Reads checkpoints and savepoints.
        confirms_loss: See `sluice.state.locate.find`.

    Attributes:
        version: The version of the placement; an operation for this plan refuses to begin if it has changed.
        situation: Where the job is.
        former: The release that runs, or ran last; None: the job was never started.
        active: The operation in progress; None: there is none.

    Raises:
        RefusedError: see `sluice.state.locate.find`.
        UnreachableError: the cluster doesn't answer.
    """

    def __init__(
        self, project: Project, job: str, flink: FlinkClient, compiler: Compiler, *, confirms_loss: bool = False
    ) -> None:
        ledger = project.ledger
        self.project = project
        self.job = job
        self.flink = flink
        # The placement is read before everything else, so that the operation notices any later change of it.
        self.place = ledger.placement(job)
        self.version = PlacementVersion.of(self.place)
        self.situation: Situation = find(project, flink, job, self.place, confirms_loss=confirms_loss)
        self.former = ledger.release(job, self.place.release) if self.place else None
        self.active = ledger.active(job)
        self._state = SuccessorState(project, flink, compiler)

    @property
    def brokers(self) -> Brokers:
        """The brokers."""
        return self.project.brokers

    def directories(self, target: Target) -> Directories:
        """The directories of the target's checkpoints and savepoints."""
        return Directories(self.flink, target.resolved["options"])

    def topic_steps(self, target: Target, *, grow_partitions: bool, change_settings: bool) -> tuple[Step, ...]:
        """The steps for the topics; none for a release from the ledger. See `sluice.plan.topics.topic_steps`."""
        if target.desired is None:
            return ()
        return topic_steps(
            self.brokers, target.desired, grow_partitions=grow_partitions, change_settings=change_settings
        )

    def hand_over(self, requested: Mode | None, mode: Mode) -> HandOver:
        """How the job hands over: by the requested mode, or else by its failures; `mode` if it doesn't fail."""
        if not isinstance(self.situation, Runs) or requested in (Mode.SAVEPOINT, Mode.LAST_STATE):
            return HandOver(mode)
        return hand_over_of(self.flink, self.situation, mode)

    def keeps_checkpoints(self, flink_job_id: str) -> bool:
        """Whether a Flink job's checkpoints outlive a cancel."""
        return self.flink.send(calls.checkpoint_config(flink_job_id)).is_retained

    def state(self, situation: Situation, *, abandons: bool) -> tuple[State | None, str | None]:
        """The state that a successor would take over, or why it can't be read. See `SuccessorState.read_or_why`."""
        return self._state.read_or_why(situation, abandons=abandons)

    def written_operators(self, place: Placement, graph: Graph, *, by_savepoint: bool) -> Operators:
        """What the operators compute that wrote the state which was read last; empty: unknown.

        Args:
            place: The job's placement.
            graph: The graph that would take the state.
            by_savepoint: The state will be that of a savepoint, which isn't written yet.
        """
        path = None if by_savepoint else self._state.path
        return written_operators(self.project.ledger, self.flink, place, path, graph)

    def last_positions(self, place: Placement, target: Target) -> Mapping[str, Mapping[str, int]]:
        """The offsets up to which the job has read. See `sluice.state.state_loss.last_positions`."""
        return last_positions(self.project, place, topics_of(target.resolved))
