"""Submit a prepared release, so that exactly one Flink job of the name runs."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from sluice.client import protocol
from sluice.errors import BusyError, ChangedError, FlinkError, OperationError, SluiceError, UnreachableError
from sluice.flink.ending import cancel, job_state
from sluice.flink.identity import identify
from sluice.ledger.ledger import Ledger
from sluice.ledger.submissions import submissions
from sluice.ledger.tables import Placement
from sluice.ledger.transitions import Submit
from sluice.operation.context import OperationContext
from sluice.state.locate import find, running_release
from sluice.state.offsets import by_topic, check_offsets, offsets_by_partition, topics_from_latest, topics_of
from sluice.state.situation import Runs

_CANCEL_TIMEOUT = 180.0
_PAUSE = 0.1
_TAKEN = ("already been submitted", "DuplicateJobSubmission")
"""Words of Flink's error if a job with this id was already submitted."""


_SHOWN = 60.0
"""Seconds until the cluster must list a job that it has accepted."""
_ARRIVES = 10.0
"""Seconds until the cluster must list a job that it has rejected as a duplicate of a submitted one."""


class Start:
    """Starts one job from a given state.

    Args:
        context: The context of the operation, whose journal is written. Its compiler has prepared the release.
        confirms_loss: A person has confirmed that no Flink job of it runs on the cluster where it was started.
    """

    def __init__(self, context: OperationContext, *, confirms_loss: bool = False) -> None:
        self._project = context.project
        self._flink = context.flink
        self._compiler = context.compiler
        self._operation = context.operation
        self._log = context.log
        self._confirms_loss = confirms_loss

    @property
    def _ledger(self) -> Ledger:
        return self._project.ledger

    def run(
        self, release: int, *, state_path: str | None, positions: Mapping[str, Any] | None, carry_over: bool
    ) -> str:
        """Journal a Flink job id, submit the job under it, and wait until the cluster lists it; the id.

        Args:
            release: The release that the client has prepared.
            state_path: The savepoint or checkpoint; with `carry_over` only its positions are used.
            positions: The next offset of that state per topic and partition.
            carry_over: Start without state, from these positions. A partition without one starts as the read declares.

        Raises:
            BusyError: another process has taken over the operation; the submitted job is cancelled.
            ChangedError: the job runs already, and this operation has not submitted it.
            FlinkError, OperationError: the job did not start; the state is unchanged.
        """
        job = self._operation.row.job
        place = self._ledger.placement(job)
        # Check again, since planning took some seconds: the job must not run twice.
        situation = find(self._project, self._flink, job, place, confirms_loss=self._confirms_loss)
        if isinstance(situation, Runs):
            return self._adopt_running_job(situation.place, release)
        if carry_over:
            self._operation.renew_lease()
            positions = self._carry_over(job, release, positions or {})
        elif positions:
            positions = self._with_new_reads(job, release, positions, place)
        flink_job_id = (self._open_id(place) if place else None) or uuid.uuid4().hex
        cluster = identify(self._flink, self._project.flink_name).values
        restored_from = None if carry_over else state_path
        self._log(f"start from {restored_from}" if restored_from else "start without state")
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
                generated_code=self._compiler.generated_code,
            )
            if self._submit(flink_job_id, restored_from, release):
                break
            flink_job_id = uuid.uuid4().hex
        return self._submitted(flink_job_id)

    def _submitted(self, flink_job_id: str) -> str:
        """Journal that the cluster has accepted the job; its id."""
        try:
            self._operation.record("start", "submitted", flink_job_id=flink_job_id)
        except BusyError:
            self._cancel_duplicate(flink_job_id)
            raise
        self._log(f"submitted as Flink job {flink_job_id}")
        return flink_job_id

    def _adopt_running_job(self, place: Placement, release: int) -> str:
        """Adopt the running job, if this operation has submitted it before; its id.

        Raises:
            ChangedError: it has not: the cluster has recovered the job, or another operation has started it.
        """
        entry = self._operation.entry("start", "submit") or {}
        if (entry.get("flink_job_id"), entry.get("release")) != (place.flink_job_id, release):
            raise ChangedError(
                f"{place.job}: Flink job {place.flink_job_id} did not run when the plan was made, and runs now",
                remedy=f"see sluice status {place.job}; a deploy continues from its state",
            )
        return self._submitted(place.flink_job_id)

    def _cancel_duplicate(self, flink_job_id: str) -> None:
        """Cancel a job that was submitted after another process had taken over the operation and started another job.

        If that process has adopted this job, leave it.
        """
        place = self._ledger.placement(self._operation.row.job)
        if place is None or place.flink_job_id != flink_job_id:
            self._log(f"another process has taken over this operation: Flink job {flink_job_id} is cancelled")
            cancel(self._flink, flink_job_id, _CANCEL_TIMEOUT)

    def has(self, place: Placement) -> bool:
        """Whether the cluster knows the job of a placement, running or ended, with the placement's release."""
        if job_state(self._flink, place.flink_job_id) is None:
            return False
        return self._is_release(place, place.release)

    def _is_release(self, place: Placement, release: int) -> bool:
        """Whether the Flink job of a placement was submitted as this release."""
        if not submissions(self._ledger, place).is_shared:
            return True
        return running_release(self._flink, place.flink_job_id) == release

    def _carry_over(self, job: str, release: int, positions: Mapping[str, Any]) -> dict[str, dict[str, int]]:
        """Commit the start offset of each partition for the job's group; the offsets per topic and partition.

        The start offset is the given position. A partition without one starts at its end if the read begins at
        `latest`: the commit makes the job start at the offset in the ledger, even if records arrive before it reads.
        In any other partition, an offset that the group has from before is replaced by the partition's first offset.

        Raises:
            OperationError: the group then has other offsets, since another client commits for it.
        """
        brokers, group = self._project.brokers, self._project.group(job)
        resolved = self._ledger.release(job, release).resolved
        wanted = offsets_by_partition(positions, topics_of(resolved))
        latest = topics_from_latest(resolved)
        held = brokers.offsets(topics_of(resolved))
        ends = brokers.stable_ends(latest) if latest else {}
        recreated = frozenset(check_offsets(wanted, held).beyond)
        offsets = {partition: offset for partition, offset in wanted.items() if partition not in recreated}
        without = sorted(held.keys() - offsets.keys())
        committed = brokers.committed(group, without) if without else {}
        offsets |= {partition: held[partition].start for partition in without if partition in committed}
        offsets |= {partition: end for partition, end in ends.items() if partition in without}
        if offsets:
            brokers.commit(group, offsets)
        if offsets and brokers.committed(group, offsets) != offsets:
            raise OperationError(
                f"{job}: consumer group {group} does not have the offsets that were committed for the job's start",
                remedy="stop the other client that commits offsets for this group",
            )
        return by_topic(offsets)

    def _with_new_reads(
        self, job: str, release: int, positions: Mapping[str, Any], place: Placement | None
    ) -> Mapping[str, Any]:
        """The positions of a state, completed with start offsets for the partitions without one of reads at `latest`.

        A new read starts at the end of the partition. A read that the state has without a position starts at the offset
        from which the job was last started.
        """
        resolved = self._ledger.release(job, release).resolved
        latest = topics_from_latest(resolved)
        if not latest:
            return positions
        known = offsets_by_partition(positions, topics_of(resolved))
        before = offsets_by_partition((place.positions if place else None) or {}, latest)
        ends = self._project.brokers.stable_ends(latest)
        return by_topic({**ends, **before, **known})

    def _open_id(self, place: Placement) -> str | None:
        """The id of a placement whose submission Flink has not confirmed, so that it may still arrive; None: another.

        Flink accepts one job per id, so the next submission uses the same id. A job that has started under it since
        then is not the wanted one: cancel it, and use a new id.
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
        """Cancel a job that started although its submission had failed, and wait until Flink reports its end."""
        self._operation.renew_lease()
        self._log(f"Flink job {flink_job_id} started after its submission had failed: it is cancelled")
        cancel(self._flink, flink_job_id, _CANCEL_TIMEOUT)

    def _submit(self, flink_job_id: str, savepoint: str | None, release: int) -> bool:
        """True: the cluster has the job. False: an ended job has used the id."""
        try:
            self._compiler.submit(protocol.Submit(flink_job_id=flink_job_id, savepoint=savepoint, release=release))
        except (FlinkError, OperationError, UnreachableError) as error:
            # The answer may have been lost, so ask the cluster for the job.
            return self._has_arrived(flink_job_id, release, error)
        if not self._shows(flink_job_id, _SHOWN):
            raise OperationError(
                f"the cluster does not list Flink job {flink_job_id}, which it has accepted",
                remedy="see the JobManager's log; the next attempt submits under the same id",
            ) from None
        return True

    def _has_arrived(self, flink_job_id: str, release: int, error: SluiceError) -> bool:
        """The result, as of `_submit`, of a submission that failed or got no answer.

        Raises:
            SluiceError: the given error: the cluster does not know the id.
        """
        is_taken = any(words in str(error) for words in _TAKEN)
        # Flink rejects a duplicate of a job that it is still accepting and does not list yet.
        if not self._shows(flink_job_id, _ARRIVES if is_taken else 0):
            if is_taken:
                return False
            raise error
        place = self._ledger.placement(self._operation.row.job)
        if place is None or self._is_release(place, release):
            return True
        self._end_late(flink_job_id)
        return False

    def _shows(self, flink_job_id: str, within: float) -> bool:
        """Whether the cluster lists a job with this id within so many seconds."""
        return self._project.clock.wait_for(
            lambda: job_state(self._flink, flink_job_id) is not None, within=within, pause=_PAUSE
        )
