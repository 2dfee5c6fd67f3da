"""Opening the ledger's database, and bringing it to the current schema."""

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
"""PostgreSQL advisory lock: one process migrates at a time."""
_DRIVERS = {"psycopg": "run make env, or: pip install 'psycopg[binary]'"}
"""How to install a driver, by its module."""
_READS = "sluice_reads"
"""Execution option of connections that read alone."""


def open_database(url: str, *, migrates: bool = True) -> Engine:
    """An engine on the ledger, of the current schema.

    Args:
        url: SQLAlchemy URL of the database.
        migrates: Bring the database to the current schema; False: take it as it is, for who reads alone.

    Raises:
        ConfigError: the URL can't be used, its driver is not installed, or the schema is of another Sluice: of a newer
            one, or, where it isn't to be migrated, of any.
        UnreachableError: the database doesn't answer.
    """
    try:
        parsed = make_url(url)
        engine = create_engine(parsed, pool_pre_ping=True)
    except ModuleNotFoundError as error:
        driver = error.name or "its driver"
        raise ConfigError(
            f"ledger {_shown(url)} can't be used: {driver}, the driver for that database, is not installed",
            remedy=_DRIVERS.get(driver, f"install {driver} beside Sluice"),
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
    """The same database for who reads alone: takes no writer's lock, and sees one state of it for a whole session.

    A page that many look at must not keep a deploy waiting.
    """
    options: dict[str, Any] = {_READS: True}
    if engine.dialect.name == "postgresql":
        options |= {"postgresql_readonly": True, "isolation_level": "REPEATABLE READ"}
    return engine.execution_options(**options)


def _shown(url: str) -> str:
    """The URL for a message: what may be a password is hidden, in one that can't be parsed as well."""
    hidden = re.sub(r"(://[^:@]*|^[^:/@]*):.*@", r"\1:***@", url)
    return re.sub(r"(password=)[^&]*", r"\1***", hidden)


def _serialise(engine: Engine) -> None:
    """Make an SQLite file behave among several processes: writers wait, and take the lock when they begin."""

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # BEGIN is ours
        for pragma in ("journal_mode=WAL", "busy_timeout=30000", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        reads = connection.get_execution_options().get(_READS)
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


def _newest() -> str:
    """The schema of this Sluice."""
    return max(file.name[:4] for file in (_MIGRATIONS / "versions").glob("[0-9]*.py"))


def _refuse_other(found: str | None) -> None:
    if found is None:
        raise ConfigError(
            "there is no ledger yet",
            remedy="trigger redeploy_and_verify, or deploy a job, which makes it; if that was done, see SLUICE_LEDGER",
        )
    if found != (newest := _newest()):
        raise ConfigError(
            f"the ledger has schema {found}, and this Sluice reads {newest}",
            remedy="the next deploy or sweep brings an older one to it; all run the same version of Sluice",
        )


def _migrate(engine: Engine, lock: Path | None) -> None:
    # Alembic takes a third of a second to import: not for a ledger that is as it should be.
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
                remedy="run the Sluice that made it, or a newer one",
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
