"""Deploying in a test as the shell does: stages, then gates."""

import asyncio
import time

from sluice.health.gates import GATES
from sluice.operation.deploy import Deploy, Started
from sluice.operation.gate import GateOrder, readings
from sluice.project import Project


def deploy(project: Project, job: str, holder: str = "test") -> Started:
    stages = Deploy(project, job, holder)
    stages.create_topics()
    started = stages.submit(stages.package().number)
    asyncio.run(pass_gates(project, job, started))
    stages.finish(started.operation, "unchanged" if started.unchanged else "healthy", None)
    return started


async def pass_gates(project: Project, job: str, started: Started) -> None:
    desired = project.desired(job)
    topics = tuple(topic.topic for topic in desired.reads.values())
    for gate in GATES:
        order = GateOrder(
            gate=gate,
            flink_url=project.flink_url,
            flink_job_id=started.flink_job_id,
            topics=topics,
            kafka=project.kafka,
            group=desired.group,
            health=desired.health,
            deadline=time.time() + 60,
        )
        async for reading in readings(order):
            assert not reading.hopeless, reading.words


def wait_for(condition, timeout: float = 60, message: str = "it did not happen"):
    """Ask until the answer is true; returns it."""
    deadline = time.monotonic() + timeout
    while not (answer := condition()):
        assert time.monotonic() < deadline, message
        time.sleep(0.5)
    return answer
