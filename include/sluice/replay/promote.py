"""Writing the rows of a replay into the live topic, by key, in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from confluent_kafka import KafkaException, Producer

from sluice.errors import OperationError, RefusedError
from sluice.kafka.brokers import librdkafka, unreachable
from sluice.kafka.producing import produce
from sluice.ledger.replay_tables import Replay
from sluice.project import Project
from sluice.replay.live_guard import refuse_behind
from sluice.replay.model import ReplayPlan, ends_told
from sluice.replay.parity import Parity, Sides, read_sides, refuse_expired
from sluice.replay.preflight import live_topics

_TIMEOUT = 60.0
"""Seconds that the brokers have for each step of the transaction."""
_TRANSACTION = 900_000
"""Milliseconds that it may take as a whole: the most that a broker allows unless told otherwise."""


@dataclass(frozen=True)
class Promotion:
    """What was written into one live topic.

    Attributes:
        written: Rows that were not there, or differed.
        deleted: Live rows of the range that the replay does not have: their keys got an empty value.
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


def promote(
    project: Project, replay: Replay, tell: Callable[[str], None], *, accept_differences: bool = False
) -> list[Promotion]:
    """Let the live topics, read by key, have the rows of a replay; all of them or none.

    Rows that are the same on both sides are not written again.

    Args:
        project: The project.
        replay: The replay; it must have completed.
        tell: Where progress goes.
        accept_differences: Live rows may be overwritten and deleted; otherwise only missing ones are added.

    Raises:
        RefusedError: nothing may be, or is to be, written; or another replay writes to a live topic just now.
        OperationError: the live job is not past the range yet, or the brokers did not take it; nothing was written.
        UnreachableError: they don't answer.
    """
    plan = ReplayPlan.model_validate(replay.plan)
    _refuse(replay, plan)
    now = live_topics(project, plan.job)
    _refuse_moved(project, replay, plan, now)
    project.ledger.replays.refuse_write_conflict(plan.writes(now.values()))
    if not accept_differences:
        for live, sides in _read(project, replay, plan, tell):
            _refuse_differences(replay, live, sides.parity)
    refuse_behind(project, replay.job, plan)
    messages: list[_Message] = []
    promotions = []
    # Anew: what the live job has written meanwhile counts.
    both = list(_read(project, replay, plan, tell))
    # What is no longer there would delete the live rows in its place.
    refuse_expired(project, replay, plan, sum(len(sides.replayed) for _, sides in both))
    for live, sides in both:
        if not accept_differences:
            _refuse_differences(replay, live, sides.parity)
        changed = _messages(live, sides)
        promotions.append(Promotion(live, *_counted(changed)))
        messages += changed
    if messages:
        _write(project, replay, messages)
    project.ledger.replays.promoted(replay.id)
    for promotion in promotions:
        tell(f"{promotion.topic}: {promotion.written:,} rows written, {promotion.deleted:,} deleted")
    return promotions


def _read(
    project: Project, replay: Replay, plan: ReplayPlan, tell: Callable[[str], None]
) -> Iterator[tuple[str, Sides]]:
    """Both sides of each sink, by its live topic."""
    told = ends_told(replay.report)
    job, resolved = project.catalog.job(plan.job), project.ledger.release(plan.job, plan.release).resolved
    for sink, topic in plan.outputs.items():
        sides, live = read_sides(project, job, plan, sink, told.get(sink)), str(resolved["writes"][sink]["topic"])
        tell(f"{topic} against {live}: {sides.parity.words}")
        yield live, sides


def _refuse(replay: Replay, plan: ReplayPlan) -> None:
    if replay.outcome != "completed":
        raise RefusedError(
            f"replay {replay.id[:8]} of {replay.job} is {replay.outcome or 'not finished'}: it can't be promoted",
            remedy=f"finish it: sluice backfill {replay.job} --resume {replay.id[:8]}",
        )
    if plan.output == "live":
        raise RefusedError(f"replay {replay.id[:8]} of {replay.job} has written to the live topic: it is there already")


def _refuse_moved(project: Project, replay: Replay, plan: ReplayPlan, now: Mapping[str, str]) -> None:
    """The rows go into the topics that its release wrote: they must be the live ones still."""
    for sink, values in project.ledger.release(plan.job, plan.release).resolved["writes"].items():
        if (topic := str(values["topic"])) != now.get(sink):
            raise RefusedError(
                f"replay {replay.id[:8]} of {replay.job} was of release {plan.release}, which wrote {sink} to {topic}, "
                f"and {now.get(sink) or 'no topic'} is live now",
                remedy="replay the range by a release that writes where the live one does",
            )


def _refuse_differences(replay: Replay, live: str, parity: Parity) -> None:
    if parity.differing or parity.only_live:
        raise RefusedError(
            f"replay {replay.id[:8]} of {replay.job} would overwrite {parity.differing:,} and delete "
            f"{parity.only_live:,} rows of {live}",
            remedy="look at the samples in its report; if that is meant, accept the differences",
        )


def _messages(live: str, sides: Sides) -> list[_Message]:
    """What brings the live topic to the replay's rows. A key stays in the partition in which it stands."""
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


def _counted(messages: list[_Message]) -> tuple[int, int]:
    deleted = sum(message.value is None for message in messages)
    return len(messages) - deleted, deleted


def _write(project: Project, replay: Replay, messages: list[_Message]) -> None:
    """All of them in one transaction."""
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
            errors.append(f"{left} messages were not taken within {_TIMEOUT:.0f} s")
        if errors:
            producer.abort_transaction(_TIMEOUT)
            raise OperationError(f"the brokers did not take the rows: {errors[0]}", remedy="nothing was written")
        producer.commit_transaction(_TIMEOUT)
    except KafkaException as error:
        raise unreachable(project.kafka_servers, error) from error
