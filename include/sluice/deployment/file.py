"""The deployment file: the desired state of an environment."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from sluice.deployment.explain import first_problem
from sluice.deployment.reserved import refuse_reserved
from sluice.deployment.yaml_lines import Document, read_document
from sluice.errors import ConfigError
from sluice.job.limits import Health


def _text(value: object) -> object:
    """Flink and Kafka take options as text, while YAML reads some as numbers and booleans."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else value


Text = Annotated[str, BeforeValidator(_text)]
Parallelism = Annotated[int, Field(ge=1, le=32_767)]


class _Section(BaseModel):
    # A value may be a secret, and tracebacks end up in logs.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class KafkaSection(_Section):
    """The environment's brokers."""

    connection: str = "kafka_default"
    """The Airflow connection (type `kafka`) from which the DAGs read the brokers' configuration."""
    config: dict[str, Text] = Field(default_factory=dict)
    """librdkafka's configuration, as in that connection's extra; the `sluice` command uses it, having no connection."""


class FlinkSection(_Section):
    """The environment's Flink cluster."""

    url: Annotated[str, Field(pattern=r"^https?://[^/?#\s]+(/[^/?#\s]+)*$")] | None = None
    """REST address, e.g. http://127.0.0.1:8081 or https://flink.example.org/team."""
    connection: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$")] | None = None
    """Instead of the address: the Airflow connection (type `flink`), which also has login and TLS settings. The
    `sluice` command reads it from AIRFLOW_CONN_<NAME>, as Airflow does."""
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$", max_length=63)] | None = None
    """The cluster's name. A changed name means another cluster: jobs that were started under the former name are
    looked up at the address that was recorded then."""
    jars: tuple[str, ...] = ()
    """Jars to ship with each job; empty if the cluster's lib/ contains the connectors."""

    @model_validator(mode="after")
    def _is_named_once(self) -> Self:
        if (self.url is None) == (self.connection is None):
            raise ValueError("expected one of url and connection")
        return self


class Defaults(_Section):
    """Settings of each job whose own section doesn't set them."""

    parallelism: Parallelism = 1
    flink: dict[str, Text] = Field(default_factory=dict)
    replication: Annotated[int, Field(ge=1, le=32)] | None = None
    """Replication of every topic for which `reads` or `writes` doesn't set it."""
    health: Health = Health()
    """Health limits that neither a job's code nor its section here sets."""


class JobSection(_Section):
    """The settings of one job. `config`, `reads` and `writes` are validated by the job's own models."""

    enabled: bool = True
    parallelism: Parallelism | None = None
    config: dict[str, Any] = Field(default_factory=dict)
    reads: dict[str, dict[str, Any]] = Field(default_factory=dict)
    writes: dict[str, Any] = Field(default_factory=dict)
    """The sink's settings; for a job with several sinks, by the sink's name."""
    health: dict[str, Any] = Field(default_factory=dict)
    flink: dict[str, Text] = Field(default_factory=dict)


class DeploymentFile(_Section):
    """`deployments/<environment>.yaml`."""

    kafka: KafkaSection = KafkaSection()
    flink: FlinkSection
    defaults: Defaults = Defaults()
    jobs: dict[str, JobSection] = Field(default_factory=dict)


def read_deployment_file(file: Path, known_jobs: Collection[str] | None) -> tuple[DeploymentFile, Document]:
    """Read an environment's desired state.

    Args:
        file: The YAML file.
        known_jobs: The names that may have a section; None: any name, because the jobs are not known.

    Raises:
        ConfigError: the file can't be read, or has an unknown field, an invalid value, a Flink option that Sluice sets
            itself, or a job that the project doesn't have; with the line.
    """
    document = read_document(file)
    jobs = document.values.get("jobs")
    if isinstance(jobs, dict):
        # `my_job:` without a value is a job with all defaults.
        document.values["jobs"] = {name: {} if section is None else section for name, section in jobs.items()}
    try:
        content = DeploymentFile.model_validate(document.values)
    except ValidationError as error:
        path, words = first_problem(error, DeploymentFile)
        raise ConfigError(f"{document.place(path)}: {'.'.join(path)}: {words}") from error
    refuse_reserved(_flink_options(content), document.place)
    for name in content.jobs:
        if known_jobs is not None and name not in known_jobs:
            raise ConfigError(
                f"{document.place(('jobs', name))}: there is no job {name!r}",
                remedy=f"the project has {', '.join(sorted(known_jobs)) or 'none'}; add flink_jobs/{name}.py, or "
                "remove the entry",
            )
    return content, document


def _flink_options(content: DeploymentFile) -> Iterator[tuple[str, ...]]:
    """The path of each Flink option in the file."""
    for name in content.defaults.flink:
        yield "defaults", "flink", name
    for job, section in content.jobs.items():
        for name in section.flink:
            yield "jobs", job, "flink", name
