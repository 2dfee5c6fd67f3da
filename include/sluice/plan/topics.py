"""The comparison of a job's topics with the broker."""

from __future__ import annotations

from sluice.deployment.desired import DesiredJob
from sluice.kafka.client import Brokers
from sluice.kafka.topic_steps import Step, compare, declare, refuse


def topic_steps(
    brokers: Brokers, desired: DesiredJob, *, grow_partitions: bool, change_settings: bool
) -> tuple[Step, ...]:
    """The steps that make the broker's topics as the job declares them, as far as the request allows.

    Raises:
        TopicError: topics differ, and may not be changed; names all of them.
        UnreachableError: the broker doesn't answer.
    """
    declared = declare(desired.topics.values())
    actual = brokers.describe([topic.name for topic in declared])
    steps = tuple(
        step
        for topic in declared
        for step in compare(
            desired.name,
            topic,
            actual.get(topic.name),
            grow_partitions=grow_partitions,
            change_settings=change_settings,
        )
    )
    refuse(steps)
    return steps
