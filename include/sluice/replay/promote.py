"""Promoting a replay: writing its rows into the live topic by key, in one transaction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from confluent_kafka import KafkaException, Producer

from sluice.errors import OperationError, RefusedError
from sluice.kafka.brokers import librdkafka, unreachable
from sluice.kafka.producing import produce
from sluice.ledger.replay_tables import ReplayOutcome, ReplayRun
from sluice.project import Project
from sluice.replay.live_guard import refuse_behind
from sluice.replay.model import Log, OutputKind, ReplayPlan, reported_ends
from sluice.replay.parity import Parity, Sides, read_sides, refuse_expired
from sluice.replay.release import live_topics

_TIMEOUT = 60.0
"""Seconds for each step of the transaction."""
_TRANSACTION = 900_000
"""Milliseconds for the whole transaction: the default of the broker's transaction.max.timeout.ms."""


@dataclass(frozen=True)
class Promotion:
    """The changes to one live topic.

    Attributes:
        topic: The topic.
        written: Rows that were missing or differed.
        deleted: Live rows of the range that the replay doesn't have: a tombstone was written for their keys.
    """

    topic: str
    written: int
    deleted: int


@dataclass(frozen=True)
class _Message:
    topic: str
    key: bytes
    value: bytes | None
    partition: int


def promote(project: Project, replay: ReplayRun, log: Log, *, accept_differences: bool = False) -> list[Promotion]:
    """Write a replay's rows into the live topics, by key: all of them or none.

    Rows that are equal on both sides are not written.

    Args:
        project: The project.
        replay: The replay; it must have completed.
        log: Takes progress messages.
        accept_differences: Allow live rows to be overwritten and deleted; otherwise only missing ones are added.

    Raises:
        RefusedError: the rows may not be written, or another replay is writing into a live topic.
        OperationError: the live job hasn't read past the range, or the brokers did not accept the rows; nothing was
            written.
        UnreachableError: the brokers or the cluster don't answer.
    """
    plan = ReplayPlan.model_validate(replay.plan)
    _refuse_unfinished_or_live(replay, plan)
    now = live_topics(project, plan.job)
    _refuse_changed_live_topic(project, replay, plan, now)
    project.ledger.replays.refuse_write_conflict(plan.writes(now.values()))
    if not accept_differences:
        for live, sides in _read(project, replay, plan, log):
            _refuse_differences(replay, live, sides.parity)
    refuse_behind(project, replay.job, plan)
    messages: list[_Message] = []
    promotions = []
    # Read again: the live job may have written rows since the first comparison.
    both = list(_read(project, replay, plan, log))
    # A replayed row that retention has deleted would delete the live row of its key.
    refuse_expired(project, replay, plan, sum(len(sides.replayed) for _, sides in both))
    for live, sides in both:
        if not accept_differences:
            _refuse_differences(replay, live, sides.parity)
        changed = _messages(live, sides)
        promotions.append(Promotion(live, *_count(changed)))
        messages += changed
    if messages:
        _write(project, replay, messages)
    project.ledger.replays.promoted(replay.id)
    for promotion in promotions:
        log(f"{promotion.topic}: {promotion.written:,} rows written, {promotion.deleted:,} deleted")
    return promotions


def _read(project: Project, replay: ReplayRun, plan: ReplayPlan, log: Log) -> Iterator[tuple[str, Sides]]:
    """The live topic of each sink, with the rows of both sides."""
    ends = reported_ends(replay.report)
    job, resolved = project.catalog.job(plan.job), project.ledger.release(plan.job, plan.release).resolved
    for sink, topic in plan.outputs.items():
        sides, live = read_sides(project, job, plan, sink, ends.get(sink)), str(resolved["writes"][sink]["topic"])
        log(f"{topic} against {live}: {sides.parity.describe()}")
        yield live, sides


def _refuse_unfinished_or_live(replay: ReplayRun, plan: ReplayPlan) -> None:
    if replay.outcome is not ReplayOutcome.COMPLETED:
        raise RefusedError(
            f"replay {replay.id[:8]} of {replay.job} is {replay.outcome or 'not finished'}; only a completed one can "
            "be promoted",
            remedy=f"finish it: sluice backfill {replay.job} --resume {replay.id[:8]}",
        )
    if plan.output is OutputKind.LIVE:
        raise RefusedError(
            f"replay {replay.id[:8]} of {replay.job} wrote into the live topic: there is nothing to promote"
        )


def _refuse_changed_live_topic(project: Project, replay: ReplayRun, plan: ReplayPlan, now: Mapping[str, str]) -> None:
    """Refuse to write into the topics that the replayed release wrote, if the live release writes others."""
    for sink, values in project.ledger.release(plan.job, plan.release).resolved["writes"].items():
        if (topic := str(values["topic"])) != now.get(sink):
            raise RefusedError(
                f"replay {replay.id[:8]} of {replay.job} ran release {plan.release}, which wrote {sink} to {topic}; "
                f"the live topic is now {now.get(sink) or 'none'}",
                remedy="replay the range with a release that writes the live topic",
            )


def _refuse_differences(replay: ReplayRun, live: str, parity: Parity) -> None:
    if parity.differing or parity.only_live:
        raise RefusedError(
            f"replay {replay.id[:8]} of {replay.job} would overwrite {parity.differing:,} and delete "
            f"{parity.only_live:,} rows of {live}",
            remedy="look at the samples in its report; accept the differences if they are intended",
        )


def _messages(live: str, sides: Sides) -> list[_Message]:
    """The messages that turn the live rows into the replay's rows. Each key keeps its partition of the live topic."""
    missing = sides.replayed.keys() - sides.live.keys()
    changed = {key: sides.live[key].partition for key in sides.differing}
    places = changed | {key: sides.replayed[key].partition for key in missing}
    return [
        *(
            _Message(live, sides.replayed[key].key or b"", sides.replayed[key].value, partition)
            for key, partition in sorted(places.items())
        ),
        *(
            _Message(live, sides.live[key].key or b"", None, sides.live[key].partition)
            for key in sorted(sides.live.keys() - sides.replayed.keys())
        ),
    ]


def _count(messages: list[_Message]) -> tuple[int, int]:
    deleted = sum(message.value is None for message in messages)
    return len(messages) - deleted, deleted


def _write(project: Project, replay: ReplayRun, messages: list[_Message]) -> None:
    """Write all messages in one transaction."""
    errors: list[str] = []

    def delivered(error: object, _message: object) -> None:
        if error is not None:
            errors.append(str(error))

    settings = {
        "transactional.id": f"{project.group(replay.job)}.promote.{replay.id[:8]}",
        "transaction.timeout.ms": str(_TRANSACTION),
        "compression.type": "lz4",
    }
    producer = Producer({**librdkafka(project.kafka), **settings})
    try:
        producer.init_transactions(_TIMEOUT)
        producer.begin_transaction()
        for message in messages:
            place = {"partition": message.partition, "on_delivery": delivered}
            produce(producer, message.topic, message.value, message.key, **place)
        if left := producer.flush(_TIMEOUT):
            errors.append(f"{left} messages were not acknowledged within {_TIMEOUT:.0f} s")
        if errors:
            producer.abort_transaction(_TIMEOUT)
            raise OperationError(f"the brokers did not accept the rows: {errors[0]}", remedy="nothing was written")
        producer.commit_transaction(_TIMEOUT)
    except KafkaException as error:
        raise unreachable(project.kafka_servers, error) from error
