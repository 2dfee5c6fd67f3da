"""Planning a replay: checks everything that can be refused, with figures, before anything is changed."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, timedelta
from typing import Any

from pydantic import ValidationError

from sluice.deployment.desired import refuse_secrets, topic_values
from sluice.deployment.explain import first_problem
from sluice.deployment.values import json_values
from sluice.errors import ConfigError, RefusedError
from sluice.job.definition import Job
from sluice.job.limits import Replay
from sluice.job.topic import Kafka
from sluice.ledger.replay_tables import ReplayOutcome
from sluice.ledger.tables import Release
from sluice.project import Project
from sluice.replay.live_guard import refuse_behind
from sluice.replay.model import ChunkPlan, OutputKind, ReplayPlan, ReplayRequest
from sluice.replay.outputs import SHORT_ID, choose_outputs, output_ends, refuse_changed_live_topic
from sluice.replay.ranges import cut
from sluice.replay.release import find_release, released_topics
from sluice.replay.slots import read_slot_availability
from sluice.replay.source_history import SourceHistory, as_text

_MAX_CHUNKS = 1_000
"""Airflow's default for the length of a list that tasks are mapped over (`max_map_length`)."""
_MEASURABLE = 10_000
"""Records from which on a replay's duration is a measure of its speed."""
_START = 10.0
"""Seconds in which a chunk is compiled and submitted."""


def plan_replay(project: Project, job: str, request: ReplayRequest) -> ReplayPlan:
    """Plan a replay; nothing is changed.

    Args:
        project: The project.
        job: The job's name.
        request: The range, its chunks, the output and the settings.

    Raises:
        RefusedError: it can't be done; the message has what was found and the next step.
        UnreachableError: the cluster or the brokers don't answer.
    """
    definition = project.catalog.job(job)
    rule = _rule(definition)
    request = replace(request, start=request.start.astimezone(UTC), end=request.end.astimezone(UTC))
    release = find_release(project, job, request.release)
    refuse_secrets(definition, request.overrides)
    settings = project.resolve_secrets(job, release.resolved, release.overrides)
    config = _config(definition, release, settings, request.overrides)
    span, reach = rule.span_for(config), rule.reach_for(config)
    chunk = request.end - request.start if request.chunk is None else request.chunk
    _refuse_range(job, request, rule)
    _refuse_unconfirmed_live_output(job, request)
    _refuse_chunk_length(job, request, chunk, span, reach)
    cuts = list(cut(request.start, request.end, chunk, span))
    reads = released_topics(job, "reads", definition.reads, release)
    history = SourceHistory(project, reads)
    history.refuse_incomplete(job, cuts[-1], reach)
    if not request.accept_missing:
        history.refuse_deleted(job, cuts[0], reach)
    identity = uuid.uuid4().hex
    chunks = tuple(
        ChunkPlan(
            number=number,
            name=f"{job}.replay.{identity[:SHORT_ID]}.{number}",
            since=part.since,
            before=part.before,
            until=part.until,
            offsets=history.offsets(part, reach),
        )
        for number, part in enumerate(cuts, start=1)
    )
    live = released_topics(job, "writes", definition.sinks, release)
    refuse_changed_live_topic(project, job, live, request.output, release.number)
    kind, outputs, partitions = choose_outputs(project, job, live, reads, request.output, identity)
    parallelism = min(rule.parallelism, max(topic.partitions for topic in reads.values()))
    parallel = max(1, min(request.parallel, len(chunks)))
    slots_free = _refuse_slots(project, job, rule, parallelism, parallel)
    plan = ReplayPlan(
        id=identity,
        job=job,
        release=release.number,
        start=request.start,
        end=request.end,
        parallel=parallel,
        parallelism=parallelism,
        slots=parallelism * parallel,
        slots_free=slots_free,
        chunks=chunks,
        held=history.held(),
        output=kind,
        outputs=outputs,
        partitions=partitions,
        output_starts={} if kind is OutputKind.SEPARATE else output_ends(project, outputs),
        most=max(1, rule.slots // parallelism),
        overrides=dict(request.overrides),
        resolved=_resolved(release, live, config, outputs, parallelism),
        artifact=release.artifact,
        module=release.module,
        fingerprint=f"{release.fingerprint[:32]}{identity}",
        begins=rule.begins,
        ends=rule.ends,
        is_apart=all(rule.begins in topic.key for topic in live.values()),
        reach=reach,
        seconds=_expected_seconds(project, job, sum(part.records for part in chunks), parallel),
        asked=request.as_json(),
    )
    if kind is OutputKind.LIVE:
        refuse_behind(project, job, plan, again="request the replay again in a while")
    project.ledger.replays.refuse_write_conflict(plan.writes(outputs.values()))
    return plan


def is_plan_of(project: Project, plan: ReplayPlan, request: ReplayRequest) -> bool:
    """Whether a plan has the range, output and settings of a request, and the release that the request means now.

    Raises:
        RefusedError: the job has no such release.
    """
    is_same = plan.asked is None or request.as_json().items() <= plan.asked.items()
    return is_same and find_release(project, plan.job, request.release).number == plan.release


def _rule(job: Job) -> Replay:
    if job.replay is None:
        raise RefusedError(
            f"{job.name} declares no replay ({job.place})",
            remedy="add replay=Replay(...) to the job, if its history may be run again",
        )
    return job.replay


def _config(job: Job, release: Release, resolved: Mapping[str, Any], overrides: Mapping[str, Any]) -> Any:
    """The release's settings with their secrets resolved, overridden by those of the replay."""
    try:
        return job.config(**{**resolved["config"], **overrides})
    except ValidationError as error:
        where, words = first_problem(error, job.config)
        given = "given for this replay" if where and where[0] in overrides else f"of release {release.number}"
        raise ConfigError(f"{job.name}: config.{'.'.join(where)}: {words} ({given})") from error


def _refuse_range(job: str, request: ReplayRequest, rule: Replay) -> None:
    if request.end <= request.start:
        raise RefusedError(
            f"{job}: the range ends at {as_text(request.end)}, which is not after its start, {as_text(request.start)}",
            remedy="give an end after the start",
        )
    length = request.end - request.start
    if length > rule.max_range:
        raise RefusedError(
            f"{job}: the range is {length} long; its replay rule allows {rule.max_range}",
            remedy="replay it in several runs, or raise Replay(max_range=...) in the job",
        )


def _refuse_unconfirmed_live_output(job: str, request: ReplayRequest) -> None:
    """Refuse to write into the live topic at once, where no person can compare the rows before, unless confirmed."""
    if request.output != OutputKind.LIVE:
        return
    if not request.accept_differences:
        raise RefusedError(
            f"{job}: a replay into the live topic overwrites its rows without comparing them",
            remedy="choose the output 'separate' and promote the replay afterwards, or accept differences",
        )
    if request.accept_missing:
        raise RefusedError(
            f"{job}: rows computed from incomplete input would overwrite complete rows in the live topic",
            remedy="choose the output 'separate', and compare the rows before you promote them",
        )


def _refuse_chunk_length(
    job: str, request: ReplayRequest, chunk: timedelta, span: timedelta | None, reach: timedelta
) -> None:
    whole = request.end - request.start
    if chunk <= timedelta(0):
        raise RefusedError(
            f"{job}: the chunk length is {chunk}; expected more than zero", remedy="choose a length, e.g. 1h"
        )
    if (count := -(-whole // chunk)) > _MAX_CHUNKS:
        raise RefusedError(
            f"{job}: {whole} in chunks of {chunk} are {count:,} chunks; at most {_MAX_CHUNKS:,} are possible",
            remedy="choose longer chunks",
        )
    for least, what in ((span, "one of its rows covers up to"), (reach, "an event changes its rows for up to")):
        if least is not None and chunk < least:
            where = "the range" if chunk >= whole else "a chunk"
            raise RefusedError(
                f"{job}: {where} is {chunk} long, but {what} {least}",
                remedy=f"choose {least} or more" + ("" if chunk >= whole else ", best a multiple of it"),
            )


def _refuse_slots(project: Project, job: str, rule: Replay, parallelism: int, parallel: int) -> int:
    """The task slots that the job's chunks may take; refuse a plan that takes more."""
    slots = parallelism * parallel
    if slots > rule.slots:
        raise RefusedError(
            f"{job}: {parallel} parallel chunks take {slots} task slots; its replay rule allows {rule.slots}",
            remedy=f"run {max(1, rule.slots // parallelism)} at once, or raise Replay(slots=...) in the job",
        )
    with project.connect() as flink:
        found = read_slot_availability(project.ledger, flink)
    # The job's other replays free their slots as their chunks end, and its chunks queue for each other.
    own = parallelism * project.ledger.replays.running_chunks(job, found.alive)
    # Slots reserved for live jobs count as free here: chunks queue for them, and a live job may be restarting just now.
    free = found.available + own
    if slots > free:
        raise RefusedError(
            f"{job}: {parallel} parallel chunks take {slots} task slots; {free} are free",
            remedy=f"run {free // parallelism} at once"
            if free >= parallelism
            else "add TaskManagers, or wait for slots",
        )
    return free


def _resolved(
    release: Release, live: Mapping[str, Kafka], config: Any, outputs: Mapping[str, str], parallelism: int
) -> dict[str, Any]:
    """The release's settings with the replay's output topics, settings and parallelism; checkpoints aren't kept."""
    writes = {sink: topic_values(topic.with_settings({"topic": outputs[sink]})) for sink, topic in live.items()}
    options = {
        **release.resolved["options"],
        "execution.checkpointing.externalized-checkpoint-retention": "NO_EXTERNALIZED_CHECKPOINTS",
        # Enough restarts for a lost TaskManager; a job that fails by itself still ends.
        "restart-strategy.type": "fixed-delay",
        "restart-strategy.fixed-delay.attempts": "5",
        "restart-strategy.fixed-delay.delay": "5 s",
    }
    return {
        **release.resolved,
        "config": json_values(config),
        "writes": writes,
        "options": options,
        "parallelism": parallelism,
    }


def _expected_seconds(project: Project, job: str, records: int, parallel: int) -> float | None:
    """The expected duration, by the speed of the chunks of the last replay of at least `_MEASURABLE` records."""
    for replay in project.ledger.replays.of(job):
        if replay.outcome is not ReplayOutcome.COMPLETED or (replay.records or 0) < _MEASURABLE:
            continue
        chunks = project.ledger.replays.chunks(replay.id)
        taken = sum(
            (row.ended_at - row.began_at).total_seconds()
            for row in chunks
            if row.records and row.began_at and row.ended_at
        )
        if taken:
            return round(_START + records / (replay.records or 1) * taken / parallel, 1)
    return None
