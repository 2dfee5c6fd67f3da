"""The client of the brokers uses the admin client that it is given."""

from sluice.kafka.client import Brokers
from tests.support.brokers import HeldTopics


class Idle(HeldTopics):
    """As a real admin client, it is false while its queue is empty."""

    def __len__(self):
        return 0


def test_idle_admin_client_is_used():
    admin = Idle({"lines": [7]})
    assert Brokers({"bootstrap.servers": "nowhere:1"}, admin).offsets(["lines"])[("lines", 0)].end == 7
