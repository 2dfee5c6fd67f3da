"""The deployment file: the desired state of an environment."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from sluice.deployment.explain import first_problem
from sluice.deployment.lines import Document, read_document
from sluice.deployment.reserved import refuse_reserved
from sluice.errors import ConfigError
from sluice.job.limits import Health


def _text(value: object) -> object:
    """Options are text to Flink and Kafka; YAML reads some as numbers and truth values."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else value


Text = Annotated[str, BeforeValidator(_text)]
Parallelism = Annotated[int, Field(ge=1, le=32_767)]


class _Section(BaseModel):
    # A value may be a secret, and the trace of an error ends up in logs.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class KafkaSection(_Section):
    """The environment's brokers."""

    connection: str = "kafka_default"
    """The Airflow connection (type `kafka`) that the DAGs take the brokers from."""
    config: dict[str, Text] = Field(default_factory=dict)
    """librdkafka's configuration, as in that connection's extra; for the shell, where there is no connection."""


class FlinkSection(_Section):
    """The environment's Flink cluster."""

    url: Annotated[str, Field(pattern=r"^https?://[^/?#\s]+(/[^/?#\s]+)*$")] | None = None
    """REST address, e.g. http://127.0.0.1:8081 or https://flink.example.org/team."""
    connection: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$")] | None = None
    """Instead of the address: the Airflow connection (type `flink`), which has TLS and login as well. The shell takes
    it from AIRFLOW_CONN_<NAME>, as Airflow does."""
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$", max_length=63)] | None = None
    """What the cluster is called here. With another name it counts as another cluster: what was started under the
    former name is looked for at the address that the cluster had then."""
    jars: tuple[str, ...] = ()
    """Jars to ship with each job; none when the cluster's lib/ holds the connectors."""

    @model_validator(mode="after")
    def _is_named_once(self) -> Self:
        if (self.url is None) == (self.connection is None):
            raise ValueError("expected one of url and connection")
        return self


class Defaults(_Section):
    """What applies to each job that doesn't say otherwise."""

    parallelism: Parallelism = 1
    flink: dict[str, Text] = Field(default_factory=dict)
    replication: Annotated[int, Field(ge=1, le=32)] | None = None
    """Replication of every topic that isn't given one under `reads` or `writes`."""
    health: Health = Health()
    """Limits of the jobs that set none of their own: a job's code, and its section here, come first."""


class JobSection(_Section):
    """How one job is to run. Values under `config`, `reads` and `writes` are held against the job's own models."""

    enabled: bool = True
    parallelism: Parallelism | None = None
    config: dict[str, Any] = Field(default_factory=dict)
    reads: dict[str, dict[str, Any]] = Field(default_factory=dict)
    writes: dict[str, Any] = Field(default_factory=dict)
    """The sink's settings; by sink's name for a job with several."""
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
        known_jobs: The names that may have a section; None: any, for want of knowing which jobs there are.

    Raises:
        ConfigError: unreadable, an unknown field, a wrong value, a Flink option that Sluice sets itself, or a job that
            the project doesn't have; with the line.
    """
    document = read_document(file)
    jobs = document.values.get("jobs")
    if isinstance(jobs, dict):
        # `my_job:` with nothing below is a job with every default.
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
                remedy=f"the project has {', '.join(sorted(known_jobs)) or 'none'}; add flink_jobs/{name}.py, or take "
                "the entry out",
            )
    return content, document


def _flink_options(content: DeploymentFile) -> Iterator[tuple[str, ...]]:
    """Where each Flink option stands in the file."""
    for name in content.defaults.flink:
        yield "defaults", "flink", name
    for job, section in content.jobs.items():
        for name in section.flink:
            yield "jobs", job, "flink", name
