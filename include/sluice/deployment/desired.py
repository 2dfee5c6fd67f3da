"""The desired state of a job: its definition with the values of the deployment file, validated."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ValidationError

from sluice.deployment.explain import first_problem
from sluice.deployment.file import Defaults, DeploymentFile, JobSection
from sluice.deployment.secrets import option_digests, redact_options
from sluice.deployment.values import json_values
from sluice.deployment.yaml_lines import Document
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
"""Defaults of every job. Checkpoints must be retained: a job that Flink loses is restored from them."""


@dataclass(frozen=True)
class DesiredJob:
    """A job with all settings that decide how it runs."""

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
    """Digests of the secrets in the brokers' configuration. A running job keeps the secrets it was started with, so a
    change needs a new release."""
    jars: Mapping[str, str] = field(default_factory=dict)
    """The jars that are shipped with the job: digest of the content by the name in the deployment file."""

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
        """Every topic of the job by its name on the broker; the declaration under `reads` wins."""
        return {topic.topic: topic for topic in (*self.writes.values(), *self.reads.values())}

    @property
    def untimed(self) -> tuple[str, ...]:
        """The topics that no read with a watermark covers, by their names on the broker."""
        timed = {topic.topic for topic in self.reads.values() if topic.has_watermark}
        return tuple(dict.fromkeys(topic.topic for topic in self.reads.values() if topic.topic not in timed))

    def values(self) -> dict[str, Any]:
        """All settings that decide how the job runs, as JSON values; secrets as digests."""
        # Keys that were added later are left out where empty, so that the fingerprints of existing releases stay.
        credentials = {"credentials": dict(self.credentials)} if self.credentials else {}
        jars = {"jars": dict(self.jars)} if self.jars else {}
        return {
            "parallelism": self.parallelism,
            "state_version": self.job.state_version,
            "config": json_values(self.config),
            "reads": {name: topic_values(topic) for name, topic in self.reads.items()},
            "writes": {name: topic_values(topic) for name, topic in self.writes.items()},
            "options": redact_options(self.options),
            **credentials,
            **jars,
        }

    def secrets(self) -> dict[str, Any]:
        """The job's own settings as JSON values, secrets in clear: to run the job."""
        return json_values(self.config, reveal=True)


def topic_values(topic: Kafka) -> dict[str, Any]:
    """The settings of a topic that a deployment file may set, as JSON values."""
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
    """Apply a deployment file to a job, then the settings that were given for runs.

    Args:
        job: The job.
        environment: The name of the environment.
        content: The deployment file.
        document: The same file with line numbers, for messages.
        overrides: Settings given for runs; the caller checks those of this run with `refuse_secrets`.
        kafka: The brokers' configuration; None: the one in the deployment file.
        given: The names of the overrides that this run gives; the others were kept from earlier runs.
        jars: The jars of the deployment file with digests of their content.

    Raises:
        ConfigError: an unknown name or a value out of range; names job, field, file and line, and the allowed range.
    """
    section = content.jobs.get(job.name, JobSection())
    settings = dict(overrides or {})
    reading = _Reading(job, document, frozenset(given), frozenset(settings).difference(given))
    config = reading.model(("config",), job.config, lambda: job.config(**{**section.config, **settings}))
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
        credentials=option_digests(content.kafka.config if kafka is None else kafka),
        jars=dict(jars or {}),
    )
    _check_parallelism(desired, document)
    return desired


def flink_options(content: DeploymentFile, name: str) -> dict[str, str]:
    """The Flink options of the job with this name, secrets in clear."""
    return {**CHECKPOINTS, **content.defaults.flink, **content.jobs.get(name, JobSection()).flink}


def refuse_secrets(job: Job, overrides: Iterable[str]) -> None:
    """Refuse overrides of secret settings: the ledger stores and shows overrides in clear.

    Raises:
        ConfigError: one of the settings is a secret.
    """
    for name in overrides:
        if name in secret_settings(job.config):
            raise ConfigError(
                f"{job.name}: config.{name} is a secret, which can't be overridden for a run",
                remedy=f"set it in the deployment file by an environment variable: {name}: ${{NAME}}",
            )


def override_secret_warnings(config: type[JobConfig], overrides: Iterable[str]) -> tuple[str, ...]:
    """A warning for each override of an earlier run whose field has become a secret since."""
    return tuple(
        f"config.{name} is a secret now, and the ledger stores in clear the value that an earlier run gave: set it in "
        "the deployment file, and clear the overrides"
        for name in sorted(secret_settings(config).intersection(overrides))
    )


def _limits(job: Job, defaults: Defaults, section: JobSection) -> Health:
    """The job's limits. For each: the job's section, then its code, then the file's defaults, then Sluice's default."""
    given = {name: getattr(each, name) for each in (defaults.health, job.health) for name in each.model_fields_set}
    return Health(**{**given, **section.health})


def _by_sink(job: Job, values: Mapping[str, Any]) -> dict[str, Any]:
    """The deployment file's values for each sink by name; with one sink, `writes` has no names."""
    return {next(iter(job.sinks)): values} if len(job.sinks) == 1 else dict(values)


@dataclass(frozen=True)
class _Reading:
    job: Job
    document: Document
    given: frozenset[str]
    kept: frozenset[str]

    def place(self, *path: str) -> str:
        if path[:1] == ("config",) and self.given.intersection(path[1:2]):
            return "given for this run"
        if self.is_kept(path):
            return "kept from an earlier run"
        return self.document.place(("jobs", self.job.name, *path))

    def is_kept(self, path: tuple[str, ...]) -> bool:
        """Whether an earlier run gave this setting."""
        return path[:1] == ("config",) and bool(self.kept.intersection(path[1:2]))

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
            clear = f"run: sluice deploy {self.job.name} --clear-overrides"
            raise ConfigError(
                f"{self.job.name}: {'.'.join(where)}: {words} ({self.place(*where)})",
                remedy=clear if self.is_kept(where) else None,
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
    """Refuse subtasks that would never get a partition, and so would hold back the watermark forever.

    A read with an idle timeout doesn't hold it back: then it is enough if one read has that many partitions.
    """
    place = document.place(("jobs", desired.name, "parallelism"))
    widest = max((topic.partitions for topic in desired.reads.values()), default=desired.parallelism)
    for name, topic in desired.reads.items():
        limit = widest if topic.idle_timeout else topic.partitions
        if desired.parallelism > limit:
            raise ConfigError(
                f"{desired.name}: parallelism {desired.parallelism} is more than the {limit} partitions of "
                f"reads.{name} ({topic.topic}): subtasks without a partition would be idle ({place})",
                remedy=f"set parallelism to {limit} or less, or give the topic more partitions",
            )
