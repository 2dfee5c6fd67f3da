"""Open the ledger's database and migrate it to the current schema."""

from __future__ import annotations

import fcntl
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError

from sluice.errors import ConfigError, UnreachableError

_MIGRATIONS = Path(__file__).parent / "migrations"
_LOCK = 7_154_823
"""Key of the PostgreSQL advisory lock that serialises migrations."""
_DRIVERS = {"psycopg": "run make env, or: pip install 'psycopg[binary]'"}
"""By module of a database driver: how to install it."""
_READS = "sluice_reads"
"""Execution option of read-only connections."""


def open_database(url: str, *, migrates: bool = True) -> Engine:
    """An engine for the ledger's database, with the current schema.

    Args:
        url: SQLAlchemy URL of the database.
        migrates: Migrate the database to the current schema; False: don't change it, for readers.

    Raises:
        ConfigError: the URL is invalid, its driver is not installed, or the schema is that of a newer Sluice (without
            migration: of an older one, too).
        UnreachableError: the database doesn't answer.
    """
    try:
        parsed = make_url(url)
        engine = create_engine(parsed, pool_pre_ping=True)
    except ModuleNotFoundError as error:
        driver = error.name or "its driver"
        raise ConfigError(
            f"ledger {_shown(url)} can't be used: {driver}, the driver for that database, is not installed",
            remedy=_DRIVERS.get(driver, f"install {driver} in the same environment as Sluice"),
        ) from None
    except (ArgumentError, NoSuchModuleError, ImportError, ValueError) as error:
        raise ConfigError(
            f"ledger {_shown(url)} can't be used: {error}",
            remedy="set SLUICE_LEDGER to an SQLAlchemy URL, e.g. postgresql+psycopg://user:password@host/database",
        ) from None
    file = Path(parsed.database) if parsed.get_backend_name() == "sqlite" and parsed.database else None
    if file:
        if migrates:
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _serialise(engine)
    try:
        if migrates:
            _migrate(engine, file.with_name(f"{file.name}.lock") if file else None)
        else:
            _refuse_other(None if file and not file.exists() else _version(engine))
    except OperationalError as error:
        raise UnreachableError(f"the ledger at {_shown(url)} does not answer: {error.orig}") from error
    return engine


def for_reading(engine: Engine) -> Engine:
    """The same database for read-only sessions: without write locks, and with one snapshot per session.

    So the readers of the fleet page never block a deploy.
    """
    options: dict[str, Any] = {_READS: True}
    if engine.dialect.name == "postgresql":
        options |= {"postgresql_readonly": True, "isolation_level": "REPEATABLE READ"}
    return engine.execution_options(**options)


def _shown(url: str) -> str:
    """The URL for a message, with what may be a password redacted; also for a URL that can't be parsed."""
    redacted = re.sub(r"(://[^:@]*|^[^:/@]*):.*@", r"\1:***@", url)
    return re.sub(r"(password=)[^&]*", r"\1***", redacted)


def _serialise(engine: Engine) -> None:
    """Make an SQLite file safe for several processes: writers take the lock at BEGIN, and wait for it."""

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # BEGIN is sent below, not by the driver
        for pragma in ("journal_mode=WAL", "busy_timeout=30000", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        reads = connection.get_execution_options().get(_READS)
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


def _newest() -> str:
    """The schema version of this Sluice."""
    return max(file.name[:4] for file in (_MIGRATIONS / "versions").glob("[0-9]*.py"))


def _refuse_other(found: str | None) -> None:
    if found is None:
        raise ConfigError(
            "there is no ledger yet",
            remedy="trigger redeploy_and_verify or deploy a job, which creates it; if a ledger exists already, check "
            "SLUICE_LEDGER",
        )
    if found != (newest := _newest()):
        raise ConfigError(
            f"the ledger has schema {found}, and this Sluice needs {newest}",
            remedy="run the same version of Sluice everywhere; its next deploy or sweep migrates an older schema",
        )


def _migrate(engine: Engine, lock: Path | None) -> None:
    # Alembic takes a third of a second to import: only if a migration is needed.
    if _version(engine) == _newest():
        return
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    configuration = Config()
    configuration.set_main_option("script_location", str(_MIGRATIONS))
    script = ScriptDirectory.from_config(configuration)
    head = script.get_current_head()
    with _locked(engine, lock):
        found = _version(engine)
        if found == head:
            return
        known = {revision.revision for revision in script.walk_revisions()}
        if found is not None and found not in known:
            raise ConfigError(
                f"the ledger has schema {found}, which this Sluice does not know",
                remedy="run the version of Sluice that migrated it, or a newer one",
            )
        with engine.begin() as connection:
            configuration.attributes["connection"] = connection
            command.upgrade(configuration, "head")


def _version(engine: Engine) -> str | None:
    with for_reading(engine).connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


@contextmanager
def _locked(engine: Engine, file: Path | None) -> Iterator[None]:
    if file is not None:
        with file.open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
    elif engine.dialect.name == "postgresql":
        with engine.connect() as connection:
            connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _LOCK})
            try:
                yield
            finally:
                connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _LOCK})
    else:
        yield
