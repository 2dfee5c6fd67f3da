"""Topics and jobs as Airflow's assets: what each job reads and writes, and events of what was done to it.

A topic is `kafka://<Airflow connection>/<topic>`, a job `sluice://job/<name>`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, AssetWatcher

from sluice.deployment.file import DeploymentFile, JobSection, read_deployment_file
from sluice.errors import ConfigError
from sluice.job.definition import Job
from sluice.job.topic import Kafka
from sluice.settings import Settings

if TYPE_CHECKING:
    from airflow.sdk import Context

CONNECTION = "kafka_default"
"""The connection of the brokers, unless the deployment file says otherwise."""
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


def topic_asset(topic: str, connection: str = CONNECTION) -> Asset:
    """A topic.

    Args:
        topic: Its name on the broker.
        connection: The Airflow connection of its brokers.
    """
    return Asset(uri=f"kafka://{connection}/{topic}", group="topic")


def job_asset(job: str) -> Asset:
    """A job: an event of it is a deploy, rollback, suspension, resumption or replay that has ended well."""
    return Asset(uri=f"sluice://job/{job}", group="job")


def event_time_asset(
    job: str, every: timedelta, *, root: str | Path | None = None, environment: str | None = None
) -> Asset:
    """A job's output having passed a point in event time: an event whenever that is a multiple of `every`, in UTC.

    For a DAG's `schedule`. Its event's extra has `payload: {job, from, until}`: the rows between the two can be read;
    more than `every` lies between them where several points were passed at once. It costs the cluster nothing: the
    ledger's samples tell, so redeploy_and_verify must run.

    Args:
        job: The job's name.
        every: An hour, a day, ...
        root: The project's directory; None: SLUICE_ROOT, or the working directory's.
        environment: Which file of deployments/ applies; None: SLUICE_ENVIRONMENT.
    """
    from sluice.airflow.event_time import EventTimeTrigger  # noqa: PLC0415 - of those who watch

    trigger = EventTimeTrigger(
        job=job, seconds=every.total_seconds(), root=None if root is None else str(root), environment=environment
    )
    name = f"{job} every {_words(every)}"
    uri = f"sluice://event_time/{job}/{_words(every)}"
    return Asset(uri=uri, group="event time", watchers=[AssetWatcher(name=name, trigger=trigger)])


@dataclass(frozen=True)
class JobAssets:
    """What a job reads and writes, and the job itself."""

    job: Asset
    reads: tuple[Asset, ...] = ()
    writes: tuple[Asset, ...] = ()


@dataclass
class Lineage:
    """The assets of a project's jobs, as the deployment file names their topics.

    Args:
        content: The deployment file; None: what the jobs declare.
    """

    content: DeploymentFile | None = None
    _topics: dict[str, Asset] = field(default_factory=dict)

    def of(self, job: Job) -> JobAssets:
        """The assets of one job."""
        section = self.content.jobs.get(job.name) if self.content else None
        section = section or JobSection()
        sinks = section.writes if len(job.sinks) > 1 else dict.fromkeys(job.sinks, section.writes)
        return JobAssets(
            job_asset(job.name),
            tuple(self._each(job.reads, section.reads)),
            tuple(self._each(job.sinks, sinks)),
        )

    def _each(self, topics: Mapping[str, Kafka], given: Mapping[str, Any]) -> Iterable[Asset]:
        names = (_named(given.get(name)) or topic.topic for name, topic in topics.items())
        return (self._topic(name) for name in dict.fromkeys(names))

    def _topic(self, name: str) -> Asset:
        if name not in self._topics:
            connection = self.content.kafka.connection if self.content else CONNECTION
            self._topics[name] = topic_asset(name, connection)
        return self._topics[name]


def _named(given: object) -> str | None:
    """The topic that a deployment file's settings name; None: they name none, or nothing that can be one."""
    name = given.get("topic") if isinstance(given, Mapping) else None
    return name if isinstance(name, str) and _TOPIC.fullmatch(name) else None


def read_lineage(root: Path) -> Lineage:
    """The assets of a project's jobs.

    With a deployment file that can't be read, the topics are those that the jobs declare: it must take no DAG away, and
    what is wrong with it the plan says.
    """
    try:
        return Lineage(read_deployment_file(Settings(root=root).deployment_file, None)[0])
    except (ConfigError, OSError):
        return Lineage()


def tell_outlets(context: Context, outlets: Iterable[Any], extra: Mapping[str, Any]) -> None:
    """Say what has happened, with the events that Airflow makes for a task's outlets once it has succeeded."""
    known = {name: value for name, value in extra.items() if value is not None}
    for outlet in outlets:
        context["outlet_events"][outlet].extra = known


def _words(every: timedelta) -> str:
    """A duration in one unit: 1h, 90min."""
    seconds = every.total_seconds()
    unit, length = next(((unit, length) for unit, length in _UNITS if seconds % length == 0), ("s", 1))
    return f"{seconds / length:g}{unit}"
