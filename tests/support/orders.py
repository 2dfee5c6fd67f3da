"""A job that sums orders in windows, or does something else with them, on a topic of its own that a test fills."""

import json
import time

from sluice.fleet.status import sweep_and_record
from sluice.local.traffic import wire
from sluice.local.traffic.generator import Message
from sluice.operation.topics import create_topics
from tests.support.waiting import wait_for

HEAD = """
from datetime import datetime
from sluice import Health, Job, Kafka, Record

class Order(Record):
    user: str
    amount: float
    at: int

class Total(Record):
    {fields}

job = Job(
    name="{name}",
    reads={{"orders": Kafka("{name}_in", record=Order, event_time="at", partitions=2)}},
    writes=Kafka("{name}_out", record=Total),
    health=Health(start_timeout="{timeout}"),
)

@job.pipeline
def build(t_env, orders):
"""
WINDOWS = (
    HEAD.replace("{fields}", "window_start: datetime\n    user: str\n    total: float")
    + '''
    return t_env.sql_query("""
        SELECT window_start, `user`, SUM(amount) AS total
        FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(event_time), INTERVAL '2' SECOND))
        GROUP BY window_start, window_end, `user`""")
'''
)


class Orders:
    """A job on a topic of its own.

    Args:
        lab: Where it runs.
        name: The job's.
        source: Its file.
        timeout: Of its gates.
    """

    def __init__(self, lab, name, source=WINDOWS, timeout="100s"):
        self.lab, self.name = lab, name
        lab.job(name, source.format(name=name, timeout=timeout))
        create_topics(lab.project, name)

    def send(self, count, *, amount=1.0, event_after=0, arrival_after=0):
        """Records of as many users; how far after now their event time and their arrival are, milliseconds."""
        now = time.time_ns() // 1_000_000
        messages = [
            Message(
                b"",
                json.dumps({"user": f"u{number}", "amount": amount, "at": now + event_after}).encode(),
                now + arrival_after,
                number % 2,
            )
            for number in range(count)
        ]
        wire.produce(self.lab.local.kafka_servers, f"{self.name}_in", messages)

    def row(self):
        """The job's row of a sweep."""
        return next(each.status for each in sweep_and_record(self.lab.project) if each.status.job == self.name)

    def judged(self, wanted, again=None):
        """The row of the job once its verdict is the wanted one; `again` is called before each look."""

        def row():
            if again:
                again()
            found = self.row()
            return found if found.verdict == wanted else None

        return wait_for(row, f"the verdict is never {wanted}")
