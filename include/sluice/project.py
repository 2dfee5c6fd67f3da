"""A project in one environment: its jobs, their desired state, its brokers, its cluster, its ledger."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluice.deployment.catalog import Catalog, read_catalog
from sluice.deployment.desired import DesiredJob, desired_job, flink_options
from sluice.deployment.file import DeploymentFile, read_deployment_file
from sluice.deployment.jars import jar_digests
from sluice.deployment.lines import Document
from sluice.deployment.secrets import holds_digests, opened
from sluice.errors import ConfigError, SluiceError
from sluice.flink.access import Access, exposed_flink_login
from sluice.flink.connection import from_environment
from sluice.job.config import secret_settings
from sluice.job.names import consumer_group
from sluice.kafka.exposure import exposed_kafka_login
from sluice.settings import Settings, keep_private

if TYPE_CHECKING:
    from sluice.flink.client import FlinkClient
    from sluice.ledger.ledger import Ledger


class Project:
    """Everything that an operation needs to know; each part is read when it is first asked for.

    Args:
        settings: Where things are.
        kafka: librdkafka's configuration; None: that of the deployment file.
        flink: The Flink cluster; None: the deployment file's address, or its connection from the environment.
    """

    def __init__(
        self, settings: Settings, *, kafka: Mapping[str, str] | None = None, flink: Access | None = None
    ) -> None:
        self.settings = settings
        self._kafka = kafka
        self._flink = flink

    def reread(self) -> Project:
        """The same project as its files are now."""
        fresh = Project(self.settings, kafka=self._kafka, flink=self._flink)
        fresh.ledger = self.ledger
        return fresh

    @cached_property
    def catalog(self) -> Catalog:
        """The project's jobs."""
        return read_catalog(self.settings.root)

    @property
    def environment(self) -> str:
        """Which file of `deployments/` applies."""
        return self.settings.environment

    @property
    def content(self) -> DeploymentFile:
        """The deployment file."""
        return self._file[0]

    @cached_property
    def flink(self) -> Access:
        """The cluster.

        Raises:
            ConfigError: the connection that the deployment file names is not in the environment, or is wrong.
        """
        if self._flink is not None:
            return self._flink
        section = self.content.flink
        if section.connection is not None:
            return from_environment(section.connection).access()
        return Access.of(section.url or "")

    @property
    def flink_url(self) -> str:
        """The cluster's REST address, without a login: for messages and links."""
        return self.flink.url

    def flink_at(self, url: str) -> FlinkClient:
        """A client of the cluster at another address, with the login and TLS of the environment's own one."""
        from sluice.flink.client import FlinkClient  # noqa: PLC0415 - not always needed

        return FlinkClient(replace(self.flink, url=url))

    @property
    def flink_name(self) -> str | None:
        """What the deployment file calls the cluster; None: it doesn't."""
        return self.content.flink.name

    @property
    def kafka(self) -> Mapping[str, str]:
        """Librdkafka's configuration."""
        return self._kafka or self.content.kafka.config

    @property
    def kafka_servers(self) -> str:
        """The brokers' addresses, for messages."""
        return self.kafka.get("bootstrap.servers", "nowhere")

    @property
    def exposed_logins(self) -> tuple[str, ...]:
        """The logins that leave this machine unencrypted, each in a sentence with what to do about it.

        Raises:
            ConfigError: see `flink`.
        """
        found = (exposed_flink_login(self.flink), exposed_kafka_login(self.kafka))
        return tuple(sentence for sentence in found if sentence)

    @cached_property
    def ledger(self) -> Ledger:
        """The environment's ledger."""
        from sluice.ledger.ledger import Ledger  # noqa: PLC0415 - half a second to import, and not always needed

        keep_private(self.settings.home)
        return Ledger(self.settings.ledger, self.environment)

    @property
    def flink_lib(self) -> Path | None:
        """Directory with the jars that the client compiles against; None: PyFlink's own."""
        own = self.settings.home / "flink" / "lib"
        return self.settings.flink_lib or (own if own.is_dir() else None)

    def group(self, name: str) -> str:
        """A job's Kafka consumer group."""
        return consumer_group(self.environment, name)

    def desired(self, name: str, overrides: Mapping[str, Any] | None = None, given: Iterable[str] = ()) -> DesiredJob:
        """A job as it is to run.

        Args:
            name: The job's name.
            overrides: Settings that lie over the deployment file's.
            given: Those of them that a run gives now; the others are kept from former ones.

        Raises:
            ConfigError: there is no such job, or a value is wrong.
        """
        jars = jar_digests(self.content.flink.jars, self.settings.root)
        return desired_job(self.catalog.job(name), self.environment, *self._file, overrides, self.kafka, given, jars)

    def opened(
        self, name: str, resolved: Mapping[str, Any], overrides: Mapping[str, Any] | None = None
    ) -> Mapping[str, Any]:
        """What a job's release was resolved to, with today's secrets instead of their digests: for who runs it.

        Args:
            name: The job's name.
            resolved: `Release.resolved`.
            overrides: `Release.overrides`: a secret that a run gave, before it was one, is that.

        Raises:
            ConfigError: the job has settings that are secret, and can't be read.
            RefusedError: the deployment file doesn't give one of them any more.
        """
        config, options = resolved["config"], resolved["options"]
        if holds_digests(config):
            secrets = secret_settings(self.catalog.job(name).config).intersection(overrides or {})
            today = self.desired(name, {each: (overrides or {})[each] for each in secrets})
            config = opened(config, today.secrets(), f"{name}: config")
        return {
            **resolved,
            "config": config,
            "options": opened(options, flink_options(self.content, name), f"{name}: options"),
        }

    def enabled_jobs(self) -> list[str]:
        """The names of the jobs that are to run, in order; broken files are left out."""
        return [name for name in sorted(self.catalog.jobs) if self.desired(name).enabled]

    @cached_property
    def _file(self) -> tuple[DeploymentFile, Document]:
        # With a file that gives no job, a section without a job may be that file's: it must not stop all the others.
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
            # The section of a job whose file was removed must not stop all the others either.
            return read_deployment_file(file, {*known, *started})

    def _started(self) -> set[str]:
        """The jobs that were ever started, as far as there is a ledger that tells; none is made for that."""
        from sluice.ledger.ledger import Ledger  # noqa: PLC0415 - see `ledger`

        try:
            return set(Ledger(self.settings.ledger, self.environment, migrates=False).places())
        except SluiceError:
            return set()
