"""The comparison of a job's topics with the broker."""

from __future__ import annotations

from confluent_kafka.admin import AdminClient

from sluice.deployment.desired import DesiredJob
from sluice.kafka.topic_steps import Step, compare, declare, refuse
from sluice.kafka.topics import describe
from sluice.project import Project


def topic_steps(
    project: Project, desired: DesiredJob, admin: AdminClient, *, grow_partitions: bool, change_settings: bool
) -> tuple[Step, ...]:
    """The steps that make the broker's topics as the job declares them, as far as the request allows.

    Raises:
        TopicError: topics differ, and may not be changed; names all of them.
        UnreachableError: the broker doesn't answer.
    """
    declared = declare(desired.topics.values())
    actual = describe(admin, [topic.name for topic in declared], project.kafka_servers)
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
