"""The stages of a replay as operators. They take plain values, and read the project when they run.

What costs time to import is imported when a task runs: the DAG processor parses every job.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from sluice.airflow.assets import tell_outlets
from sluice.airflow.base import RequestOperator, SluiceOperator, airflow_errors, is_retry
from sluice.airflow.holders import run_of, task_of
from sluice.airflow.links import JOB_URL, FlinkJobLink, job_url

if TYPE_CHECKING:
    from airflow.sdk import Context

    from sluice.ledger.replay_tables import ReplayRun
    from sluice.project import Project
    from sluice.replay.chunk import Chunk
    from sluice.replay.model import ReplayRequest

PROGRESS = "progress"
"""The XCom with how far a chunk has come: {records, of, seconds_left}; anew each minute."""
_LONGEST = timedelta(days=7)
"""How long a chunk may wait in the triggerer."""


class ReplayPlanOperator(RequestOperator):
    """Plan a replay: which records it reads, in which chunks, by which release, into which topic; refuse what can't be.

    The range is the one that is asked for, otherwise the run's data interval.
    """

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """The chunks: {replay, number}, for a task each."""
        from sluice.replay.model import ReplayPlan  # noqa: PLC0415

        asked = self.request(context)
        with airflow_errors():
            project = self.project()
            replay = begin(project, self.job, asked, context, run_of(context), self.log.info)
            plan = ReplayPlan.model_validate(replay.plan)
        context["ti"].xcom_push(key="plan", value=plan.model_dump(mode="json", exclude={"resolved", "chunks"}))
        return [{"replay": replay.id, "number": chunk.number} for chunk in plan.chunks]


def begin(
    project: Project, job: str, asked: Mapping[str, Any], context: Context, holder: str, tell: Callable[[str], None]
) -> ReplayRun:
    """The replay that is asked for: begun, or gone on with.

    Args:
        project: The project.
        job: The job's name.
        asked: The fields of the trigger form of backfill.<job>.
        context: The task's, for the run's data interval.
        holder: Who does it: the same for each try.
        tell: Where progress goes.

    Raises:
        RefusedError: it can't be; or somebody has cancelled it since a try before, and nobody has cleared the task.
    """
    from sluice.errors import RefusedError  # noqa: PLC0415
    from sluice.replay.run import begin_replay, find_replay, resume_replay  # noqa: PLC0415

    identity = asked.get("replay")
    if is_retry(context):
        own = find_replay(project, job, identity) if identity else project.ledger.replays.newest(job, holder)
        if own is not None and own.outcome == "cancelled":
            raise RefusedError(
                f"replay {own.id[:8]} of {job} was cancelled", remedy="clear the task to begin or go on all the same"
            )
    if identity:
        return resume_replay(project, job, identity, holder)
    return begin_replay(project, job, _request(asked, context), holder, asked.get("reason") or None, tell)


def goes_on_with(project: Project, replay: ReplayRun, asked: Mapping[str, Any], context: Context) -> bool:
    """Whether a replay is the one that is asked for; see `begin`."""
    from sluice.replay.model import ReplayPlan  # noqa: PLC0415
    from sluice.replay.preflight import is_plan_of  # noqa: PLC0415

    if identity := asked.get("replay"):
        return replay.id.startswith(identity)
    return is_plan_of(project, ReplayPlan.model_validate(replay.plan), _request(asked, context))


def _request(asked: Mapping[str, Any], context: Context) -> ReplayRequest:
    from sluice.airflow.params import replay_request  # noqa: PLC0415

    return replay_request(asked, _interval(context, of_form=asked is context["params"]))


class ReplayChunkOperator(SluiceOperator):
    """Run one chunk as a bounded Flink job, and wait for it in the triggerer.

    A retry finds the job that it has started; one that is cleared runs the chunk again, with the same rows by their
    keys. A run that is cancelled ends the job.

    Args:
        chunk: {replay, number}: an element of the plan task's output.
    """

    template_fields = ("chunk",)
    operator_extra_links = (FlinkJobLink(),)

    def __init__(self, *, chunk: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.chunk = chunk
        self._killed = False
        self._current: Chunk | None = None

    def execute(self, context: Context) -> dict[str, Any]:
        """Start it, or wait for its turn; hand over to a trigger."""
        with airflow_errors():
            project = self.project()
            chunk = self._chunk(project, context)
            state = chunk.row.state
            if state == "finished" and context["ti"].try_number > 1 and not is_retry(context):
                # Cleared, it is to be run again. At first it is of a replay that goes on.
                chunk.run_again()
        return self._go(context, project, chunk)

    def turn(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002 - what a trigger calls
        """It may be its turn."""
        with airflow_errors():
            project = self.project()
            chunk = self._chunk(project, context)
        return self._go(context, project, chunk)

    def resume(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """What the trigger has seen: its end, or how far it has come."""
        from sluice.flink.models import JobState  # noqa: PLC0415
        from sluice.replay.progress import ChunkProgress  # noqa: PLC0415

        if event["state"] == "UNREACHABLE":
            # The job may well run: the next try finds it.
            raise AirflowException(event["words"])
        progress = ChunkProgress(JobState(event["state"]) if event["state"] else None, event["records"], event["words"])
        with airflow_errors():
            project = self.project()
            chunk = self._chunk(project, context)
            told = {"records": progress.records, "of": chunk.part.records, "seconds_left": event["seconds_left"]}
            context["ti"].xcom_push(key=PROGRESS, value=told)
            if progress.is_over:
                chunk.conclude(event["flink_job_id"], progress)
            else:
                chunk.record_progress(progress.records or 0)
        if not progress.is_over:
            self._wait(event["flink_job_id"], chunk)
        return {"number": chunk.part.number, "records": progress.records}

    def on_kill(self) -> None:
        """End the Flink job of a task that is killed before it has handed over."""
        self._killed = True
        if self._current is not None:
            self._current.cancel()

    def _go(self, context: Context, project: Project, chunk: Chunk) -> dict[str, Any]:
        with airflow_errors():
            flink_job_id, row = chunk.begin(lambda: self._killed), chunk.row
        if flink_job_id is not None:
            context["ti"].xcom_push(key=JOB_URL, value=job_url(project.flink_url, flink_job_id))
            self._wait(flink_job_id, chunk)
        if row.state != "finished":
            self._wait_for_turn(context, chunk)
        return {"number": chunk.part.number, "records": row.records}

    def _wait_for_turn(self, context: Context, chunk: Chunk) -> NoReturn:
        from sluice.airflow.triggers import TurnTrigger  # noqa: PLC0415

        self.log.info("%s", chunk.waits_for or f"{chunk.part.name} waits for its turn")
        trigger = TurnTrigger(
            **self.where,
            replay=self.chunk["replay"],
            number=chunk.part.number,
            taker=self._taker(context),
            parallel=chunk.limits.replay,
            most=chunk.limits.job,
            slots=chunk.slots,
        )
        self.defer(trigger=trigger, method_name="turn", timeout=_LONGEST)

    def _wait(self, flink_job_id: str, chunk: Chunk) -> NoReturn:
        from sluice.airflow.triggers import ReplayTrigger  # noqa: PLC0415

        part, begun = chunk.part, chunk.row.began_at
        trigger = ReplayTrigger(
            **self.where,
            flink_job_id=flink_job_id,
            name=part.name,
            total=part.records,
            begun=begun.timestamp() if begun else time.time(),
        )
        self.defer(trigger=trigger, method_name="resume", timeout=_LONGEST)

    def _taker(self, context: Context) -> str:
        """The same for each try of this task, and nobody else's."""
        return task_of(context, self.task_id)

    def _chunk(self, project: Project, context: Context) -> Chunk:
        from sluice.replay.chunk import Chunk  # noqa: PLC0415
        from sluice.replay.model import ReplayPlan  # noqa: PLC0415

        plan = ReplayPlan.model_validate(project.ledger.replays.find(self.chunk["replay"]).plan)
        self._current = Chunk(project, plan, int(self.chunk["number"]), self.log.info, taker=self._taker(context))
        return self._current


class _ReplayedOperator(SluiceOperator):
    """Base of what comes after the chunks.

    Args:
        chunks: The plan task's output (templated).
        kwargs: See `SluiceOperator`.
    """

    template_fields: Collection[str] = ("chunks",)

    def __init__(self, *, chunks: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.chunks = chunks

    def replay(self, project: Project) -> ReplayRun:
        """The run's replay."""
        return project.ledger.replays.find(self.chunks[0]["replay"])


class ReplayReportOperator(_ReplayedOperator):
    """Count the rows of a replay, and hold them against the live ones."""

    def execute(self, context: Context) -> dict[str, Any]:
        """The report, as `sluice backfill --json` prints it."""
        from sluice.replay.run import finish_replay  # noqa: PLC0415

        with airflow_errors():
            project = self.project()
            replay = self.replay(project)
            report = finish_replay(project, replay, self.log.info)
            tell_outlets(context, self.outlets, replay_extra(project, replay.id))
        return report


class EndChunksOperator(_ReplayedOperator):
    """End the Flink jobs that this run has begun and not seen to their ends: nothing to do where all went well.

    A run that is given up before a chunk's trigger has come to run, or while no triggerer runs, would leave them. Where
    there was something to end it fails, and the run with it: Airflow takes a run for a success whose last tasks it has
    skipped, as it does where a run is marked as failed.
    """

    def execute(self, context: Context) -> None:
        """End them; a run that came to no plan has none."""
        from sluice.replay.run import cancel_chunks  # noqa: PLC0415

        if not self.chunks:
            return
        with airflow_errors():
            project = self.project()
            ended = cancel_chunks(project, self.replay(project), f"{run_of(context)}/", self.log.info)
        if ended:
            raise AirflowFailException(
                f"the run was given up: {', '.join(ended)} did not come to an end; to go on with them, trigger the DAG "
                f"again, with {self.chunks[0]['replay'][:8]} under Go on with a replay"
            )


class PromoteOperator(RequestOperator, _ReplayedOperator):
    """Write the rows of a replay into the live topic, where that is asked for."""

    template_fields = (*RequestOperator.template_fields, "chunks")

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """What was written and deleted, by topic."""
        from sluice.replay.promote import promote  # noqa: PLC0415

        asked = self.request(context)
        if not asked.get("promote"):
            raise AirflowSkipException("not asked for: the rows stay in the topic of the replay")
        with airflow_errors():
            project = self.project()
            accepted = bool(asked.get("accept_differences"))
            replay = self.replay(project)
            done = promote(project, replay, self.log.info, accept_differences=accepted)
            written = {each.topic: {"written": each.written, "deleted": each.deleted} for each in done}
            tell_outlets(context, self.outlets, {**replay_extra(project, replay.id), "rows": written})
        return [asdict(promotion) for promotion in done]


def replay_extra(project: Project, replay: str) -> dict[str, Any]:
    """What the event of an asset says of a replay."""
    row = project.ledger.replays.find(replay)
    return {
        "kind": "backfill",
        "replay": row.id,
        "release": row.release,
        "outcome": row.outcome,
        "start": row.plan["start"],
        "end": row.plan["end"],
        "records": row.records,
    }


def _interval(context: Context, *, of_form: bool) -> tuple[datetime, datetime] | None:
    """The run's data interval; None where it has none, or where a person left the form's range empty.

    Airflow gives a run that was triggered by hand, with a logical date, the interval before it.
    """
    start, end = context.get("data_interval_start"), context.get("data_interval_end")
    run = context.get("dag_run")
    if of_form and run is not None and run.run_type == "manual":
        return None
    if not start or not end or start >= end:
        return None
    # Airflow's own type of moments has durations of its own type.
    return datetime.fromtimestamp(start.timestamp(), UTC), datetime.fromtimestamp(end.timestamp(), UTC)
