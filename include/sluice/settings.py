"""Where Sluice finds the project and keeps its own things: SLUICE_* environment variables with defaults."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from sluice.errors import ConfigError

JOBS_PACKAGE = "flink_jobs"
"""The package at the project's root that holds the jobs."""


def find_root(start: Path | None = None) -> Path:
    """The nearest directory, from `start` (default: the working directory) upwards, that holds `flink_jobs/`.

    Raises:
        ConfigError: there is none.
    """
    start = (start or Path.cwd()).resolve()
    for directory in (start, *start.parents):
        if (directory / JOBS_PACKAGE).is_dir():
            return directory
    raise ConfigError(
        f"no {JOBS_PACKAGE}/ in {start} or above it",
        remedy="change to the project's directory, or set SLUICE_ROOT to it",
    )


def is_this_machine(host: str) -> bool:
    """Whether what is sent to a host, a name or an address, stays on this machine: a loopback address."""
    host = host.strip("[]").lower()
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


Directory = Annotated[Path, AfterValidator(lambda path: path.expanduser().resolve())]
"""A directory; a relative one counts from where the process was started, and stays there."""


def keep_private(directory: Path) -> None:
    """Have a directory of this process's user with mode 0700: ledger, logs and keys in it are nobody else's to read.

    One that others own is left as it is, and so is one that all users share (with the sticky bit, as /tmp). So are the
    group's rights to one with the setgid bit (chmod g+s), which is how a group shares it; users beyond the group get
    nothing.
    """
    # Where there can be none, what needs it says so.
    with contextlib.suppress(OSError):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = directory.stat()
        loose = stat.S_IRWXO if found.st_mode & stat.S_ISGID else stat.S_IRWXO | stat.S_IRWXG
        is_shared = bool(found.st_mode & stat.S_ISVTX)
        if found.st_uid == os.geteuid() and found.st_mode & loose and not is_shared:
            directory.chmod(stat.S_IMODE(found.st_mode) & ~loose)


class Variables(BaseSettings):
    """Settings that are environment variables: each field is SLUICE_<NAME>.

    Raises:
        ConfigError: a value that can't be used; names the variable.
    """

    model_config = SettingsConfigDict(env_prefix="SLUICE_", frozen=True, extra="ignore", env_ignore_empty=True)

    def __init__(self, **given: Any) -> None:
        try:
            super().__init__(**given)
        except ValidationError as error:
            first = error.errors()[0]
            name = f"SLUICE_{str(first['loc'][0]).upper()}"
            words = f"{first['msg'][:1].lower()}{first['msg'][1:]}"
            raise ConfigError(f"{name}: {words}, got {first['input']!r}", remedy=f"correct or unset {name}") from error


class Settings(Variables):
    """The settings of this process."""

    root: Directory = Field(default_factory=find_root)
    """The project: `flink_jobs/` and `deployments/` lie here."""
    home: Directory = Field(default_factory=lambda data: data["root"] / ".sluice")
    """State of this machine: ledger (unless it is elsewhere), artifacts, logs."""
    environment: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")] = "local"
    """Which file of `deployments/` applies."""
    ledger: str = Field(default_factory=lambda data: f"sqlite:///{data['home'] / 'ledger.db'}")
    """SQLAlchemy URL of the ledger; PostgreSQL in production."""
    artifacts: Directory = Field(default_factory=lambda data: data["home"] / "artifacts")
    """Where the code of releases is kept; shared by every machine that deploys."""
    client_python: Path = Path(sys.executable)
    """The interpreter that has PyFlink and Sluice; it may be another one than Airflow's."""
    flink_lib: Directory | None = None
    """Directory with Flink's and the connectors' jars for the client; None: the one in `home`, else PyFlink's own."""
    client_cache: Directory = Field(default_factory=lambda data: data["home"] / "client")
    """What lets clients start sooner, made by `python -m sluice.client.archive`; they do without where it isn't."""
    prepare_timeout: Annotated[float, Field(gt=0)] = 180
    """Seconds until a client process must have compiled a job."""
    sample_days: Annotated[float, Field(gt=0)] = 14
    """How long the ledger keeps what the sweeps of the fleet have seen; a job of 12 partitions takes 2 KB a sweep."""

    sweep_schedule: str | None = "*/10 * * * *"
    """When redeploy_and_verify runs: a cron expression, or `none`: when it is triggered."""
    sweep_operations: Annotated[int, Field(ge=1)] = 4
    """How many jobs a sweep may redeploy or bring back at once."""
    approval_hours: Annotated[float, Field(gt=0)] = 24
    """How long a plan that loses state waits for an answer in Airflow; without one it is refused."""

    @property
    def logs(self) -> Path:
        """Directory of the logs."""
        return self.home / "logs"

    @property
    def deployment_file(self) -> Path:
        """The file with the environment's desired state."""
        return self.root / "deployments" / f"{self.environment}.yaml"
