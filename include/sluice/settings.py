"""The settings of a Sluice process: SLUICE_* environment variables with defaults."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from sluice.errors import ConfigError

JOBS_PACKAGE = "flink_jobs"
"""The package at the project's root that holds the jobs."""


def find_root(start: Path | None = None) -> Path:
    """The nearest directory, from `start` (default: the working directory) upwards, that contains `flink_jobs/`.

    Raises:
        ConfigError: no such directory exists.
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
    """Whether a host, given by name or address, is a loopback address."""
    host = host.strip("[]").lower()
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


Directory = Annotated[Path, AfterValidator(lambda path: path.expanduser().resolve())]
"""An absolute path; a relative one is resolved once, against the working directory at the start of the process."""


def make_private(directory: Path) -> None:
    """Create a directory with mode 0700, or restrict an existing one: it holds the ledger, logs and keys.

    The mode of a directory is not changed if another user owns it, or if all users share it (sticky bit, as /tmp). In
    a directory with the setgid bit (chmod g+s) the group keeps its permissions, and other users lose theirs.
    """
    # If the directory can't be made, the code that writes into it reports the error.
    with contextlib.suppress(OSError):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = directory.stat()
        loose = stat.S_IRWXO if found.st_mode & stat.S_ISGID else stat.S_IRWXO | stat.S_IRWXG
        is_shared = bool(found.st_mode & stat.S_ISVTX)
        if found.st_uid == os.geteuid() and found.st_mode & loose and not is_shared:
            directory.chmod(stat.S_IMODE(found.st_mode) & ~loose)


class Variables(BaseSettings):
    """Base of settings that are read from the environment: the field `name` from SLUICE_<NAME>.

    Raises:
        ConfigError: a value is invalid; the message names the variable.
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
    """The project: the directory that contains `flink_jobs/` and `deployments/`."""
    home: Directory = Field(default_factory=lambda data: data["root"] / ".sluice")
    """Files of this machine: the SQLite ledger, artifacts, logs."""
    environment: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")] = "local"
    """Name of the deployment file: `deployments/<environment>.yaml`."""
    ledger: str = Field(default_factory=lambda data: f"sqlite:///{data['home'] / 'ledger.db'}")
    """SQLAlchemy URL of the ledger; PostgreSQL in production."""
    artifacts: Directory = Field(default_factory=lambda data: data["home"] / "artifacts")
    """Directory of the artifacts: the code of releases. All machines that deploy must share it."""
    client_python: Path = Path(sys.executable)
    """The Python interpreter of the client process, with PyFlink and Sluice installed; may differ from Airflow's."""
    flink_lib: Directory | None = None
    """Directory with Flink's and the connectors' jars for the client; None: `home`/flink/lib, else PyFlink's own."""
    graph_keys: SecretStr | None = None
    """Fernet keys of the compiled graphs, separated by commas: the first encrypts, all decrypt. None: a key that this
    machine makes, in `home`/graphs.key; machines with different keys compile each release themselves."""
    client_cache: Directory = Field(default_factory=lambda data: data["home"] / "client")
    """Class-data archives that shorten the client's start, made by `python -m sluice.client.archive`; optional."""
    prepare_timeout: Annotated[float, Field(gt=0)] = 180
    """Seconds within which a client process must have compiled a job."""
    sample_days: Annotated[float, Field(gt=0)] = 14
    """Days for which the ledger keeps the samples of sweeps; a job with 12 partitions takes 2 KB per sweep."""

    sweep_schedule: str | None = "*/10 * * * *"
    """Schedule of the DAG redeploy_and_verify: a cron expression, or `none` to run it only when triggered."""
    sweep_operations: Annotated[int, Field(ge=1)] = 4
    """How many jobs a sweep may redeploy or restart at the same time."""
    approval_hours: Annotated[float, Field(gt=0)] = 24
    """Hours for which a plan that loses state waits for approval in Airflow; then it is refused."""

    @property
    def logs(self) -> Path:
        """The directory for log files."""
        return self.home / "logs"

    @property
    def deployment_file(self) -> Path:
        """The deployment file of the environment."""
        return self.root / "deployments" / f"{self.environment}.yaml"
