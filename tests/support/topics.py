"""Topics that tests create themselves."""

from confluent_kafka.admin import AdminClient, NewTopic

from tests.support.waiting import wait_for


def create_topic(admin: AdminClient, topic: str, partitions: int = 1) -> None:
    """Create a topic, and wait until the broker lists it, which may be a moment after its answer."""
    admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result()
    wait_for(lambda: topic in admin.list_topics(timeout=10).topics, f"the broker does not list {topic}", pause=0.1)
