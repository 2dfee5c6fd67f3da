"""Going back: a release that was started and doesn't hold gives way to the former one, from the same state."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from sluice.errors import FlinkError, SluiceError, UnreachableError
from sluice.flink import calls
from sluice.flink.client import FlinkClient
from sluice.operation.start import Start
from sluice.operation.stop import Stop
from sluice.operation.switch_over import Started, Tell, is_touched
from sluice.operation.verify import Outcome, pass_gates
from sluice.plan.compiler import Compiler
from sluice.plan.directories import Directories
from sluice.plan.target import release_target
from sluice.project import Project
from sluice.release.handle import OperationHandle
from sluice.release.tables import Placement, Release


@dataclass(frozen=True)
class Back:
    """How going back ended.

    Attributes:
        outcome: `rolled_back`, or `failed`: there was nothing to go back to, or it did not work.
        words: Why, and what it meant.
        flink_job_id: What runs now, as far as this operation started it.
    """

    outcome: Outcome
    words: str
    flink_job_id: str | None = None


def roll_back(
    project: Project,
    operation: OperationHandle,
    reason: str,
    flink: FlinkClient,
    tell: Tell,
    compile_with: Callable[[], Compiler],
) -> Back:
    """Cancel what this operation has started, run the former release from the state that it stopped with, and end it.

    May be called again after a crash: it goes on from where the journal stands.

    Args:
        project: The project.
        operation: The operation, which isn't ended yet.
        reason: Why.
        flink: The cluster.
        tell: Where progress goes.
        compile_with: Gives a client for the former release; closed here.

    Raises:
        UnreachableError: the cluster doesn't answer; a later attempt goes on.
    """
    try:
        back = _RollBack(project, operation, flink, tell).run(reason, compile_with)
    except UnreachableError:
        raise
    except SluiceError as error:
        back = Back("failed", f"{reason}; and going back failed: {error}. The next deploy goes on from the journal")
    operation.finish(back.outcome, back.words)
    tell(back.words)
    return back


class _RollBack:
    def __init__(self, project: Project, operation: OperationHandle, flink: FlinkClient, tell: Tell) -> None:
        self._project = project
        self._operation = operation
        self._flink = flink
        self._tell = tell

    def run(self, reason: str, compile_with: Callable[[], Compiler]) -> Back:
        operation, ledger = self._operation, self._project.ledger
        place = ledger.placement(operation.row.job)
        former = operation.row.former_release
        if (
            place is None
            or not (is_touched(operation) or self._found_unproven(place))
            or (operation.entry("stop", "failed") and place.phase == "running")
        ):
            return Back("failed", f"{reason}; nothing was changed")
        if former is None:
            return Back("failed", f"{reason}; there is no former release to go back to: the job is left as it is")
        if former == operation.row.release and place.phase == "running":
            return Back("failed", f"{reason}; this release ran before as well: the job is left as it is")
        release = ledger.release(operation.row.job, former)
        with compile_with() as compiler:
            compiler.prepare(release_target(release), carry_over=False)
            meant = self._end_what_runs(place, release, compiler)
            flink_job_id = self._run_former(release, compiler)
        place = self._place()
        started = Started(
            operation.id, former, flink_job_id, place.restored_from, unchanged=False, positions=place.positions
        )
        problem = asyncio.run(pass_gates(self._project, operation.row.job, started, self._tell, ("running",)))
        if problem:
            return Back("failed", f"{reason}; release {former} was started again and does not hold: {problem}")
        return Back("rolled_back", f"{reason}; release {former} runs again. {meant}", flink_job_id)

    def _found_unproven(self, place: Placement) -> bool:
        """The release was started by an operation that died at its gates; this one has found that it doesn't hold."""
        row = self._operation.row
        return (
            place.phase == "running"
            and place.release == row.release
            and row.former_release not in (None, row.release)
            and self._operation.entry("record", "recorded") is None
            and self._operation.entry("start", "submit") is None
        )

    def _end_what_runs(self, place: Placement, former: Release, compiler: Compiler) -> str:
        """Cancel the new job, or bring an unfinished stop of the old one to its end; what going back means."""
        meant = "It emitted nothing: no record is lost or written twice"
        base = place.state_path
        if place.phase == "running":
            if place.flink_job_id == self._back_id():
                return str((self._operation.entry("back", "cancel") or {}).get("meant", meant))
            intention = {"phase": "stopping", "stop_mode": "cancel", "trigger_id": None, "state_path": base}
            if self._found_unproven(place):
                # It may have run for long: what it has written stands, so its own newest state goes on.
                meant = "It hands over by its newest checkpoint: no record is lost or written twice"
                intention |= {"stop_mode": "last-state", "trigger_id": uuid.uuid4().hex}
            else:
                meant = self._meaning(place)
            self._operation.record("back", "cancel", place=intention, flink_job_id=place.flink_job_id, meant=meant)
            place = self._place()
        if place.phase == "stopping":
            directories = Directories(self._flink, former.resolved["options"])
            base = Stop(self._flink, compiler, directories, self._project.environment, self._tell).complete(place)
            stopped = {"phase": "stopped", "state_path": base, "release": former.number}
            self._operation.record("back", "stopped", place=stopped, path=base)
        return meant

    def _run_former(self, former: Release, compiler: Compiler) -> str:
        place = self._place()
        if place.phase == "running":
            return place.flink_job_id
        path = place.state_path
        positions = compiler.inspect(path).positions if path else None
        start = Start(self._project, self._flink, compiler, self._operation, self._tell)
        flink_job_id = start.run(former.number, state_path=path, positions=positions, carry_over=False)
        self._operation.record("back", "started", flink_job_id=flink_job_id)
        self._operation.update(flink_job_id=flink_job_id, restored_from=path)
        return flink_job_id

    def _back_id(self) -> str | None:
        """The Flink job that this operation has started of the former release."""
        entry = self._operation.entry("start", "submit")
        is_back = entry is not None and entry["release"] == self._operation.row.former_release
        return entry["flink_job_id"] if entry and is_back and self._operation.entry("back", "cancel") else None

    def _meaning(self, place: Placement) -> str:
        """What the new release has done to the output, from its completed checkpoints and the sinks' delivery."""
        release = self._project.ledger.release(place.job, place.release)
        weak = [name for name, sink in release.resolved["writes"].items() if sink["delivery"] != "exactly-once"]
        try:
            completed = self._flink.send(calls.checkpoints(place.flink_job_id)).counts.completed
        except FlinkError:
            completed = None
        if completed == 0 and not weak:
            return "It completed no checkpoint, so it emitted nothing: no record is lost or written twice"
        if completed == 0:
            return f"What it wrote to {', '.join(weak)} (at-least-once) stands twice; nothing is lost"
        count = "an unknown number of" if completed is None else str(completed)
        return (
            f"It completed {count} checkpoints: what it wrote since the savepoint stands there, and is "
            f"written again by release {self._operation.row.former_release}; nothing is lost"
        )

    def _place(self) -> Placement:
        place = self._project.ledger.placement(self._operation.row.job)
        if place is None:
            raise FlinkError(f"{self._operation.row.job}: the ledger has lost where the job stands")
        return place
