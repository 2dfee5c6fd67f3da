"""Roll back a failed release: cancel its job, and start the former release from the state that it stopped with."""

from __future__ import annotations

from dataclasses import dataclass

from sluice.errors import SluiceError, UnreachableError
from sluice.flink import calls
from sluice.flink.stale_metrics import fetch_timeout
from sluice.health.formatting import seconds
from sluice.health.gates import Gate
from sluice.job.duration import milliseconds
from sluice.ledger.tables import Placement, Release
from sluice.ledger.values import Outcome, Phase
from sluice.operation.context import OperationContext
from sluice.operation.roll_back_cause import metrics_stale, was_lost
from sluice.operation.roll_back_state import NO_LOSS, at_least_once, found_unproven
from sluice.operation.roll_back_steps import end_running, refuse_unknown_end, start_release
from sluice.operation.started import Started
from sluice.operation.stop import StopFailedError, record_failed
from sluice.operation.verify import failed_gate
from sluice.release.target import release_target


@dataclass(frozen=True)
class RollbackResult:
    """The result of a rollback.

    Attributes:
        outcome: `rolled_back`, or `failed`: there was nothing to roll back to, or the rollback failed.
        words: Why the operation failed, and what the rollback means for the job's output.
        flink_job_id: The Flink job that the rollback started and that runs now; None: it started none.
    """

    outcome: Outcome
    words: str
    flink_job_id: str | None = None


def roll_back(context: OperationContext, reason: str) -> RollbackResult:
    """Cancel the job of this operation, start the former release from the state that it stopped with, and finish.

    May be called again after a crash: it continues after the last entry of the journal.

    Args:
        context: The context of the operation, which is unfinished. Its compiler is closed here.
        reason: Why the operation failed.

    Raises:
        UnreachableError: the cluster doesn't answer; a later attempt continues.
    """
    operation = context.operation
    try:
        with context.compiler:
            back = _roll_back(context, reason)
    except UnreachableError:
        raise
    except StopFailedError as error:
        # The stop that was continued is that of the old job, which is still running.
        record_failed(operation, error)
        back = RollbackResult(Outcome.FAILED, f"{reason}; {error.message}; nothing was changed")
    except SluiceError as error:
        back = RollbackResult(
            Outcome.FAILED, f"{reason}; the rollback failed: {error}. The next deploy continues from the journal"
        )
    operation.finish(back.outcome, back.words)
    context.log(back.words)
    return back


def _roll_back(context: OperationContext, reason: str) -> RollbackResult:
    operation, ledger = context.operation, context.project.ledger
    place, former = ledger.placement(context.job), operation.row.former_release
    begun = operation.entry("back", "begin") is not None
    if (
        place is None
        or not (operation.is_touched or found_unproven(context, place))
        or (operation.entry("stop", "failed") and place.phase == Phase.RUNNING)
    ):
        return RollbackResult(Outcome.FAILED, f"{reason}; nothing was changed")
    refuse_unknown_end(context, place)
    if not begun and (back := _without_fault(context, place, reason)):
        return back
    if former is None:
        return RollbackResult(
            Outcome.FAILED, f"{reason}; there is no former release to roll back to: the job is left as it is"
        )
    if former == operation.row.release and place.phase == Phase.RUNNING and not begun:
        return RollbackResult(
            Outcome.FAILED, f"{reason}; the operation did not change the release: the job is left as it is"
        )
    release = ledger.release(context.job, former)
    graph = context.compiler.prepare(release_target(release), carry_over=False).graph
    context.compiler.load()
    meant = end_running(context, place, release, graph)
    flink_job_id, problem = _start(context, release)
    if problem:
        return RollbackResult(
            Outcome.FAILED, f"{reason}; release {former} was started again and did not pass its gates: {problem}"
        )
    return RollbackResult(Outcome.ROLLED_BACK, f"{reason}; release {former} runs again. {meant}", flink_job_id)


def _without_fault(context: OperationContext, place: Placement, reason: str) -> RollbackResult | None:
    """The result if the release did not cause the failure; None: it may have caused it."""
    operation = context.operation
    if operation.row.kind == "suspend":
        # The job should be stopped, so start no release of it.
        return RollbackResult(Outcome.FAILED, f"{reason}; sluice suspend {place.job} continues the suspension")
    if operation.entry("back", "lost") or was_lost(context, place):
        return _start_again(context, place, reason)
    if metrics_stale(context, place):
        wait = seconds(milliseconds(fetch_timeout(context.flink.send(calls.cluster_config()))))
        words = (
            f"{reason}; but the metrics of the cluster are stale, so the job can't be verified: it keeps running. "
            f"Deploy again in {wait} (web.timeout), or after a restart of the JobManager, to verify the job"
        )
        return RollbackResult(Outcome.FAILED, words)
    return None


def _start_again(context: OperationContext, place: Placement, reason: str) -> RollbackResult:
    """Start the same release from its newest state: the former release would write its output a second time."""
    release = context.project.ledger.release(place.job, place.release)
    if context.operation.entry("back", "lost") is None:
        context.operation.record("back", "lost", flink_job_id=place.flink_job_id)
    context.compiler.prepare(release_target(release), carry_over=False)
    flink_job_id, problem = _start(context, release)
    words = (
        f"{reason}; release {release.number} was started again from {context.place.restored_from or 'its beginning'}"
    )
    if problem:
        return RollbackResult(Outcome.FAILED, f"{words}, and did not pass its gates: {problem}")
    meant = NO_LOSS
    if weak := at_least_once(context, release):
        meant = f"its output to {', '.join(weak)} (at-least-once) since then is duplicated; nothing is lost"
    return RollbackResult(Outcome.FAILED, f"{words}: {meant}. Deploy again to verify it", flink_job_id)


def _start(context: OperationContext, release: Release) -> tuple[str, str | None]:
    """Start a release and wait until it runs; the Flink job id, and why it does not run, or None."""
    flink_job_id = start_release(context, release)
    # The client process takes half a gigabyte, and the gate may take minutes.
    context.compiler.close()
    place = context.place
    started = Started(
        context.operation.id,
        release.number,
        flink_job_id,
        place.restored_from,
        unchanged=False,
        positions=place.positions,
    )
    return flink_job_id, failed_gate(context, started, (Gate.RUNNING,))
