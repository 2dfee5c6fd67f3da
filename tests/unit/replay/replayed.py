"""A replay of the simulated project's job, which runs and whose chunks run on the simulated cluster."""

from sluice.kafka.offsets import Offsets
from sluice.replay.chunk import Chunk
from tests.simulator.simulated import JOB
from tests.support.windowed import source
from tests.unit.replay.plans import plan

SOURCE = (
    source(JOB)
    .replace("Record, interval", "Record, Replay, interval")
    .replace("    lines: int\n", "    window_end: datetime\n    lines: int\n")
    .replace("    health=", '    replay=Replay(span="PT1H"),\n    health=')
)
"""The job's file: its history may be replayed."""


class Replayed:
    """A replay of the job `counts`, in two chunks that read the topic `lines`.

    Attributes:
        simulated: The project.
        cluster: Its Flink cluster.
        clock: Its clock.
        ledger: Its ledger.
        brokers: Its brokers.
        live: The Flink job of the live job.
        plan: The replay's plan.
        logged: The progress messages.
    """

    def __init__(self, simulated):
        self.simulated, self.cluster, self.clock = simulated, simulated.cluster, simulated.clock
        self.ledger, self.brokers, self.logged = simulated.ledger, simulated.brokers, []
        simulated.rewrite(SOURCE)
        self.live = simulated.deploy().flink_job_id
        self.cluster.free_slots = 7
        self.brokers.ends |= {("lines", number): Offsets(0, 1_000) for number in (0, 1)}
        resolved = self.ledger.release(JOB, 1).resolved
        self.plan = plan(release=1, output="other", resolved={**resolved, "reads": {"events": {"topic": "lines"}}})
        names = [chunk.name for chunk in self.plan.chunks]
        self.ledger.replays.add(self.plan.id, JOB, "one", 1, self.plan.model_dump(mode="json"), names, None)

    @property
    def project(self):
        return self.simulated.project

    @property
    def states(self):
        """The states of the chunks' Flink jobs, by their ids."""
        return {job: state for job, state in self.cluster.states.items() if job != self.live}

    def running_jobs(self):
        """The chunks' Flink jobs that run."""
        return [job for job, state in self.states.items() if state == "RUNNING"]

    def chunk(self, number=1, taker="one", log=None):
        return Chunk(self.project, self.plan, number, log or self.logged.append, taker=taker)

    def row(self, number=1):
        """A chunk's row in the ledger."""
        return self.ledger.replays.chunk(self.plan.id, number)
