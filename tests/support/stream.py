"""Steady traffic through two of the product's jobs while things are done to them, and the right answer at the end."""

import threading
import time
from collections import Counter, defaultdict

from sluice.errors import SluiceError
from sluice.flink import calls
from sluice.flink.client import FlinkClient
from sluice.local.traffic import oracle, wire
from sluice.local.traffic.generator import Traffic
from sluice.operation.topics import create_topics
from tests.support.waiting import wait_for

JOBS = ("event_metrics", "session_metrics")
PARTITIONS = 3
_SETTING = '''
    least: Annotated[int, Field(ge=0, le=3)] = 0
    """No type of event is as short: the rows stay the same, the graph doesn't."""
'''
_FILTER = "WHERE CHAR_LENGTH(event.type) > {config.least} - 1 AND event.type"


class Stream:
    """The windowed and the session job under traffic that goes on until `finish`.

    Args:
        lab: Where they run.
        name: Begins the names of its topics.
        events: How many, at the least.
        pace: Events per second of wall clock; their own time goes 25 times as fast.
    """

    def __init__(self, lab, name, *, events, pace=100):
        self.lab, self._topic = lab, name
        self._servers = lab.local.kafka_servers
        lab.product_jobs()
        for job in JOBS:
            self.edit(job, 'class Config(JobConfig):\n    """', f'class Config(JobConfig):{_SETTING}\n    """')
            self.edit(job, "WHERE event.type", _FILTER)
        self.edit(
            "session_metrics",
            't_env.sql_query("""\n        SELECT context',
            't_env.sql_query(f"""\n        SELECT context',
        )
        self._options = {job: {"parallelism": 1} for job in JOBS}
        self._lock = threading.Lock()
        self.deployment()
        create_topics(lab.project, JOBS[0])
        start = (int(time.time()) - 86_400) * 1000
        self._messages = Traffic(seed=11, rate=pace / 25, start_ms=start, partitions=PARTITIONS).bounded(events)
        self._pace = pace
        self._hurry = threading.Event()
        self._feeder = threading.Thread(target=self._feed, daemon=True)
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._ends = threading.Event()
        self.twice = []

    def start(self):
        self._feeder.start()
        self._watcher.start()

    def edit(self, job, old, new):
        """Change the text of a job's file."""
        file = self.lab.root / "flink_jobs" / f"{job}.py"
        text = file.read_text()
        assert old in text, (job, old)
        written = file.with_suffix(".new")
        written.write_text(text.replace(old, new, 1))
        written.rename(file)

    def deployment(self, job=None, **options):
        """Change a job's entry in the deployment file."""
        with self._lock:
            if job:
                self._options[job] |= options
            entries = "".join(
                f"  {name}:\n"
                f"    parallelism: {options['parallelism']}\n"
                f"    reads: {{events: {{topic: {self._topic}, idle_timeout: null}}}}\n"
                f"    writes: {{topic: {self._topic}_{name}}}\n"
                # Its events are of yesterday: no gate waits until the traffic ends.
                "    health: {watermark_lag: 48h}\n"
                for name, options in self._options.items()
            )
            self.lab.deployment(f"jobs:\n{entries}")

    def alive(self):
        """The Flink jobs that have not ended, by name."""
        found = defaultdict(list)
        with FlinkClient(self.lab.local.flink_url) as flink:
            for job in flink.send(calls.jobs()).jobs:
                if not job.state.is_terminal:
                    found[job.name].append(job.id)
        return found

    def finish(self):
        """Send the rest at once, and hold what the jobs have written against what is right."""
        self._hurry.set()
        self._feeder.join()
        self._ends.set()
        self._watcher.join()
        assert not self.twice
        expected = oracle.compute(self._messages)
        for job in JOBS:
            want = Counter(map(_frozen, getattr(expected, job)))
            wait_for(lambda job=job, want=want: len(self._rows(job)) >= want.total(), f"{job} gives too few rows")
            found = Counter(map(_frozen, self._rows(job)))
            assert (found - want, want - found) == (Counter(), Counter()), job

    def _rows(self, job):
        return wire.rows(self._servers, f"{self._topic}_{job}")

    def _feed(self):
        wire.produce(self._servers, self._topic, self._paced())

    def _paced(self):
        begun = time.monotonic()
        # A job that is started again once all is read gets no watermark any more: what closes windows comes at last.
        closing = len(self._messages) - PARTITIONS
        for number, message in enumerate(self._messages):
            if number == closing:
                self._hurry.wait()
            if not self._hurry.is_set():
                self._hurry.wait(max(0.0, begun + number / self._pace - time.monotonic()))
            yield message

    def _watch(self):
        """No job runs twice, at no moment."""
        while not self._ends.wait(0.2):
            try:
                found = self.alive()
            except SluiceError:
                continue  # the cluster is being restarted
            self.twice += [ids for ids in found.values() if len(ids) > 1]


def _frozen(row):
    return tuple(sorted(row.items()))
