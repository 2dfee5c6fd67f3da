"""Submitting a prepared release, so that exactly one job of the name runs."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from sluice.client.protocol import Submit
from sluice.errors import BusyError, ChangedError, FlinkError, OperationError, UnreachableError
from sluice.flink import calls
from sluice.flink.client import FlinkClient
from sluice.flink.ending import cancel, job_state
from sluice.kafka.brokers import connect
from sluice.kafka.offsets import commit_group, read_committed, read_offsets
from sluice.plan.compiler import Compiler
from sluice.plan.continuity import hold_against, offsets_by_partition, topics_of
from sluice.plan.situation import Runs, locate
from sluice.project import Project
from sluice.release.handle import OperationHandle
from sluice.release.ledger import Ledger
from sluice.release.tables import Placement

_CANCEL_TIMEOUT = 180.0
_KNOWN_TIMEOUT = 60.0
"""Seconds until the cluster must show a job that it has accepted."""


class Start:
    """The start of one job from a given state.

    Args:
        project: The project.
        flink: The cluster.
        compiler: The client, prepared.
        operation: Whose journal is written.
        tell: Where progress goes.
    """

    def __init__(
        self,
        project: Project,
        flink: FlinkClient,
        compiler: Compiler,
        operation: OperationHandle,
        tell: Callable[[str], None],
    ) -> None:
        self._project = project
        self._flink = flink
        self._compiler = compiler
        self._operation = operation
        self._tell = tell

    @property
    def _ledger(self) -> Ledger:
        return self._project.ledger

    def run(
        self, release: int, *, state_path: str | None, positions: Mapping[str, Any] | None, carry_over: bool
    ) -> str:
        """Journal a Flink job id, submit under it, and wait until the cluster shows it; the id.

        Args:
            release: What the client has prepared.
            state_path: The savepoint or checkpoint; with `carry_over` only its positions are taken.
            positions: Per topic and partition the next offset of that state.
            carry_over: Start without state, from these positions.

        Raises:
            BusyError: another process has taken the operation; what was submitted for it is ended again.
            ChangedError: it runs by now, and this operation hasn't submitted it.
            FlinkError, OperationError: it does not come up; the state is where it was.
        """
        job = self._operation.row.job
        place = self._ledger.placement(job)
        # Looked at once more, since planning took some seconds: no job runs twice.
        situation = locate(job, place, self._flink.send(calls.jobs()).jobs)
        if isinstance(situation, Runs):
            return self._shown_up(situation.place, release)
        if carry_over and positions:
            self._operation.prove()
            positions = self._carry_over(job, release, positions)
        flink_job_id = self._own_id(place, release) or uuid.uuid4().hex
        restored_from = None if carry_over else state_path
        self._tell(f"start from {restored_from}" if restored_from else "start without state")
        while True:
            self._operation.record(
                "start",
                "submit",
                place={
                    "phase": "running",
                    "release": release,
                    "flink_job_id": flink_job_id,
                    "restored_from": restored_from,
                    "had_checkpoint": False,
                    "stop_mode": None,
                    "trigger_id": None,
                    "savepoint_directory": None,
                    "state_path": state_path,
                    "positions": positions,
                    "carried_over": carry_over,
                },
                release=release,
                flink_job_id=flink_job_id,
                state_path=state_path,
            )
            if self._submit(flink_job_id, restored_from):
                break
            flink_job_id = uuid.uuid4().hex
        return self._submitted(flink_job_id)

    def _submitted(self, flink_job_id: str) -> str:
        """Journal that the cluster has it; the id."""
        try:
            self._operation.record("start", "submitted", flink_job_id=flink_job_id)
        except BusyError:
            self._end_beside(flink_job_id)
            raise
        self._tell(f"submitted as Flink job {flink_job_id}")
        return flink_job_id

    def _shown_up(self, place: Placement, release: int) -> str:
        """The job that runs by now, where it is what this operation has submitted before; its id.

        Raises:
            ChangedError: it isn't: the cluster has got it back, or another operation has started it.
        """
        entry = self._operation.entry("start", "submit") or {}
        if (entry.get("flink_job_id"), entry.get("release")) != (place.flink_job_id, release):
            raise ChangedError(
                f"{place.job}: Flink job {place.flink_job_id} did not run when this was planned, and runs now",
                remedy=f"see sluice status {place.job}; a deploy goes on from there",
            )
        return self._submitted(place.flink_job_id)

    def _end_beside(self, flink_job_id: str) -> None:
        """End what was submitted too late: whoever has taken the operation has started another job meanwhile.

        Where that one has found this job, it goes on with it.
        """
        place = self._ledger.placement(self._operation.row.job)
        if place is None or place.flink_job_id != flink_job_id:
            self._tell(f"this operation was taken by another process: Flink job {flink_job_id} is ended again")
            cancel(self._flink, flink_job_id, _CANCEL_TIMEOUT)

    def is_known(self, flink_job_id: str) -> bool:
        """Whether the cluster has, or has had, a job of this id."""
        return job_state(self._flink, flink_job_id) is not None

    def _carry_over(self, job: str, release: int, positions: Mapping[str, Any]) -> dict[str, dict[str, int]]:
        """Let the job's group stand at these positions, as far as the topics that it reads have them; where it stands.

        Raises:
            OperationError: the group stands elsewhere afterwards: somebody else commits for it.
        """
        kafka, group = self._project.kafka, self._project.group(job)
        read = topics_of(self._ledger.release(job, release).resolved)
        wanted = offsets_by_partition(positions, read)
        held = read_offsets(connect(kafka), {topic for topic, _ in wanted}, self._project.kafka_servers)
        anew = frozenset(hold_against(wanted, held).beyond)
        offsets = {partition: offset for partition, offset in wanted.items() if partition not in anew}
        if offsets:
            commit_group(kafka, group, offsets)
        if offsets and read_committed(kafka, group, offsets) != offsets:
            raise OperationError(
                f"{job}: consumer group {group} does not stand where the job stopped",
                remedy="end whatever else commits offsets for this group",
            )
        stands: dict[str, dict[str, int]] = {}
        for (topic, number), offset in offsets.items():
            stands.setdefault(topic, {})[str(number)] = offset
        return stands

    def _own_id(self, place: Placement | None, release: int) -> str | None:
        """The id under which this very operation was about to submit this release: a submission may be on its way."""
        entry = self._operation.entry("start", "submit")
        if entry is None or place is None or place.phase != "running" or entry["release"] != release:
            return None
        is_last = entry["flink_job_id"] == place.flink_job_id
        submitted = self._operation.entry("start", "submitted")
        return place.flink_job_id if is_last and (submitted or {}).get("flink_job_id") != place.flink_job_id else None

    def _submit(self, flink_job_id: str, savepoint: str | None) -> bool:
        """True: the cluster has the job. False: it has had a job of this id, which has ended."""
        try:
            self._compiler.submit(Submit(flink_job_id=flink_job_id, savepoint=savepoint))
        except (FlinkError, OperationError, UnreachableError) as error:
            # The answer may have been lost: the cluster knows.
            if self.is_known(flink_job_id):
                return True
            if "already been submitted" in str(error) or "DuplicateJobSubmission" in str(error):
                return False
            raise
        deadline = time.monotonic() + _KNOWN_TIMEOUT
        while not self.is_known(flink_job_id):
            if time.monotonic() > deadline:
                raise OperationError(f"the cluster does not show Flink job {flink_job_id}")
            time.sleep(0.1)
        return True
