"""The stages of a replay as operators. They take plain values, and read the project when they run.

Slow imports are inside functions: the DAG processor imports this module for every job.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from sluice.airflow.assets import set_event_extra
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
"""The XCom with a chunk's progress, {records, of, seconds_left}, updated each minute."""
_LONGEST = timedelta(days=7)
"""The longest time that a chunk may wait in the triggerer."""


class ReplayPlanOperator(RequestOperator):
    """Plan a replay: its records, chunks, release and output topic; fail if the replay can't be run.

    The range is the requested one, otherwise the run's data interval.
    """

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """The chunks, each as {replay, number}; each becomes a mapped task."""
        from sluice.replay.model import ReplayPlan  # noqa: PLC0415

        fields = self.request_fields(context)
        with airflow_errors():
            project = self.project()
            replay = begin(project, self.job, fields, context, run_of(context), self.log.info)
            plan = ReplayPlan.model_validate(replay.plan)
        context["ti"].xcom_push(key="plan", value=plan.model_dump(mode="json", exclude={"resolved", "chunks"}))
        return [{"replay": replay.id, "number": chunk.number} for chunk in plan.chunks]


def begin(
    project: Project, job: str, fields: Mapping[str, Any], context: Context, holder: str, log: Callable[[str], None]
) -> ReplayRun:
    """Start the requested replay, or resume it.

    Args:
        project: The project.
        job: The job's name.
        fields: The request, as the fields of the trigger form of backfill.<job>.
        context: The task's context, for the run's data interval.
        holder: The replay's holder, the same for each try.
        log: Takes progress messages.

    Raises:
        RefusedError: the replay can't be run; or this is a retry, and a person has cancelled the replay of the try
            before.
    """
    from sluice.errors import RefusedError  # noqa: PLC0415
    from sluice.ledger.replay_tables import ReplayOutcome  # noqa: PLC0415
    from sluice.replay.run import begin_replay, find_replay, resume_replay  # noqa: PLC0415

    identity = fields.get("replay")
    if is_retry(context):
        own = find_replay(project, job, identity) if identity else project.ledger.replays.newest(job, holder)
        if own is not None and own.outcome is ReplayOutcome.CANCELLED:
            raise RefusedError(
                f"replay {own.id[:8]} of {job} was cancelled",
                remedy="clear the task to start or resume it",
            )
    if identity:
        return resume_replay(project, job, identity, holder)
    return begin_replay(project, job, _request(fields, context), holder, fields.get("reason") or None, log)


def is_replay_of(project: Project, replay: ReplayRun, fields: Mapping[str, Any], context: Context) -> bool:
    """Whether a replay is the requested one; see `begin`."""
    from sluice.replay.model import ReplayPlan  # noqa: PLC0415
    from sluice.replay.preflight import is_plan_of  # noqa: PLC0415

    if identity := fields.get("replay"):
        return replay.id.startswith(identity)
    return is_plan_of(project, ReplayPlan.model_validate(replay.plan), _request(fields, context))


def _request(fields: Mapping[str, Any], context: Context) -> ReplayRequest:
    from sluice.airflow.params import replay_request  # noqa: PLC0415

    return replay_request(fields, _interval(context, of_form=fields is context["params"]))


class ReplayChunkOperator(SluiceOperator):
    """Run one chunk as a bounded Flink job, and wait for it in the triggerer.

    A retry continues with the Flink job of the try before. Clearing the task runs the chunk again: its rows replace the
    earlier ones by key. Cancelling the run cancels the Flink job.

    Args:
        chunk: {replay, number}: an element of the plan task's output.
        kwargs: See `SluiceOperator`.
    """

    template_fields = ("chunk",)
    operator_extra_links = (FlinkJobLink(),)

    def __init__(self, *, chunk: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.chunk = chunk
        self._killed = False
        self._current: Chunk | None = None

    def execute(self, context: Context) -> dict[str, Any]:
        """Start the chunk or queue it, and defer to a trigger."""
        from sluice.ledger.replay_tables import ChunkState  # noqa: PLC0415

        with airflow_errors():
            project = self.project()
            chunk = self._chunk(project, context)
            if chunk.row.state is ChunkState.FINISHED and context["ti"].try_number > 1 and not is_retry(context):
                # A cleared task. At a first try, the finished chunk belongs to a replay that is being resumed.
                chunk.run_again()
        return self._start_or_wait(context, project, chunk)

    def continue_after_wait(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002 - Airflow passes it
        """Continue: the chunk may start."""
        with airflow_errors():
            project = self.project()
            chunk = self._chunk(project, context)
        return self._start_or_wait(context, project, chunk)

    def resume(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Continue with the chunk's progress from its trigger; the chunk may have ended."""
        from sluice.flink.models import JobState  # noqa: PLC0415
        from sluice.replay.progress import ChunkProgress  # noqa: PLC0415

        if event["state"] == "UNREACHABLE":
            # The Flink job may still run: the next try continues with it.
            raise AirflowException(event["words"])
        progress = ChunkProgress(JobState(event["state"]) if event["state"] else None, event["records"], event["words"])
        with airflow_errors():
            project = self.project()
            chunk = self._chunk(project, context)
            figures = {"records": progress.records, "of": chunk.part.records, "seconds_left": event["seconds_left"]}
            context["ti"].xcom_push(key=PROGRESS, value=figures)
            if progress.is_over:
                chunk.conclude(event["flink_job_id"], progress)
            else:
                chunk.record_progress(progress.records or 0)
        if not progress.is_over:
            self._wait_for_end(event["flink_job_id"], chunk)
        return {"number": chunk.part.number, "records": progress.records}

    def on_kill(self) -> None:
        """Cancel the Flink job of a task that is killed before it has deferred."""
        self._killed = True
        if self._current is not None:
            self._current.cancel()

    def _start_or_wait(self, context: Context, project: Project, chunk: Chunk) -> dict[str, Any]:
        from sluice.ledger.replay_tables import ChunkState  # noqa: PLC0415

        with airflow_errors():
            flink_job_id, row = chunk.begin(lambda: self._killed), chunk.row
        if flink_job_id is not None:
            context["ti"].xcom_push(key=JOB_URL, value=job_url(project.flink_url, flink_job_id))
            self._wait_for_end(flink_job_id, chunk)
        if row.state is not ChunkState.FINISHED:
            self._wait_in_queue(context, chunk)
        return {"number": chunk.part.number, "records": row.records}

    def _wait_in_queue(self, context: Context, chunk: Chunk) -> NoReturn:
        from sluice.airflow.triggers import ChunkQueueTrigger  # noqa: PLC0415

        self.log.info("%s", chunk.waits_for or f"{chunk.part.name} is queued")
        trigger = ChunkQueueTrigger(
            **self.where,
            replay=self.chunk["replay"],
            number=chunk.part.number,
            taker=self._taker(context),
            parallel=chunk.limits.replay,
            most=chunk.limits.job,
            slots=chunk.slots,
        )
        self.defer(trigger=trigger, method_name="continue_after_wait", timeout=_LONGEST)

    def _wait_for_end(self, flink_job_id: str, chunk: Chunk) -> NoReturn:
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
        """A unique name of this task, the same for each try."""
        return task_of(context, self.task_id)

    def _chunk(self, project: Project, context: Context) -> Chunk:
        from sluice.replay.chunk import Chunk  # noqa: PLC0415
        from sluice.replay.model import ReplayPlan  # noqa: PLC0415

        plan = ReplayPlan.model_validate(project.ledger.replays.find(self.chunk["replay"]).plan)
        self._current = Chunk(project, plan, int(self.chunk["number"]), self.log.info, taker=self._taker(context))
        return self._current


class _AfterChunksOperator(SluiceOperator):
    """Base of the operators that run after the chunks.

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


class ReplayReportOperator(_AfterChunksOperator):
    """Count the rows of a replay, and compare them with the live ones."""

    def execute(self, context: Context) -> dict[str, Any]:
        """The report, as `sluice backfill --json` prints it."""
        from sluice.replay.run import finish_replay  # noqa: PLC0415

        with airflow_errors():
            project = self.project()
            replay = self.replay(project)
            report = finish_replay(project, replay, self.log.info)
            set_event_extra(context, self.outlets, replay_extra(project, replay.id))
        return report


class EndChunksOperator(_AfterChunksOperator):
    """Cancel the Flink jobs of this run's unfinished chunks; after a success there are none.

    Without this task they would keep running if a person marks the run as failed before a chunk's trigger runs, or
    while no triggerer runs. The task fails if it has cancelled a Flink job, and the run fails with it: Airflow would
    otherwise count a run whose last tasks were skipped as a success.
    """

    def execute(self, context: Context) -> None:
        """Cancel them; a run whose plan failed has none."""
        from sluice.replay.run import cancel_chunks  # noqa: PLC0415

        if not self.chunks:
            return
        with airflow_errors():
            project = self.project()
            cancelled = cancel_chunks(project, self.replay(project), f"{run_of(context)}/", self.log.info)
        if cancelled:
            raise AirflowFailException(
                f"the run ended before {', '.join(cancelled)} finished; to resume the replay, trigger the DAG again "
                f"with {self.chunks[0]['replay'][:8]} in Resume a replay"
            )


class PromoteOperator(RequestOperator, _AfterChunksOperator):
    """Write the rows of a replay into the live topic, if the request has `promote`."""

    template_fields = (*RequestOperator.template_fields, "chunks")

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """How many rows were written and deleted, by topic."""
        from sluice.replay.promote import promote  # noqa: PLC0415

        fields = self.request_fields(context)
        if not fields.get("promote"):
            raise AirflowSkipException("not requested: the rows stay in the replay's topic")
        with airflow_errors():
            project = self.project()
            accepted = bool(fields.get("accept_differences"))
            replay = self.replay(project)
            promotions = promote(project, replay, self.log.info, accept_differences=accepted)
            written = {each.topic: {"written": each.written, "deleted": each.deleted} for each in promotions}
            set_event_extra(context, self.outlets, {**replay_extra(project, replay.id), "rows": written})
        return [asdict(promotion) for promotion in promotions]


def replay_extra(project: Project, replay: str) -> dict[str, Any]:
    """The extra of a replay's asset events."""
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
    """The run's data interval; None: it has none, or a person left the form's range empty.

    Airflow gives a manually triggered run with a logical date the interval before that date.
    """
    start, end = context.get("data_interval_start"), context.get("data_interval_end")
    run = context.get("dag_run")
    if of_form and run is not None and run.run_type == "manual":
        return None
    if not start or not end or start >= end:
        return None
    # Airflow's own datetime type has its own type of durations.
    return datetime.fromtimestamp(start.timestamp(), UTC), datetime.fromtimestamp(end.timestamp(), UTC)
