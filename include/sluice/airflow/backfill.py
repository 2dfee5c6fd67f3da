"""A replay in your own DAGs: as one task, or as a group with a task for each chunk.

Slow imports are inside functions: the DAG processor imports this module for every job.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import TaskGroup
from airflow.sdk.exceptions import AirflowFailException

from sluice.airflow.assets import JobAssets, job_asset, set_event_extra
from sluice.airflow.base import RETRIES, airflow_errors
from sluice.airflow.replay import (
    EndChunksOperator,
    PromoteOperator,
    ReplayChunkOperator,
    ReplayPlanOperator,
    ReplayReportOperator,
    begin,
    is_replay_of,
    replay_extra,
)
from sluice.plan.request import SETTING

if TYPE_CHECKING:
    from airflow.sdk import Context

    from sluice.ledger.replay_tables import ReplayRun
    from sluice.project import Project


def replay_fields(config: Mapping[str, Any] | None, **fields: Any) -> dict[str, Any]:
    """The request for a replay, as the fields of the trigger form of backfill.<job>.

    Args:
        config: Settings of the job for this replay.
        fields: Fields of the form: `start`, `end` (None: the run's data interval), `chunk`, `parallel`, `output`
            (`separate`, `live`, `other` with `output_topic`), `release`, `replay`, `accept_missing`, `promote`,
            `accept_differences`, `reason`.

    Raises:
        TypeError: the form has no such field.
    """
    known = {
        *("start", "end", "chunk", "parallel", "output", "output_topic", "release", "replay"),
        *("accept_missing", "promote", "accept_differences", "reason"),
    }
    if unknown := fields.keys() - known:
        raise TypeError(f"a backfill has no {', '.join(sorted(unknown))}; it has {', '.join(sorted(known))}")
    return {**fields, **{f"{SETTING}{name}": value for name, value in (config or {}).items()}}


class BackfillOperator(ReplayChunkOperator):
    """Replay a range of a job's history, chunk after chunk, waiting in the triggerer, and compare the rows.

    A retry resumes the replay of the first try; cancelling the run cancels its Flink job.

    Args:
        config: Settings of the job for this replay.
        asked: The request, see `replay_fields` (templated); without a range, the run's data interval.
        kwargs: See `SluiceOperator`.
    """

    template_fields = ("asked",)

    def __init__(
        self, *, config: Mapping[str, Any] | None = None, asked: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> None:
        outlets = [*kwargs.pop("outlets", ()), job_asset(kwargs["job"])]
        super().__init__(chunk=None, outlets=outlets, **kwargs)
        self.asked = replay_fields(config, **(asked or {}))

    def execute(self, context: Context) -> dict[str, Any]:
        """The report, as `sluice backfill --json` prints it, with `promoted` if the request has `promote`."""
        with airflow_errors():
            project = self.project()
            replay = project.ledger.replays.newest(self.job, self._taker(context))
            if replay is None or not self._only_promotes(project, replay, context):
                replay = begin(project, self.job, self.asked, context, self._taker(context), self.log.info)
        return self._run_chunks(context, project, replay)

    def continue_after_wait(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002 - Airflow passes it
        """Continue: the next chunk may start."""
        return self._run_chunks(context, *self._current_replay(context))

    def resume(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Continue with a chunk's progress from its trigger."""
        from sluice.ledger.replay_tables import ChunkState  # noqa: PLC0415

        project, replay = self._current_replay(context)
        with airflow_errors():
            chunks = project.ledger.replays.chunks(replay.id)
        for chunk in chunks:
            # An event of an earlier attempt is ignored.
            if chunk.flink_job_id == event["flink_job_id"] and chunk.state is not ChunkState.FINISHED:
                self.chunk = {"replay": replay.id, "number": chunk.number}
                super().resume(context, event)
        return self._run_chunks(context, project, replay)

    def _run_chunks(self, context: Context, project: Project, replay: ReplayRun) -> dict[str, Any]:
        """Run the unfinished chunks, then report and promote."""
        while (number := self._next_chunk(project, replay)) is not None:
            self.chunk = {"replay": replay.id, "number": number}
            with airflow_errors():
                chunk = self._chunk(project, context)
            self._start_or_wait(context, project, chunk)
        return self._conclude(context, project, replay)

    def _conclude(self, context: Context, project: Project, replay: ReplayRun) -> dict[str, Any]:
        from sluice.ledger.replay_tables import ReplayOutcome  # noqa: PLC0415
        from sluice.replay.promote import promote  # noqa: PLC0415
        from sluice.replay.run import finish_replay  # noqa: PLC0415

        with airflow_errors():
            report = replay.report if replay.outcome is ReplayOutcome.COMPLETED else None
            report = report or finish_replay(project, replay, self.log.info)
            set_event_extra(context, [job_asset(self.job)], replay_extra(project, replay.id))
            if not self.asked.get("promote"):
                return report
            accepted = bool(self.asked.get("accept_differences"))
            ended = project.ledger.replays.find(replay.id)
            promotions = promote(project, ended, self.log.info, accept_differences=accepted)
        return {**report, "promoted": [asdict(promotion) for promotion in promotions]}

    def _current_replay(self, context: Context) -> tuple[Project, ReplayRun]:
        """The replay that this task has started or resumed."""
        from sluice.replay.run import find_replay  # noqa: PLC0415

        with airflow_errors():
            project = self.project()
            if identity := self.asked.get("replay"):
                return project, find_replay(project, self.job, identity)
            replay = project.ledger.replays.newest(self.job, self._taker(context))
        if replay is None:
            raise AirflowFailException(f"{self.job}: the ledger no longer has the replay of {self._taker(context)}")
        return project, replay

    def _only_promotes(self, project: Project, replay: ReplayRun, context: Context) -> bool:
        """Whether an earlier try with the same request has completed the replay and not promoted it."""
        from sluice.ledger.replay_tables import ReplayOutcome  # noqa: PLC0415

        is_complete = replay.outcome is ReplayOutcome.COMPLETED
        if not self.asked.get("promote") or not is_complete or replay.promoted_at is not None:
            return False
        return is_replay_of(project, replay, self.asked, context)

    @staticmethod
    def _next_chunk(project: Project, replay: ReplayRun) -> int | None:
        """The first chunk that has not finished; None: all have."""
        from sluice.ledger.replay_tables import ChunkState  # noqa: PLC0415

        chunks = project.ledger.replays.chunks(replay.id)
        return next((chunk.number for chunk in chunks if chunk.state is not ChunkState.FINISHED), None)


def replay_tasks(
    *, common: Mapping[str, Any], asked: Mapping[str, Any] | None = None, assets: JobAssets | None = None
) -> None:
    """Make the tasks of backfill.<job> in the current DAG or task group.

    Args:
        common: Arguments of every operator: `job`, `root`, ...
        asked: The request, see `replay_fields`; None: the run's own parameters.
        assets: The job's assets; None: the job alone is one.
    """
    assets = assets or JobAssets(job_asset(common["job"]))
    plan = ReplayPlanOperator(
        task_id="plan",
        asked=asked,
        doc_md="Checks the range, divides it into chunks and estimates the duration. Fails if the replay can't be run.",
        **common,
    )
    chunks = ReplayChunkOperator.partial(
        task_id="replay",
        map_index_template="chunk {{ task.chunk['number'] }}",
        doc_md="One chunk, as a bounded Flink job. Clear one task to run its chunk again.",
        **common,
    ).expand(chunk=plan.output)
    report = ReplayReportOperator(
        task_id="report",
        chunks=plan.output,
        inlets=list(assets.reads),
        outlets=[assets.job],
        doc_md="Counts the rows per chunk and compares them with the live topic.",
        **common,
    )
    plan >> chunks >> report
    # A teardown of the chunks alone: a failure of a later task must still fail the run.
    chunks >> EndChunksOperator(
        task_id="end_chunks",
        chunks=plan.output,
        doc_md="Cancels the chunks' Flink jobs that still run. Runs always, also if the run is marked as failed.",
        **common,
    ).as_teardown(on_failure_fail_dagrun=True)
    if asked is not None and not asked.get("promote"):
        # A task that is always skipped would skip the tasks after the group, too.
        return
    report >> PromoteOperator(
        task_id="promote",
        asked=asked,
        chunks=plan.output,
        outlets=list(assets.writes),
        doc_md="Writes the rows into the live topic, if the request has Promote.",
        **common,
    )


def backfill_group(
    job: str,
    *,
    config: Mapping[str, Any] | None = None,
    group_id: str | None = None,
    root: str | Path | None = None,
    environment: str | None = None,
    asked: Mapping[str, Any] | None = None,
    **kwargs: Any,
) -> TaskGroup:
    """A task group of the tasks of backfill.<job>: plan, a task for each chunk, report, promote.

    Args:
        job: The job's name.
        config: Settings of the job for this replay.
        group_id: None: `backfill_<job>`.
        root: The project's directory; None: SLUICE_ROOT, or the working directory's.
        environment: Which file of deployments/ applies; None: SLUICE_ENVIRONMENT.
        asked: The request; see `replay_fields`.
        kwargs: Arguments of the operators: `retries`, `pool`, ...
    """
    where = {"job": job, "root": None if root is None else str(root), "environment": environment}
    with TaskGroup(group_id=group_id or f"backfill_{job}") as group:
        replay_tasks(common={**RETRIES, **where, **kwargs}, asked=replay_fields(config, **(asked or {})))
    return group
