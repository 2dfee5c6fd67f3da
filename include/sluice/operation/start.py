"""Submitting a prepared release, so that exactly one job of the name runs."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sluice.client import protocol
from sluice.compiler import Compiler
from sluice.errors import BusyError, ChangedError, FlinkError, OperationError, SluiceError, UnreachableError
from sluice.flink.client import FlinkClient
from sluice.flink.ending import cancel, job_state
from sluice.flink.identity import identify
from sluice.kafka.brokers import connect
from sluice.kafka.offsets import commit_group, read_committed, read_offsets, read_stable_ends
from sluice.ledger.ledger import Ledger
from sluice.ledger.operation_handle import OperationHandle
from sluice.ledger.submissions import submissions
from sluice.ledger.tables import Placement
from sluice.ledger.transitions import Submit
from sluice.project import Project
from sluice.release.versions import PIPELINE
from sluice.state.locate import find, running_release
from sluice.state.offsets import by_topic, hold_against, offsets_by_partition, topics_from_latest, topics_of
from sluice.state.situation import Runs

_CANCEL_TIMEOUT = 180.0
_PAUSE = 0.1
_TAKEN = ("already been submitted", "DuplicateJobSubmission")
"""How Flink says that it has had a job of this id."""


@dataclass(frozen=True)
class Patience:
    """How long the cluster is waited for, in seconds.

    Attributes:
        shown: Until it must show a job that it has accepted.
        arrives: Until it must show one of an id that it takes for submitted.
    """

    shown: float = 60.0
    arrives: float = 10.0


class Start:
    """The start of one job from a given state.

    Args:
        project: The project.
        flink: The cluster.
        compiler: The client, prepared.
        operation: Whose journal is written.
        tell: Where progress goes.
        confirms_loss: A person has confirmed that nothing of the job runs on the cluster where it was started.
        patience: How long the cluster is waited for.
    """

    def __init__(
        self,
        project: Project,
        flink: FlinkClient,
        compiler: Compiler,
        operation: OperationHandle,
        tell: Callable[[str], None],
        *,
        confirms_loss: bool = False,
        patience: Patience = Patience(),
    ) -> None:
        self._project = project
        self._flink = flink
        self._compiler = compiler
        self._operation = operation
        self._tell = tell
        self._confirms_loss = confirms_loss
        self._patience = patience

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
            carry_over: Start without state, from these positions; in partitions that have none, as the read declares.

        Raises:
            BusyError: another process has taken the operation; what was submitted for it is ended again.
            ChangedError: it runs by now, and this operation hasn't submitted it.
            FlinkError, OperationError: it does not come up; the state is where it was.
        """
        job = self._operation.row.job
        place = self._ledger.placement(job)
        # Looked at once more, since planning took some seconds: no job runs twice.
        situation = find(self._project, self._flink, job, place, confirms_loss=self._confirms_loss)
        if isinstance(situation, Runs):
            return self._adopt_running_job(situation.place, release)
        if carry_over:
            self._operation.prove()
            positions = self._carry_over(job, release, positions or {})
        elif positions:
            positions = self._with_new_reads(job, release, positions, place)
        flink_job_id = (self._open_id(place) if place else None) or uuid.uuid4().hex
        cluster = identify(self._flink, self._project.flink_name).values
        restored_from = None if carry_over else state_path
        self._tell(f"start from {restored_from}" if restored_from else "start without state")
        while True:
            self._operation.record(
                "start",
                "submit",
                transition=Submit(
                    release,
                    flink_job_id,
                    restored_from,
                    state_path,
                    positions,
                    carried_over=carry_over,
                    cluster=cluster,
                ),
                release=release,
                flink_job_id=flink_job_id,
                state_path=state_path,
                generated_code=PIPELINE,
            )
            if self._submit(flink_job_id, restored_from, release):
                break
            flink_job_id = uuid.uuid4().hex
        return self._submitted(flink_job_id)

    def _submitted(self, flink_job_id: str) -> str:
        """Journal that the cluster has it; the id."""
        try:
            self._operation.record("start", "submitted", flink_job_id=flink_job_id)
        except BusyError:
            self._cancel_duplicate(flink_job_id)
            raise
        self._tell(f"submitted as Flink job {flink_job_id}")
        return flink_job_id

    def _adopt_running_job(self, place: Placement, release: int) -> str:
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

    def _cancel_duplicate(self, flink_job_id: str) -> None:
        """End what was submitted too late: whoever has taken the operation has started another job meanwhile.

        Where that one has found this job, it goes on with it.
        """
        place = self._ledger.placement(self._operation.row.job)
        if place is None or place.flink_job_id != flink_job_id:
            self._tell(f"this operation was taken by another process: Flink job {flink_job_id} is ended again")
            cancel(self._flink, flink_job_id, _CANCEL_TIMEOUT)

    def has(self, place: Placement) -> bool:
        """Whether the cluster has, or has had, the job at a placement, and not another release under its id."""
        if job_state(self._flink, place.flink_job_id) is None:
            return False
        return self._is_release(place, place.release)

    def _is_release(self, place: Placement, release: int) -> bool:
        """Whether what Flink shows under the id of a placement was submitted as this release."""
        if not submissions(self._ledger, place).is_shared:
            return True
        return running_release(self._flink, place.flink_job_id) == release

    def _carry_over(self, job: str, release: int, positions: Mapping[str, Any]) -> dict[str, dict[str, int]]:
        """Commit for the job's group where each partition is read from; what was committed, per topic and partition.

        That is the given position. A partition without one is read from its end where the read begins at `latest`:
        committing it makes the job begin where the ledger says, whatever arrives before its first record. Of another
        one only an offset that the group has from before is replaced, by the partition's first.

        Raises:
            OperationError: the group does not have these offsets afterwards: something else commits for it.
        """
        kafka, group, servers = self._project.kafka, self._project.group(job), self._project.kafka_servers
        resolved, admin = self._ledger.release(job, release).resolved, connect(self._project.kafka)
        wanted = offsets_by_partition(positions, topics_of(resolved))
        latest = topics_from_latest(resolved)
        held = read_offsets(admin, topics_of(resolved), servers)
        ends = read_stable_ends(admin, latest, servers) if latest else {}
        anew = frozenset(hold_against(wanted, held).beyond)
        offsets = {partition: offset for partition, offset in wanted.items() if partition not in anew}
        without = sorted(held.keys() - offsets.keys())
        committed = read_committed(kafka, group, without) if without else {}
        offsets |= {partition: held[partition].start for partition in without if partition in committed}
        offsets |= {partition: end for partition, end in ends.items() if partition in without}
        if offsets:
            commit_group(kafka, group, offsets)
        if offsets and read_committed(kafka, group, offsets) != offsets:
            raise OperationError(
                f"{job}: consumer group {group} does not have the offsets that were committed for the job's start",
                remedy="end whatever else commits offsets for this group",
            )
        return by_topic(offsets)

    def _with_new_reads(
        self, job: str, release: int, positions: Mapping[str, Any], place: Placement | None
    ) -> Mapping[str, Any]:
        """The positions of a state, and where the job begins in partitions from `latest` that it has read nothing of.

        A read that is new begins at the end. One that the state holds without a position begins where the job was
        started before.
        """
        resolved = self._ledger.release(job, release).resolved
        latest = topics_from_latest(resolved)
        if not latest:
            return positions
        known = offsets_by_partition(positions, topics_of(resolved))
        before = offsets_by_partition((place.positions if place else None) or {}, latest)
        ends = read_stable_ends(connect(self._project.kafka), latest, self._project.kafka_servers)
        return by_topic({**ends, **before, **known})

    def _open_id(self, place: Placement) -> str | None:
        """The id at a placement, where Flink has not answered for it yet: what was submitted may still arrive.

        Flink admits one job of an id, so the next submission takes the same one. What has come up under it since is
        not what is to run, and is ended; its id is used up.
        """
        if submissions(self._ledger, place).is_answered:
            return None
        state = job_state(self._flink, place.flink_job_id)
        if state is None:
            return place.flink_job_id
        if not state.is_terminal:
            self._end_late(place.flink_job_id)
        return None

    def _end_late(self, flink_job_id: str) -> None:
        """Cancel a job that came up although its submission was given up, and wait until Flink says that it ended."""
        self._operation.prove()
        self._tell(f"Flink job {flink_job_id} came up after its submission was given up: it is cancelled")
        cancel(self._flink, flink_job_id, _CANCEL_TIMEOUT)

    def _submit(self, flink_job_id: str, savepoint: str | None, release: int) -> bool:
        """True: the cluster has the job. False: the id is used up, by a job that has ended."""
        try:
            self._compiler.submit(protocol.Submit(flink_job_id=flink_job_id, savepoint=savepoint, release=release))
        except (FlinkError, OperationError, UnreachableError) as error:
            # The answer may have been lost: the cluster knows.
            return self._has_arrived(flink_job_id, release, error)
        if not self._shows(flink_job_id, self._patience.shown):
            raise OperationError(
                f"the cluster does not show Flink job {flink_job_id}, which it has accepted",
                remedy="see the JobManager's log; the next attempt submits under the same id",
            ) from None
        return True

    def _has_arrived(self, flink_job_id: str, release: int, error: SluiceError) -> bool:
        """What has become of a submission that failed, or got no answer; as `_submit`.

        Raises:
            SluiceError: the error; nothing is known of the id.
        """
        is_taken = any(words in str(error) for words in _TAKEN)
        # One that is just being admitted counts as submitted before the cluster shows it.
        if not self._shows(flink_job_id, self._patience.arrives if is_taken else 0):
            if is_taken:
                return False
            raise error
        place = self._ledger.placement(self._operation.row.job)
        if place is None or self._is_release(place, release):
            return True
        self._end_late(flink_job_id)
        return False

    def _shows(self, flink_job_id: str, within: float) -> bool:
        """Whether the cluster shows a job of this id within so many seconds."""
        until = time.monotonic() + within
        while job_state(self._flink, flink_job_id) is None:
            if time.monotonic() >= until:
                return False
            time.sleep(_PAUSE)
        return True
