"""The topics that a replay writes: chosen and checked for the plan, created before the first chunk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress

from sluice.errors import RefusedError, SluiceError
from sluice.job.topic import Kafka
from sluice.kafka.topic_steps import Declared, Step
from sluice.project import Project
from sluice.replay.model import Log, OutputKind, ReplayPlan
from sluice.replay.release import live_topics

SHORT_ID = 8
"""Characters of a replay's id in the names of its topics and Flink jobs."""


def choose_outputs(
    project: Project, job: str, live: Mapping[str, Kafka], reads: Mapping[str, Kafka], output: str, identity: str
) -> tuple[OutputKind, dict[str, str], dict[str, int]]:
    """The kind of output, the output topic of each sink, and the number of partitions that each must have.

    Args:
        project: The project.
        job: The job's name.
        live: The topics that the replayed release writes, by sink.
        reads: The topics that it reads.
        output: `separate`, `live`, or another topic's name.
        identity: The replay's id.

    Raises:
        RefusedError: the rows can't go there.
        UnreachableError: the brokers don't answer.
    """
    kind = OutputKind(output) if output in (OutputKind.SEPARATE, OutputKind.LIVE) else OutputKind.OTHER
    if keyless := [sink for sink, topic in live.items() if not topic.key]:
        raise RefusedError(
            f"{job}: {', '.join(keyless)} has no key: a chunk that runs twice would duplicate its rows",
            remedy="declare the key of its rows: Kafka(..., key=(...))",
        )
    if kind is OutputKind.OTHER and len(live) > 1:
        raise RefusedError(
            f"{job} writes {', '.join(live)}, which can't share one output topic, {output}",
            remedy="choose the output 'separate'",
        )
    outputs = {sink: _output_topic(kind, topic.topic, output, identity) for sink, topic in live.items()}
    names = {*(topic.topic for topic in live.values()), *(outputs.values() if kind is OutputKind.OTHER else ())}
    found = project.brokers.describe(names)
    partitions = {}
    for sink, topic in live.items():
        if topic.topic not in found:
            raise RefusedError(f"{job}: its topic {topic.topic} does not exist", remedy=f"deploy {job} first")
        partitions[sink] = found[topic.topic].partitions
        if kind is OutputKind.OTHER:
            actual = found[output].partitions if output in found else None
            _refuse_own_input(job, {read.topic for read in reads.values()}, output)
            _refuse_topics_of_other_jobs(project, job, output)
            _refuse_partitions(job, topic, output, partitions[sink], actual)
    return kind, outputs, partitions


def refuse_changed_live_topic(project: Project, job: str, live: Mapping[str, Kafka], output: str, release: int) -> None:
    """Refuse to write into a live topic that the replayed release didn't write, or that is named without `live`.

    Args:
        project: The project.
        job: The job's name.
        live: The topics that the replayed release writes, by sink.
        output: The requested output.
        release: The replayed release's number.

    Raises:
        RefusedError: it would.
    """
    now = live_topics(project, job)
    for sink, topic in live.items():
        today = now.get(sink)
        if output == OutputKind.LIVE and topic.topic != today:
            raise RefusedError(
                f"{job}: release {release} wrote {sink} to {topic.topic}; the live topic is now {today or 'none'}",
                remedy="choose the output 'separate'",
            )
    if output in now.values():
        raise RefusedError(f"{output} is the live topic of {job}", remedy="to write there, choose the output live")


def output_ends(project: Project, outputs: Mapping[str, str]) -> dict[str, dict[int, int]]:
    """The end offset of each partition of each sink's output topic.

    Raises:
        UnreachableError: the brokers don't answer.
    """
    held = project.brokers.offsets(set(outputs.values()))
    return {
        sink: {number: offsets.end for (name, number), offsets in held.items() if name == topic}
        for sink, topic in outputs.items()
    }


def create_outputs(project: Project, plan: ReplayPlan, log: Log) -> None:
    """Create the replay's own topics that don't exist yet; nothing to do for an existing output topic.

    Raises:
        RefusedError: a topic of that name exists and differs.
        UnreachableError: the brokers don't answer.
    """
    if plan.output is not OutputKind.SEPARATE:
        return
    writes = plan.resolved["writes"]
    wanted = tuple(
        Declared(topic, plan.partitions[sink], writes[sink]["replication"], writes[sink]["settings"])
        for sink, topic in plan.outputs.items()
    )
    found = project.brokers.describe(plan.outputs.values())
    missing = [Step(topic, "create") for topic in wanted if topic.name not in found]
    project.brokers.apply(missing)
    for step in missing:
        log(step.words)


def _output_topic(kind: OutputKind, live: str, named: str, identity: str) -> str:
    match kind:
        case OutputKind.SEPARATE:
            return f"{live}.replay.{identity[:SHORT_ID]}"
        case OutputKind.LIVE:
            return live
        case OutputKind.OTHER:
            return named


def _refuse_own_input(job: str, reads: set[str], output: str) -> None:
    if output in reads:
        raise RefusedError(f"{job} reads {output}: a replay can't write there", remedy="name another topic")


def _refuse_topics_of_other_jobs(project: Project, job: str, output: str) -> None:
    for name, what, names in _topics_of_other_jobs(project, job):
        if output in names:
            raise RefusedError(
                f"{name} {what} {output}: a replay of {job} can't write there",
                remedy="name another topic, or choose the output 'separate'",
            )


def _topics_of_other_jobs(project: Project, job: str) -> Iterator[tuple[str, str, set[str]]]:
    """The topics that other jobs read and write: by their declarations now, and by the releases that run."""
    for name in sorted(project.catalog.jobs.keys() - {job}):
        definition = project.catalog.jobs[name]
        declared: dict[str, Mapping[str, Kafka]] = {"reads": definition.reads, "writes": definition.sinks}
        # Where the other job's settings are invalid, its code's declarations count: its own commands report the error.
        with suppress(SluiceError):
            other = project.desired(name)
            declared = {"reads": other.reads, "writes": other.writes}
        for what, named in declared.items():
            yield name, what, {topic.topic for topic in named.values()}
    for name, (_, release) in sorted(project.ledger.placements().items()):
        for what in ("reads", "writes") if name != job else ():
            yield name, what, {values["topic"] for values in release.resolved[what].values()}


def _refuse_partitions(job: str, live: Kafka, output: str, partitions: int, actual: int | None) -> None:
    if actual is None:
        raise RefusedError(
            f"{job}: the output topic {output} does not exist",
            remedy=f"create it with {partitions} partitions, or choose the output 'separate'",
        )
    if actual != partitions:
        raise RefusedError(
            f"{job}: the output topic {output} has {actual} partitions, {live.topic} has {partitions}",
            remedy=f"name one with {partitions} partitions, or choose the output 'separate'",
        )
