"""A project in one environment: its jobs and their desired state, its brokers, its Flink cluster, its ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluice.clock import Clock
from sluice.deployment.catalog import Catalog, read_catalog
from sluice.deployment.desired import DesiredJob, desired_job, flink_options
from sluice.deployment.file import DeploymentFile, read_deployment_file
from sluice.deployment.jars import jar_digests
from sluice.deployment.secrets import holds_digests, resolve_secrets
from sluice.deployment.yaml_lines import Document
from sluice.errors import ConfigError, SluiceError
from sluice.flink.access import Access, exposed_flink_login
from sluice.flink.connection import from_environment
from sluice.job.config import secret_settings
from sluice.job.names import consumer_group
from sluice.kafka.exposure import exposed_kafka_login
from sluice.ports import Ports
from sluice.release.compiler import SUBMIT_TIMEOUT, Ahead, Compiler
from sluice.settings import Settings, make_private

if TYPE_CHECKING:
    from sluice.flink.client import AsyncFlinkClient, FlinkClient
    from sluice.kafka.client import Brokers
    from sluice.ledger.ledger import Ledger


class Project:
    """The jobs, deployment file, brokers, cluster and ledger of an environment; each is loaded at first use.

    Args:
        settings: The settings of the process.
        kafka: librdkafka's configuration; None: the one in the deployment file.
        flink: The Flink cluster; None: the address in the deployment file, or the connection that the file names,
            read from the environment.
        ports: The ports; None: the defaults.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        kafka: Mapping[str, str] | None = None,
        flink: Access | None = None,
        ports: Ports | None = None,
    ) -> None:
        self.settings = settings
        self._kafka = kafka
        self._flink = flink
        self.ports = ports or Ports()

    def reread(self) -> Project:
        """The same project with its files read again; the ledger is shared."""
        fresh = Project(self.settings, kafka=self._kafka, flink=self._flink, ports=self.ports)
        fresh.ledger = self.ledger
        return fresh

    @cached_property
    def catalog(self) -> Catalog:
        """The project's jobs."""
        return read_catalog(self.settings.root, self.ports.file_check)

    @property
    def environment(self) -> str:
        """Name of the deployment file: `deployments/<environment>.yaml`."""
        return self.settings.environment

    @property
    def content(self) -> DeploymentFile:
        """The deployment file."""
        return self._file[0]

    @cached_property
    def flink(self) -> Access:
        """How to reach the Flink cluster.

        Raises:
            ConfigError: the connection that the deployment file names is missing in the environment, or invalid.
        """
        if self._flink is not None:
            return self._flink
        section = self.content.flink
        if section.connection is not None:
            return from_environment(section.connection).access()
        return Access.of(section.url or "")

    @property
    def flink_url(self) -> str:
        """The cluster's REST address without the login, for messages and links."""
        return self.flink.url

    def connect(self, url: str | None = None) -> FlinkClient:
        """A client of the cluster.

        Args:
            url: The address of another cluster, with the same login and TLS settings; None: this environment's.

        Raises:
            ConfigError: see `flink`.
        """
        from sluice.flink.client import FlinkClient  # noqa: PLC0415 - not always needed

        access = self.flink if url is None else replace(self.flink, url=url)
        if self.ports.flink is not None:
            return self.ports.flink(access)
        return FlinkClient(access, clock=self.clock)

    def connect_async(self) -> AsyncFlinkClient:
        """An asynchronous client of the cluster. See `connect`."""
        from sluice.flink.client import AsyncFlinkClient  # noqa: PLC0415 - not always needed

        return AsyncFlinkClient(self.connect())

    def compiler(
        self,
        job: str,
        log: Callable[[str], None],
        *,
        ahead: Ahead | None = None,
        submit_timeout: float = SUBMIT_TIMEOUT,
    ) -> Compiler:
        """A compiler of a job's releases. See `sluice.release.compiler.Compiler`."""
        return (self.ports.compiler or Compiler)(self, job, log, ahead=ahead, submit_timeout=submit_timeout)

    @property
    def clock(self) -> Clock:
        """The clock."""
        return self.ports.clock

    @property
    def flink_name(self) -> str | None:
        """The cluster's name in the deployment file; None: the file names none."""
        return self.content.flink.name

    @property
    def kafka(self) -> Mapping[str, str]:
        """Librdkafka's configuration."""
        return self._kafka or self.content.kafka.config

    @property
    def kafka_servers(self) -> str:
        """The brokers' addresses, for messages."""
        return self.kafka.get("bootstrap.servers", "nowhere")

    @cached_property
    def brokers(self) -> Brokers:
        """The brokers."""
        from sluice.kafka.client import Brokers  # noqa: PLC0415 - not always needed

        return Brokers(self.kafka, clock=self.clock) if self.ports.brokers is None else self.ports.brokers

    @property
    def exposed_logins(self) -> tuple[str, ...]:
        """A warning for each login that is sent to another machine without encryption, with the remedy.

        Raises:
            ConfigError: see `flink`.
        """
        found = (exposed_flink_login(self.flink), exposed_kafka_login(self.kafka))
        return tuple(sentence for sentence in found if sentence)

    @cached_property
    def ledger(self) -> Ledger:
        """The environment's ledger."""
        from sluice.ledger.ledger import Ledger  # noqa: PLC0415 - takes half a second, and is not always needed

        make_private(self.settings.home)
        return Ledger(self.settings.ledger, self.environment, clock=self.clock)

    @property
    def flink_lib(self) -> Path | None:
        """Directory with the jars that the client compiles against; None: PyFlink's own."""
        own = self.settings.home / "flink" / "lib"
        return self.settings.flink_lib or (own if own.is_dir() else None)

    def group(self, name: str) -> str:
        """A job's Kafka consumer group."""
        return consumer_group(self.environment, name)

    def desired(self, name: str, overrides: Mapping[str, Any] | None = None, given: Iterable[str] = ()) -> DesiredJob:
        """The desired state of a job: its code with the values of the deployment file.

        Args:
            name: The job's name.
            overrides: Settings that replace the deployment file's.
            given: The names of the overrides that this run gives; the others were kept from earlier runs.

        Raises:
            ConfigError: the project has no such job, or a value is invalid.
        """
        jars = jar_digests(self.content.flink.jars, self.settings.root)
        return desired_job(self.catalog.job(name), self.environment, *self._file, overrides, self.kafka, given, jars)

    def resolve_secrets(
        self, name: str, resolved: Mapping[str, Any], overrides: Mapping[str, Any] | None = None
    ) -> Mapping[str, Any]:
        """The resolved settings of a release with the current secrets in place of their digests, to compile it.

        Args:
            name: The job's name.
            resolved: `Release.resolved`.
            overrides: `Release.overrides`. A secret among them was given before its field became a `SecretStr`, and
                is used as it was given.

        Raises:
            ConfigError: the job has secret settings, and its file can't be imported.
            RefusedError: the deployment file no longer gives a value for a secret.
        """
        config, options = resolved["config"], resolved["options"]
        if holds_digests(config):
            secrets = secret_settings(self.catalog.job(name).config).intersection(overrides or {})
            today = self.desired(name, {each: (overrides or {})[each] for each in secrets})
            config = resolve_secrets(config, today.secrets(), f"{name}: config")
        return {
            **resolved,
            "config": config,
            "options": resolve_secrets(options, flink_options(self.content, name), f"{name}: options"),
        }

    def enabled_jobs(self) -> list[str]:
        """The names of the jobs that are enabled in the deployment file, sorted; without broken job files."""
        return [name for name in sorted(self.catalog.jobs) if self.desired(name).enabled]

    @cached_property
    def _file(self) -> tuple[DeploymentFile, Document]:
        # If a job file is broken, a section without a job may be that file's: it must not stop the other jobs.
        known = None if self.catalog.broken else self.catalog.jobs
        file = self.settings.deployment_file
        if not file.is_file():
            others = sorted(path.stem for path in file.parent.glob("*.yaml"))
            raise ConfigError(
                f"there is no environment {self.environment!r}: {file} does not exist",
                remedy=f"choose one of {', '.join(others) or 'none'} with --environment, or write the file",
            )
        try:
            return read_deployment_file(file, known)
        except ConfigError:
            if known is None or not (started := self._started()):
                raise
            # Nor may the section of a job whose file was removed stop the other jobs.
            return read_deployment_file(file, {*known, *started})

    def _started(self) -> set[str]:
        """The jobs that the ledger has started before; empty if there is no ledger (this creates none)."""
        from sluice.ledger.ledger import Ledger  # noqa: PLC0415 - see `ledger`

        try:
            return set(Ledger(self.settings.ledger, self.environment, migrates=False).places())
        except SluiceError:
            return set()
