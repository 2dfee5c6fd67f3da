"""The project, its settings and its ledger in Airflow's processes. Fast to import."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from airflow.sdk import BaseHook

if TYPE_CHECKING:
    from sluice.ledger.ledger import Ledger
    from sluice.project import Project
    from sluice.settings import Settings


def project_of(root: str | None, environment: str | None) -> Project:
    """The project, with the brokers and the cluster of the Airflow connections that the deployment file names.

    Raises:
        ConfigError: the deployment file or a connection is wrong.
    """
    from sluice.airflow.hook import FlinkHook  # noqa: PLC0415
    from sluice.project import Project  # noqa: PLC0415

    settings = settings_of(root, environment)
    content = Project(settings).content
    kafka = BaseHook.get_connection(content.kafka.connection).extra_dejson
    name = content.flink.connection
    return Project(
        settings,
        kafka={name: str(value) for name, value in kafka.items()},
        flink=FlinkHook(name).access() if name else None,
    )


def settings_of(root: str | None, environment: str | None) -> Settings:
    """The settings of this process; `root` and `environment` replace those of the environment variables."""
    from sluice.settings import Settings  # noqa: PLC0415

    given = {"root": root, "environment": environment}
    return Settings.model_validate({name: value for name, value in given.items() if value})


def ledger_of(root: str | None, environment: str | None) -> Ledger:
    """The project's ledger, opened once per process, since the triggerer reads it every few seconds."""
    return _project(root, environment).ledger


@lru_cache(maxsize=8)
def _project(root: str | None, environment: str | None) -> Project:
    from sluice.project import Project  # noqa: PLC0415

    return Project(settings_of(root, environment))
