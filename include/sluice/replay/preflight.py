"""Planning a replay: everything that can be refused is refused here, with figures, before anything is touched."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import ValidationError

from sluice.deployment.desired import refuse_secrets, topic_values
from sluice.deployment.explain import first_problem
from sluice.deployment.values import json_values
from sluice.errors import ConfigError, RefusedError, SluiceError
from sluice.flink.client import FlinkClient
from sluice.job.definition import Job
from sluice.job.limits import Replay
from sluice.job.topic import Kafka
from sluice.kafka.brokers import connect
from sluice.kafka.history import Moments, held_moments, offsets_at
from sluice.kafka.offsets import Offsets, Partition, read_offsets
from sluice.kafka.topics import describe
from sluice.ledger.tables import Release
from sluice.project import Project
from sluice.release.target import Target, release_target
from sluice.replay.live_guard import refuse_behind
from sluice.replay.model import LIVE, SEPARATE, ChunkPlan, HeldRange, OutputKind, ReplayPlan, ReplayRequest
from sluice.replay.ranges import ChunkRange, arrivals, cut
from sluice.replay.slots import room

_MOST_CHUNKS = 1_000
"""As many tasks as Airflow maps from one list, unless told otherwise."""
_TELLING = 10_000
"""Records from which on the time of a replay says how fast it reads."""
_START = 10.0
"""Seconds until a chunk is compiled and submitted."""
_SHORT = 8
"""Letters of a replay's id in the names of its topics and Flink jobs."""


def plan_replay(project: Project, job: str, request: ReplayRequest) -> ReplayPlan:
    """What a replay would do; nothing is touched.

    Raises:
        RefusedError: it can't be done; says what was found and what to do.
        UnreachableError: the cluster or the broker doesn't answer.
    """
    definition = project.catalog.job(job)
    rule = _rule(definition)
    request = replace(request, start=request.start.astimezone(UTC), end=request.end.astimezone(UTC))
    release = _release(project, job, request.release)
    refuse_secrets(definition, request.overrides)
    config = _config(
        definition, release, project.resolve_secrets(job, release.resolved, release.overrides), request.overrides
    )
    span, reach = rule.span_for(config), rule.reach_for(config)
    chunk = request.end - request.start if request.chunk is None else request.chunk
    _refuse_range(job, request, rule)
    _refuse_live(job, request)
    _refuse_chunk(job, request, chunk, span, reach)
    cuts = list(cut(request.start, request.end, chunk, span))
    reads = released(job, "reads", definition.reads, release)
    history = _History(project, reads)
    history.refuse_unfinished(job, cuts[-1], reach)
    if not request.accept_missing:
        history.refuse_gone(job, cuts[0], reach)
    identity = uuid.uuid4().hex
    chunks = tuple(
        ChunkPlan(
            number=number,
            name=f"{job}.replay.{identity[:_SHORT]}.{number}",
            since=part.since,
            before=part.before,
            until=part.until,
            offsets=history.offsets(part, reach),
        )
        for number, part in enumerate(cuts, start=1)
    )
    live = released(job, "writes", definition.sinks, release)
    _refuse_moved(project, job, live, request.output, release.number)
    kind, outputs, partitions = _outputs(project, job, live, reads, request.output, identity)
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
        output_starts={} if kind == "separate" else output_ends(project, outputs),
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
    if kind == LIVE:
        refuse_behind(project, job, plan, again="ask for it again in a while")
    project.ledger.replays.refuse_write_conflict(plan.writes(outputs.values()))
    return plan


def asks_for(project: Project, plan: ReplayPlan, request: ReplayRequest) -> bool:
    """Whether a plan is the one that a request would get: of the same range, and by the release that is meant now.

    Raises:
        RefusedError: the job has no such release.
    """
    is_same = plan.asked is None or request.as_json().items() <= plan.asked.items()
    return is_same and _release(project, plan.job, request.release).number == plan.release


def _rule(job: Job) -> Replay:
    if job.replay is None:
        raise RefusedError(
            f"{job.name} declares no replay ({job.place})",
            remedy="add replay=Replay(...) to the job, if its history may be run again",
        )
    return job.replay


def _release(project: Project, job: str, number: int | None) -> Release:
    place = project.ledger.placement(job)
    if place is None:
        raise RefusedError(f"{job} was never deployed", remedy=f"run sluice deploy {job}: a replay runs a release")
    known = {release.number: release for release in project.ledger.releases(job)}
    wanted = number or place.release
    if wanted not in known:
        numbers = ", ".join(map(str, sorted(known)))
        raise RefusedError(f"{job} has no release {wanted}", remedy=f"choose one of {numbers}")
    return known[wanted]


def _config(job: Job, release: Release, resolved: Mapping[str, Any], overrides: Mapping[str, Any]) -> Any:
    """The release's settings, resolved with their secrets, with those of the replay over them."""
    try:
        return job.config(**{**resolved["config"], **overrides})
    except ValidationError as error:
        where, words = first_problem(error, job.config)
        given = "given for this replay" if where and where[0] in overrides else f"of release {release.number}"
        raise ConfigError(f"{job.name}: config.{'.'.join(where)}: {words} ({given})") from error


def _refuse_range(job: str, request: ReplayRequest, rule: Replay) -> None:
    if request.end <= request.start:
        raise RefusedError(
            f"{job}: the range ends at {_words(request.end)}, which is not after its start, {_words(request.start)}",
            remedy="give an end after the start",
        )
    length = request.end - request.start
    if length > rule.max_range:
        raise RefusedError(
            f"{job}: the range is {length} long; its replay rule allows {rule.max_range}",
            remedy="replay it in several runs, or raise Replay(max_range=...) in the job",
        )


def _refuse_live(job: str, request: ReplayRequest) -> None:
    """Rows that go into the live topic at once can't be looked at before they overwrite what is there."""
    if request.output != LIVE:
        return
    if not request.accept_differences:
        raise RefusedError(
            f"{job}: a replay into the live topic overwrites its rows without comparing them",
            remedy="let it have a topic of its own and promote it; or accept the differences",
        )
    if request.accept_missing:
        raise RefusedError(
            f"{job}: rows made of what Kafka still holds would overwrite whole ones in the live topic",
            remedy="let it have a topic of its own, and look at the rows before they are promoted",
        )


def _refuse_chunk(job: str, request: ReplayRequest, chunk: timedelta, span: timedelta | None, reach: timedelta) -> None:
    whole = request.end - request.start
    if chunk <= timedelta(0):
        raise RefusedError(f"{job}: a chunk is {chunk} long", remedy="ask for a length above zero, e.g. 1h")
    if (count := -(-whole // chunk)) > _MOST_CHUNKS:
        raise RefusedError(
            f"{job}: {whole} in chunks of {chunk} are {count:,} chunks, more than {_MOST_CHUNKS:,}",
            remedy="ask for longer chunks",
        )
    for least, what in ((span, "a row of it covers up to"), (reach, "an event changes a row of it within")):
        if least is not None and chunk < least:
            where = "the range" if chunk >= whole else "a chunk"
            raise RefusedError(
                f"{job}: {where} is {chunk} long, and {what} {least}",
                remedy=f"ask for {least} or more" + ("" if chunk >= whole else ", and best a multiple of it"),
            )


class _History:
    """What the brokers hold of what a job reads."""

    def __init__(self, project: Project, reads: Mapping[str, Kafka]) -> None:
        self._admin, self._servers = connect(project.kafka), project.kafka_servers
        self._reads = reads
        topics = {topic.topic for topic in reads.values()}
        self._offsets: dict[Partition, Offsets] = read_offsets(self._admin, topics, self._servers)
        self._moments: dict[Partition, Moments] = held_moments(self._admin, self._offsets, self._servers)

    def held(self) -> tuple[HeldRange, ...]:
        """The ranges, for the plan."""
        return tuple(
            HeldRange(topic=topic, partition=number, first=_moment(moments.first), last=_moment(moments.last))
            for (topic, number), moments in sorted(self._moments.items())
        )

    def refuse_unfinished(self, job: str, last: ChunkRange, reach: timedelta) -> None:
        """What belongs to the range must have arrived: a replay is not run against a topic that still grows."""
        now = datetime.now(UTC)
        complete = max((arrivals(topic, last, reach)[1] for topic in self._timed()), default=last.until)
        if complete > now:
            latest = last.until - (complete - now)
            raise RefusedError(
                f"{job}: the range ends at {_words(last.until)}; what belongs to it may arrive until "
                f"{_words(complete)}, and it is {_words(now)}",
                remedy=f"let it end at {_words(latest)} at the latest",
            )

    def refuse_gone(self, job: str, first: ChunkRange, reach: timedelta) -> None:
        """Everything that the first rows are made of must still be there."""
        for topic in self._timed():
            needed, _ = arrivals(topic, first, reach)
            for number, offsets in self._partitions(topic):
                start = _moment(self._moments[topic.topic, number].first)
                # From offset 0 on nothing was ever deleted.
                if offsets.start > 0 and (start is None or start > needed):
                    held = f"from {_words(start)} on" if start else "nothing"
                    raise RefusedError(
                        f"{job}: {topic.topic}[{number}] has deleted its records before offset {offsets.start:,} and "
                        f"holds {held}; the range needs what arrived since {_words(needed)}",
                        remedy=f"{_later(first, start, needed)}accept that some of it may be missing",
                    )

    def offsets(self, part: ChunkRange, reach: timedelta) -> dict[str, dict[int, tuple[int, int]]]:
        """Per read and partition what a chunk reads."""
        return {name: dict(self._of(topic, part, reach)) for name, topic in self._reads.items()}

    def _of(self, topic: Kafka, part: ChunkRange, reach: timedelta) -> Iterable[tuple[int, tuple[int, int]]]:
        first, last = arrivals(topic, part, reach)
        held = {(topic.topic, number): offsets for number, offsets in self._partitions(topic)}
        ends = offsets_at(self._admin, held, last, self._servers)
        starts = {place: offsets.start for place, offsets in held.items()}
        if topic.event_time:
            # Without event time nobody knows what of a topic belongs to a range: all that came before its end.
            starts = offsets_at(self._admin, held, first, self._servers)
        for place, end in ends.items():
            yield place[1], (min(starts[place], end), end)

    def _timed(self) -> list[Kafka]:
        return [topic for topic in self._reads.values() if topic.event_time]

    def _partitions(self, topic: Kafka) -> list[tuple[int, Offsets]]:
        return [(number, offsets) for (name, number), offsets in self._offsets.items() if name == topic.topic]


def released(job: str, section: str, declared: Mapping[str, Kafka], release: Release) -> dict[str, Kafka]:
    """What a release reads or writes, as it was set then.

    Raises:
        RefusedError: the job does not declare it any more.
    """
    settings = release.resolved[section]
    if gone := [name for name in settings if name not in declared]:
        raise RefusedError(
            f"{job}: release {release.number} has {section}.{gone[0]}, which the job does not declare any more",
            remedy="replay with a release that has what the job declares now",
        )
    return {name: declared[name].with_settings(values) for name, values in settings.items()}


def _later(first: ChunkRange, start: datetime | None, needed: datetime) -> str:
    return "" if start is None else f"begin at {_words(first.since + (start - needed))} or later, or "


def _outputs(
    project: Project, job: str, live: Mapping[str, Kafka], reads: Mapping[str, Kafka], output: str, identity: str
) -> tuple[OutputKind, dict[str, str], dict[str, int]]:
    """Where the rows go, and the partitions of the live topics, which those of the outputs must have."""
    kind: OutputKind = "separate" if output == SEPARATE else "live" if output == LIVE else "other"
    if keyless := [sink for sink, topic in live.items() if not topic.key]:
        raise RefusedError(
            f"{job}: {', '.join(keyless)} has no key: a chunk that is run again would give its rows twice",
            remedy="declare the key of its rows: Kafka(..., key=(...))",
        )
    if kind == "other" and len(live) > 1:
        raise RefusedError(
            f"{job} writes {', '.join(live)}: one topic, {output}, can't take them all",
            remedy=f"let the output be {SEPARATE}",
        )
    outputs = {sink: _output(kind, topic.topic, output, identity) for sink, topic in live.items()}
    names = {*(topic.topic for topic in live.values()), *(outputs.values() if kind == "other" else ())}
    found = describe(connect(project.kafka), names, project.kafka_servers)
    partitions = {}
    for sink, topic in live.items():
        if topic.topic not in found:
            raise RefusedError(f"{job}: its topic {topic.topic} does not exist", remedy=f"deploy {job} first")
        partitions[sink] = found[topic.topic].partitions
        if kind == "other":
            actual = found[output].partitions if output in found else None
            _refuse_read(job, {read.topic for read in reads.values()}, output)
            _refuse_others(project, job, output)
            _refuse_partitions(job, topic, output, partitions[sink], actual)
    return kind, outputs, partitions


def _refuse_moved(project: Project, job: str, live: Mapping[str, Kafka], output: str, number: int) -> None:
    """What was the live topic of a former release may be another one by now."""
    now = live_topics(project, job)
    for sink, topic in live.items():
        today = now.get(sink)
        if output == LIVE and topic.topic != today:
            raise RefusedError(
                f"{job}: release {number} wrote {sink} to {topic.topic}, and {today or 'no topic'} is live now",
                remedy=f"let the output be {SEPARATE!r}",
            )
    if output in now.values():
        raise RefusedError(f"{output} is the live topic of {job}", remedy=f"to write there, let the output be {LIVE!r}")


def live_topics(project: Project, job: str) -> dict[str, str]:
    """By sink the topic that the job's live release writes."""
    release = _release(project, job, None)
    return {sink: str(values["topic"]) for sink, values in release.resolved["writes"].items()}


def output_ends(project: Project, outputs: Mapping[str, str]) -> dict[str, dict[int, int]]:
    """By sink and partition where its output ends now."""
    held = read_offsets(connect(project.kafka), set(outputs.values()), project.kafka_servers)
    return {
        sink: {number: offsets.end for (name, number), offsets in held.items() if name == topic}
        for sink, topic in outputs.items()
    }


def _output(kind: OutputKind, live: str, named: str, identity: str) -> str:
    match kind:
        case "separate":
            return f"{live}.replay.{identity[:_SHORT]}"
        case "live":
            return live
        case "other":
            return named


def _refuse_read(job: str, reads: set[str], output: str) -> None:
    if output in reads:
        raise RefusedError(f"{job} reads {output}: a replay can't write there", remedy="name another topic")


def _refuse_others(project: Project, job: str, output: str) -> None:
    """A topic that another job reads or writes is nowhere to replay into."""
    for name, what, topics in _topics_of_others(project, job):
        if output in topics:
            raise RefusedError(
                f"{name} {what} {output}: a replay of {job} can't write there",
                remedy=f"name another topic, or let the output be {SEPARATE!r}",
            )


def _topics_of_others(project: Project, job: str) -> Iterator[tuple[str, str, set[str]]]:
    """What other jobs read and write: those that are declared as they are set, those that ever ran as they did."""
    for name in sorted(project.catalog.jobs.keys() - {job}):
        definition = project.catalog.jobs[name]
        declared: dict[str, Mapping[str, Kafka]] = {"reads": definition.reads, "writes": definition.sinks}
        # Why a job's settings can't be read is told wherever that job is asked for.
        with suppress(SluiceError):
            other = project.desired(name)
            declared = {"reads": other.reads, "writes": other.writes}
        for what, topics in declared.items():
            yield name, what, {topic.topic for topic in topics.values()}
    for name, (_, release) in sorted(project.ledger.placements().items()):
        for what in ("reads", "writes") if name != job else ():
            yield name, what, {values["topic"] for values in release.resolved[what].values()}


def _refuse_partitions(job: str, live: Kafka, output: str, partitions: int, actual: int | None) -> None:
    if actual is None:
        raise RefusedError(
            f"{job}: the output topic {output} does not exist",
            remedy=f"create it with {partitions} partitions, or let the output be {SEPARATE!r}",
        )
    if actual != partitions:
        raise RefusedError(
            f"{job}: the output topic {output} has {actual} partitions, {live.topic} has {partitions}",
            remedy=f"name one with {partitions} partitions, or let the output be {SEPARATE!r}",
        )


def _refuse_slots(project: Project, job: str, rule: Replay, parallelism: int, parallel: int) -> int:
    slots = parallelism * parallel
    if slots > rule.slots:
        raise RefusedError(
            f"{job}: {parallel} chunks side by side take {slots} task slots; its replay rule allows {rule.slots}",
            remedy=f"run {max(1, rule.slots // parallelism)} at once, or raise Replay(slots=...) in the job",
        )
    with FlinkClient(project.flink) as flink:
        found = room(project.ledger, flink)
    # What other replays of the job take now they give back: its chunks wait for each other.
    given_back = parallelism * project.ledger.replays.running_chunks(job, found.alive)
    # For what is spoken for they wait as well: a live job may be restarting just now.
    free = found.available + given_back
    if slots > free:
        raise RefusedError(
            f"{job}: {parallel} chunks side by side take {slots} task slots, and {free} are free",
            remedy=f"run {free // parallelism} at once"
            if free >= parallelism
            else "add TaskManagers, or wait for slots",
        )
    return free


def _resolved(
    release: Release, live: Mapping[str, Kafka], config: Any, outputs: Mapping[str, str], parallelism: int
) -> dict[str, Any]:
    """What the chunks run with: the release's own, written elsewhere, its checkpoints gone when they end."""
    writes = {sink: topic_values(topic.with_settings({"topic": outputs[sink]})) for sink, topic in live.items()}
    options = {
        **release.resolved["options"],
        "execution.checkpointing.externalized-checkpoint-retention": "NO_EXTERNALIZED_CHECKPOINTS",
        # What fails by itself must come to an end; a lost TaskManager is waited for.
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
    """By how fast the chunks of the last replay of some length were, from their submission to their end."""
    for replay in project.ledger.replays.of(job):
        if replay.outcome != "completed" or (replay.records or 0) < _TELLING:
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


def target_of(plan: ReplayPlan, release: Release) -> Target:
    """What the client compiles."""
    return replace(
        release_target(release),
        fingerprint=plan.fingerprint,
        resolved=plan.resolved,
        overrides={**release.overrides, **plan.overrides},
    )


def _moment(milliseconds: int | None) -> datetime | None:
    return None if milliseconds is None else datetime.fromtimestamp(milliseconds / 1000, UTC)


def _words(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
