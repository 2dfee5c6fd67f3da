"""Topics and jobs as Airflow's assets: which topics each job reads and writes, and events of its operations.

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
"""The Airflow connection of the brokers, unless the deployment file names another one."""
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


def topic_asset(topic: str, connection: str = CONNECTION) -> Asset:
    """The asset of a topic.

    Args:
        topic: The topic's name on the broker.
        connection: The Airflow connection of its brokers.
    """
    return Asset(uri=f"kafka://{connection}/{topic}", group="topic")


def job_asset(job: str) -> Asset:
    """The asset of a job: each successful deploy, rollback, suspension, resumption and replay is an event."""
    return Asset(uri=f"sluice://job/{job}", group="job")


def event_time_asset(
    job: str, every: timedelta, *, root: str | Path | None = None, environment: str | None = None
) -> Asset:
    """An asset with an event each time a job's output has passed a multiple of `every` in event time, UTC.

    For a DAG's `schedule`. The event's extra has `payload: {job, from, until}`: the rows between the two moments are
    complete. They are further apart than `every` if the output passed several multiples at once. The event time comes
    from the ledger's samples, so that no request goes to the cluster and redeploy_and_verify must run.

    Args:
        job: The job's name.
        every: The period, e.g. an hour or a day.
        root: The project's directory; None: SLUICE_ROOT, or the working directory's.
        environment: Which file of deployments/ applies; None: SLUICE_ENVIRONMENT.
    """
    from sluice.airflow.event_time import EventTimeTrigger  # noqa: PLC0415 - for DAGs that use it

    trigger = EventTimeTrigger(
        job=job, seconds=every.total_seconds(), root=None if root is None else str(root), environment=environment
    )
    name = f"{job} every {_text(every)}"
    uri = f"sluice://event_time/{job}/{_text(every)}"
    return Asset(uri=uri, group="event time", watchers=[AssetWatcher(name=name, trigger=trigger)])


@dataclass(frozen=True)
class JobAssets:
    """The assets of a job, of the topics that it reads and of those that it writes."""

    job: Asset
    reads: tuple[Asset, ...] = ()
    writes: tuple[Asset, ...] = ()


@dataclass
class Lineage:
    """The assets of a project's jobs, with the topic names of the deployment file.

    Args:
        content: The deployment file; None: the topics are those that the jobs declare.
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

    def _each(self, topics: Mapping[str, Kafka], settings: Mapping[str, Any]) -> Iterable[Asset]:
        names = (_named(settings.get(name)) or topic.topic for name, topic in topics.items())
        return (self._topic(name) for name in dict.fromkeys(names))

    def _topic(self, name: str) -> Asset:
        if name not in self._topics:
            connection = self.content.kafka.connection if self.content else CONNECTION
            self._topics[name] = topic_asset(name, connection)
        return self._topics[name]


def _named(settings: object) -> str | None:
    """The topic that a deployment file's settings name; None: they name none, or an invalid one."""
    name = settings.get("topic") if isinstance(settings, Mapping) else None
    return name if isinstance(name, str) and _TOPIC.fullmatch(name) else None


def read_lineage(root: Path) -> Lineage:
    """The assets of a project's jobs.

    If the deployment file can't be read, the topics are those that the jobs declare: an invalid file must not remove
    DAGs, and the plan reports its errors.
    """
    try:
        return Lineage(read_deployment_file(Settings(root=root).deployment_file, None)[0])
    except (ConfigError, OSError):
        return Lineage()


def set_event_extra(context: Context, outlets: Iterable[Any], extra: Mapping[str, Any]) -> None:
    """Set the extra of the asset events that Airflow creates for a task's outlets when the task succeeds.

    Args:
        context: The task's context.
        outlets: The assets.
        extra: The extra; fields that are None are left out.
    """
    known = {name: value for name, value in extra.items() if value is not None}
    for outlet in outlets:
        context["outlet_events"][outlet].extra = known


def _text(every: timedelta) -> str:
    """A duration in one unit, e.g. 1h or 90min."""
    seconds = every.total_seconds()
    unit, length = next(((unit, length) for unit, length in _UNITS if seconds % length == 0), ("s", 1))
    return f"{seconds / length:g}{unit}"
