"""A replay in DAGs of your own: as one task, or as a group with a task for each chunk.

What costs time to import is imported when a task runs: the DAG processor parses every job.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import TaskGroup
from airflow.sdk.exceptions import AirflowFailException

from sluice.airflow.assets import JobAssets, job_asset, tell_outlets
from sluice.airflow.base import RETRIES, airflow_errors
from sluice.airflow.params import SETTING
from sluice.airflow.replay import (
    EndChunksOperator,
    PromoteOperator,
    ReplayChunkOperator,
    ReplayPlanOperator,
    ReplayReportOperator,
    begin,
    goes_on_with,
    replay_extra,
)

if TYPE_CHECKING:
    from airflow.sdk import Context

    from sluice.ledger.replay_tables import ReplayRun
    from sluice.project import Project


def replay_asked(config: Mapping[str, Any] | None, **fields: Any) -> dict[str, Any]:
    """What a replay is asked for, as the fields of the trigger form of backfill.<job>.

    Args:
        config: Settings of the job for this replay.
        fields: Of the form: `start`, `end` (None: the run's data interval), `chunk`, `parallel`, `output` (`separate`,
            `live`, `other` with `output_topic`), `release`, `replay`, `accept_missing`, `promote`,
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
    """Replay a range of a job's history, chunk after chunk, wait for it in the triggerer, and hold the rows together.

    A retry goes on with the replay that the first try has begun; a run that is cancelled ends its Flink job.

    Args:
        config: Settings of the job for this replay.
        asked: What the replay is asked for, see `replay_asked` (templated); without a range, the run's data interval.
        kwargs: See `SluiceOperator`.
    """

    template_fields = ("asked",)

    def __init__(
        self, *, config: Mapping[str, Any] | None = None, asked: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> None:
        outlets = [*kwargs.pop("outlets", ()), job_asset(kwargs["job"])]
        super().__init__(chunk=None, outlets=outlets, **kwargs)
        self.asked = replay_asked(config, **(asked or {}))

    def execute(self, context: Context) -> dict[str, Any]:
        """The report, as `sluice backfill --json` prints it; `promoted` with it, where that was asked for."""
        with airflow_errors():
            project = self.project()
            replay = project.ledger.replays.newest(self.job, self._taker(context))
            if replay is None or not self._is_to_promote(project, replay, context):
                replay = begin(project, self.job, self.asked, context, self._taker(context), self.log.info)
        return self._go_on(context, project, replay)

    def turn(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002 - what a trigger calls
        """It may be the turn of the next chunk."""
        return self._go_on(context, *self._current_replay(context))

    def resume(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """What the trigger has seen of a chunk."""
        project, replay = self._current_replay(context)
        with airflow_errors():
            chunks = project.ledger.replays.chunks(replay.id)
        for chunk in chunks:
            # Another attempt than the chunk's last one has nothing to say.
            if chunk.flink_job_id == event["flink_job_id"] and chunk.state != "finished":
                self.chunk = {"replay": replay.id, "number": chunk.number}
                super().resume(context, event)
        return self._go_on(context, project, replay)

    def _go_on(self, context: Context, project: Project, replay: ReplayRun) -> dict[str, Any]:
        """The chunks that are left, and then the rest."""
        while (number := self._left(project, replay)) is not None:
            self.chunk = {"replay": replay.id, "number": number}
            with airflow_errors():
                chunk = self._chunk(project, context)
            self._go(context, project, chunk)
        return self._conclude(context, project, replay)

    def _conclude(self, context: Context, project: Project, replay: ReplayRun) -> dict[str, Any]:
        from sluice.replay.promote import promote  # noqa: PLC0415
        from sluice.replay.run import finish_replay  # noqa: PLC0415

        with airflow_errors():
            report = replay.report if replay.outcome == "completed" else None
            report = report or finish_replay(project, replay, self.log.info)
            tell_outlets(context, [job_asset(self.job)], replay_extra(project, replay.id))
            if not self.asked.get("promote"):
                return report
            accepted = bool(self.asked.get("accept_differences"))
            ended = project.ledger.replays.find(replay.id)
            done = promote(project, ended, self.log.info, accept_differences=accepted)
        return {**report, "promoted": [asdict(promotion) for promotion in done]}

    def _current_replay(self, context: Context) -> tuple[Project, ReplayRun]:
        """The replay that this task has begun, or goes on with."""
        from sluice.replay.run import find_replay  # noqa: PLC0415

        with airflow_errors():
            project = self.project()
            if identity := self.asked.get("replay"):
                return project, find_replay(project, self.job, identity)
            replay = project.ledger.replays.newest(self.job, self._taker(context))
        if replay is None:
            raise AirflowFailException(f"{self.job}: the ledger has no replay of {self._taker(context)} any more")
        return project, replay

    def _is_to_promote(self, project: Project, replay: ReplayRun, context: Context) -> bool:
        """A try before has come as far as that, with what is asked for now."""
        if not self.asked.get("promote") or replay.outcome != "completed" or replay.promoted_at is not None:
            return False
        return goes_on_with(project, replay, self.asked, context)

    @staticmethod
    def _left(project: Project, replay: ReplayRun) -> int | None:
        """The first chunk that has not finished; None: all have."""
        chunks = project.ledger.replays.chunks(replay.id)
        return next((chunk.number for chunk in chunks if chunk.state != "finished"), None)


def replay_tasks(
    *, common: Mapping[str, Any], asked: Mapping[str, Any] | None = None, assets: JobAssets | None = None
) -> None:
    """Make the tasks of backfill.<job>, in the DAG or group that is being made.

    Args:
        common: Arguments of every operator: `job`, `root`, ...
        asked: See `replay_asked`; None: the run's own parameters.
        assets: What the job reads and writes; None: the job alone is an asset.
    """
    assets = assets or JobAssets(job_asset(common["job"]))
    plan = ReplayPlanOperator(
        task_id="plan",
        asked=asked,
        doc_md="What the topics hold of the range, its chunks, how long it takes; refuses what can't be.",
        **common,
    )
    chunks = ReplayChunkOperator.partial(
        task_id="replay",
        map_index_template="chunk {{ task.chunk['number'] }}",
        doc_md="One chunk, as a bounded Flink job. Clear one to run it again alone.",
        **common,
    ).expand(chunk=plan.output)
    report = ReplayReportOperator(
        task_id="report",
        chunks=plan.output,
        inlets=list(assets.reads),
        outlets=[assets.job],
        doc_md="Rows per chunk, and the comparison with the live topic.",
        **common,
    )
    plan >> chunks >> report
    # Not after what follows, whose failures would then not count as the run's.
    chunks >> EndChunksOperator(
        task_id="end_chunks",
        chunks=plan.output,
        doc_md="Leaves no Flink job behind: runs however the chunks end, also when the run is marked as failed.",
        **common,
    ).as_teardown(on_failure_fail_dagrun=True)
    if asked is not None and not asked.get("promote"):
        # A task that is always skipped would let what follows the group be skipped as well.
        return
    report >> PromoteOperator(
        task_id="promote",
        asked=asked,
        chunks=plan.output,
        outlets=list(assets.writes),
        doc_md="Where it is asked for: writes the rows into the live topic.",
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
    """A group of the tasks of backfill.<job>: plan, a task for each chunk, report, promote.

    Args:
        job: The job's name.
        config: Settings of the job for this replay.
        group_id: None: `backfill_<job>`.
        root: The project's directory; None: SLUICE_ROOT, or the working directory's.
        environment: Which file of deployments/ applies; None: SLUICE_ENVIRONMENT.
        asked: What the replay is asked for; see `replay_asked`.
        kwargs: Arguments of the operators: `retries`, `pool`, ...
    """
    where = {"job": job, "root": None if root is None else str(root), "environment": environment}
    with TaskGroup(group_id=group_id or f"backfill_{job}") as group:
        replay_tasks(common={**RETRIES, **where, **kwargs}, asked=replay_asked(config, **(asked or {})))
    return group
