"""Create or change a job's topics as it declares them, without a deploy."""

from __future__ import annotations

from confluent_kafka.admin import AdminClient

from sluice.kafka import topics
from sluice.kafka.brokers import connect
from sluice.kafka.topic_steps import Step
from sluice.plan.topics import topic_steps
from sluice.project import Project


def create_topics(
    project: Project,
    job: str,
    admin: AdminClient | None = None,
    *,
    grow_partitions: bool = False,
    change_settings: bool = False,
) -> tuple[Step, ...]:
    """Create or change the topics; the steps that were taken.

    Raises:
        ConfigError: the job or a setting is wrong.
        TopicError: a topic differs; nothing was changed.
        UnreachableError: the broker doesn't answer.
    """
    admin = admin or connect(project.kafka)
    steps = topic_steps(
        project, project.desired(job), admin, grow_partitions=grow_partitions, change_settings=change_settings
    )
    topics.apply(admin, steps, project.kafka_servers)
    return steps
