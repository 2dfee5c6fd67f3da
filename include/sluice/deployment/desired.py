"""A job as it is to run: its definition with the deployment file's values over it, all validated."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ValidationError

from sluice.deployment.explain import first_problem
from sluice.deployment.file import Defaults, DeploymentFile, JobSection
from sluice.deployment.lines import Document
from sluice.deployment.secrets import hidden, secrets_of
from sluice.deployment.values import json_values
from sluice.errors import ConfigError
from sluice.job.config import JobConfig, secret_settings
from sluice.job.definition import Job
from sluice.job.limits import Health
from sluice.job.names import consumer_group
from sluice.job.topic import DEPLOYABLE_FIELDS, Kafka

CHECKPOINTS: Mapping[str, str] = {
    "execution.checkpointing.interval": "30 s",
    "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
}
"""What every job has unless told otherwise: without checkpoints that outlive it, a lost job would lose its state."""


@dataclass(frozen=True)
class DesiredJob:
    """A job with everything that decides how it runs."""

    job: Job
    environment: str
    enabled: bool
    parallelism: int
    config: JobConfig
    reads: Mapping[str, Kafka]
    writes: Mapping[str, Kafka]
    health: Health
    options: Mapping[str, str]
    credentials: Mapping[str, str] = field(default_factory=dict)
    """What the brokers' configuration has of secrets, as digests: the job holds those that it was started with."""
    jars: Mapping[str, str] = field(default_factory=dict)
    """The jars that are shipped with it, with digests of their content."""

    @property
    def name(self) -> str:
        """The job's name."""
        return self.job.name

    @property
    def group(self) -> str:
        """Its Kafka consumer group."""
        return consumer_group(self.environment, self.name)

    @property
    def topics(self) -> dict[str, Kafka]:
        """Every topic of the job by its name on the broker; a declared read first."""
        return {topic.topic: topic for topic in (*self.writes.values(), *self.reads.values())}

    @property
    def untimed(self) -> tuple[str, ...]:
        """The topics of which no read has a watermark, by their names on the broker."""
        timed = {topic.topic for topic in self.reads.values() if topic.has_watermark}
        return tuple(dict.fromkeys(topic.topic for topic in self.reads.values() if topic.topic not in timed))

    def values(self) -> dict[str, Any]:
        """Everything that decides how it runs, as JSON values; of secrets their digests."""
        # What most jobs have none of is left out: they keep their fingerprints.
        credentials = {"credentials": dict(self.credentials)} if self.credentials else {}
        jars = {"jars": dict(self.jars)} if self.jars else {}
        return {
            "parallelism": self.parallelism,
            "state_version": self.job.state_version,
            "config": json_values(self.config),
            "reads": {name: topic_values(topic) for name, topic in self.reads.items()},
            "writes": {name: topic_values(topic) for name, topic in self.writes.items()},
            "options": hidden(self.options),
            **credentials,
            **jars,
        }

    def secrets(self) -> dict[str, Any]:
        """Its settings as JSON values, secrets and all: for who runs it."""
        return json_values(self.config, reveal=True)


def topic_values(topic: Kafka) -> dict[str, Any]:
    """The settings of a topic that a deployment may set, as JSON values."""
    return json_values(topic, set(DEPLOYABLE_FIELDS))


def desired_job(
    job: Job,
    environment: str,
    content: DeploymentFile,
    document: Document,
    overrides: Mapping[str, Any] | None = None,
    kafka: Mapping[str, str] | None = None,
    given: Iterable[str] = (),
    jars: Mapping[str, str] | None = None,
) -> DesiredJob:
    """Lay a deployment file's values over a job, and over those what a run gave for its settings.

    Args:
        job: The job.
        environment: Whose deployment file.
        content: What it says.
        document: Where it says so.
        overrides: What runs gave; what a run gives anew is held against `refuse_secrets` before.
        kafka: How the brokers are reached; None: as the deployment file says.
        given: Those of the overrides that a run gives now; the others are kept from former ones.
        jars: Those of the deployment file, with digests of their content.

    Raises:
        ConfigError: an unknown name or a value out of its range; names job, field, file and line, allowed range.
    """
    section = content.jobs.get(job.name, JobSection())
    laid_over = dict(overrides or {})
    reading = _Reading(job, document, frozenset(given), frozenset(laid_over).difference(given))
    config = reading.model(("config",), job.config, lambda: job.config(**{**section.config, **laid_over}))
    replication = {"replication": content.defaults.replication} if content.defaults.replication else {}
    reads = {
        name: reading.topic(("reads", name), topic, {**replication, **section.reads.get(name, {})})
        for name, topic in job.reads.items()
    }
    reading.known_names("reads", section.reads, job.reads)
    sinks = _by_sink(job, section.writes)
    if len(job.sinks) > 1:
        reading.known_names("writes", sinks, job.sinks)
    writes = {}
    for name, topic in job.sinks.items():
        path = ("writes", name) if len(job.sinks) > 1 else ("writes",)
        writes[name] = reading.topic(path, topic, {**replication, **sinks.get(name, {})})
    health = reading.model(("health",), Health, lambda: _limits(job, content.defaults, section))
    desired = DesiredJob(
        job=job,
        environment=environment,
        enabled=section.enabled,
        parallelism=section.parallelism or content.defaults.parallelism,
        config=config,
        reads=reads,
        writes=writes,
        health=health,
        options=flink_options(content, job.name),
        credentials=secrets_of(content.kafka.config if kafka is None else kafka),
        jars=dict(jars or {}),
    )
    _check_parallelism(desired, document)
    return desired


def flink_options(content: DeploymentFile, name: str) -> dict[str, str]:
    """The Flink options of a job of this name, secrets and all."""
    return {**CHECKPOINTS, **content.defaults.flink, **content.jobs.get(name, JobSection()).flink}


def refuse_secrets(job: Job, overrides: Iterable[str]) -> None:
    """What is given for a run is kept as it was given, and shown.

    Raises:
        ConfigError: one of the settings is a secret.
    """
    for name in overrides:
        if name in secret_settings(job.config):
            raise ConfigError(
                f"{job.name}: config.{name} is a secret, which can't be given for a run",
                remedy=f"set it in the deployment file by an environment variable: {name}: ${{NAME}}",
            )


def exposed_secrets(config: type[JobConfig], overrides: Iterable[str]) -> tuple[str, ...]:
    """What is to be said of settings that former runs gave and that are secrets by now, a line for each."""
    return tuple(
        f"config.{name} is a secret by now, and the ledger has it as a former run gave it: set it in the deployment "
        "file, and clear former overrides"
        for name in sorted(secret_settings(config).intersection(overrides))
    )


def _limits(job: Job, defaults: Defaults, section: JobSection) -> Health:
    """The job's limits: of its section, of its code, of the defaults, and Sluice's own, the first that there is."""
    given = {name: getattr(each, name) for each in (defaults.health, job.health) for name in each.model_fields_set}
    return Health(**{**given, **section.health})


def _by_sink(job: Job, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values for each sink; a job's only one needs no name."""
    return {next(iter(job.sinks)): values} if len(job.sinks) == 1 else dict(values)


@dataclass(frozen=True)
class _Reading:
    job: Job
    document: Document
    given: frozenset[str]
    standing: frozenset[str]

    def place(self, *path: str) -> str:
        if path[:1] == ("config",) and self.given.intersection(path[1:2]):
            return "given for this run"
        if self.is_standing(path):
            return "kept from a former run"
        return self.document.place(("jobs", self.job.name, *path))

    def is_standing(self, path: tuple[str, ...]) -> bool:
        """Whether a setting is one that a former run gave."""
        return path[:1] == ("config",) and bool(self.standing.intersection(path[1:2]))

    def known_names(self, section: str, given: Mapping[str, Any], known: Mapping[str, Any]) -> None:
        for name in given:
            if name not in known:
                raise ConfigError(
                    f"{self.job.name}: {section}.{name}: the job has no such name ({self.place(section, name)})",
                    remedy=f"name one of {', '.join(known)}",
                )

    def model(self, path: tuple[str, ...], model: type[BaseModel], build: Callable[[], Any]) -> Any:
        try:
            return build()
        except ValidationError as error:
            inner, words = first_problem(error, model)
            where = (*path, *inner)
            take_back = f"sluice deploy {self.job.name} --clear-overrides takes back what former runs gave"
            raise ConfigError(
                f"{self.job.name}: {'.'.join(where)}: {words} ({self.place(*where)})",
                remedy=take_back if self.is_standing(where) else None,
            ) from error

    def topic(self, path: tuple[str, ...], declared: Kafka, values: Any) -> Kafka:
        if not isinstance(values, Mapping):
            raise ConfigError(
                f"{self.job.name}: {'.'.join(path)}: expected a mapping, got {values!r} ({self.place(*path)})"
            )
        for name in values:
            if name not in DEPLOYABLE_FIELDS:
                raise ConfigError(
                    f"{self.job.name}: {'.'.join((*path, name))}: not a setting of a topic ({self.place(*path, name)})",
                    remedy=f"set any of {', '.join(DEPLOYABLE_FIELDS)}",
                )
        topic: Kafka = self.model(path, Kafka, lambda: declared.with_settings(values))
        return topic


def _check_parallelism(desired: DesiredJob, document: Document) -> None:
    """Refuse subtasks that would never get a partition, and so hold the watermark back for ever.

    A read with an idle timeout lets go of the watermark, so one that is wide enough for the parallelism will do.
    """
    place = document.place(("jobs", desired.name, "parallelism"))
    widest = max((topic.partitions for topic in desired.reads.values()), default=desired.parallelism)
    for name, topic in desired.reads.items():
        limit = widest if topic.idle_timeout else topic.partitions
        if desired.parallelism > limit:
            raise ConfigError(
                f"{desired.name}: parallelism {desired.parallelism} is more than the {limit} partitions of "
                f"reads.{name} ({topic.topic}): subtasks without a partition would do nothing ({place})",
                remedy=f"set parallelism to {limit} or less, or give the topic more partitions",
            )
