"""The state that a job's successor would take over: its path and content."""

from __future__ import annotations

from sluice.client.protocol import State
from sluice.errors import RefusedError, StateError
from sluice.flink import calls
from sluice.flink.client import FlinkClient
from sluice.ledger.tables import Placement
from sluice.ledger.values import StopMode
from sluice.project import Project
from sluice.release.compiler import Compiler
from sluice.state.after_stop import state_after_stop
from sluice.state.directories import directories_at
from sluice.state.latest import newest_state, retry_checkpoint_read
from sluice.state.situation import Absent, Lost, Runs, Situation, Stopped, Stopping, Suspended


class SuccessorState:
    """Reads the state of one job, as far as it is known before the job stops.

    Args:
        project: The project.
        flink: The cluster.
        compiler: Reads checkpoints.

    Attributes:
        path: The path of the state that was read last; None: there was none.
    """

    def __init__(self, project: Project, flink: FlinkClient, compiler: Compiler) -> None:
        self._project = project
        self._flink = flink
        self._compiler = compiler
        self.path: str | None = None

    def read_or_why(self, situation: Situation, *, abandons: bool) -> tuple[State | None, str | None]:
        """The state that would be taken over; or why it can't be read, if it is abandoned anyway.

        Raises:
            StateError, RefusedError: it can't be read, and would be taken over.
            UnreachableError: the cluster doesn't answer.
        """
        try:
            return self._read(situation), None
        except (StateError, RefusedError) as error:
            if not abandons:
                raise
            return None, error.message

    def _read(self, situation: Situation) -> State | None:
        """The state; None: there is none yet."""
        path: str | None = None
        match situation:
            case Stopping(place, is_alive) if not is_alive or place.stop_mode == StopMode.CANCEL:
                path = state_after_stop(
                    self._compiler, directories_at(self._project, self._flink, place), self._project.environment, place
                )
            case Runs(place, _) | Stopping(place):
                return retry_checkpoint_read(lambda: self._of_running(place))
            case Stopped(place) | Suspended(place):
                path = place.state_path
            case Lost(place):
                path = newest_state(
                    self._flink, self._compiler, directories_at(self._project, self._flink, place), situation
                )
            case Absent():
                path = None
        return self._inspect(path)

    def _of_running(self, place: Placement) -> State | None:
        """The newest checkpoint of a running job, or the state that it was restored from."""
        completed = self._flink.send(calls.checkpoints(place.flink_job_id)).latest.completed
        return self._inspect((completed.external_path if completed else None) or place.restored_from)

    def _inspect(self, path: str | None) -> State | None:
        self.path = path
        return self._compiler.inspect(path) if path else None
