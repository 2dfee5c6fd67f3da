"""Create or change a job's topics as it declares them, without a deploy."""

from __future__ import annotations

from sluice.kafka.client import Brokers
from sluice.kafka.topic_steps import Step
from sluice.plan.topics import topic_steps
from sluice.project import Project


def create_topics(
    project: Project,
    job: str,
    brokers: Brokers | None = None,
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
    brokers = project.brokers if brokers is None else brokers
    steps = topic_steps(brokers, project.desired(job), grow_partitions=grow_partitions, change_settings=change_settings)
    brokers.apply(steps)
    return steps
