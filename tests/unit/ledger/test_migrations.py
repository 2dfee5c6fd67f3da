"""Migration of a ledger with secrets in clear: none are left."""

from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import JSON, Engine, column, create_engine, event, insert, table

from sluice.deployment.secrets import digest
from sluice.ledger import database
from sluice.ledger.ledger import Ledger

OPTIONS = {"env.java.opts": "-Da=1 " * 3_000, "s3.secret-key": "planted", "s3.access-key": "me"}
HIDDEN = {**OPTIONS, "s3.secret-key": digest("planted")}
CHANGES = [
    {"path": "options.s3.secret-key", "old": None, "new": "planted", "category": "stateless", "why": "w"},
    {"path": "options.s3.access-key", "old": "you", "new": "me", "category": "stateless", "why": "w"},
    {"path": "config.least", "old": 1, "new": 2, "category": "metadata", "why": "w"},
]
PLAN = {"job": "counts", "changes": CHANGES}
MOMENT = "2026-01-31 12:00:00.000000"
ROWS = {
    "releases": {
        "id": 1, "environment": "test", "job": "counts", "number": 1, "fingerprint": "f", "artifact": "a",
        "module": "m", "resolved": {"config": {"least": 1}, "options": OPTIONS}, "created_at": MOMENT, "overrides": {},
    },
    "operations": {
        "id": "o", "environment": "test", "job": "counts", "kind": "deploy", "holder": "h", "token": 1,
        "lease_until": MOMENT, "release": 1, "started_at": MOMENT, "plan": PLAN,
    },
    "approvals": {
        "environment": "test", "job": "counts", "asker": "a", "fingerprint": "f", "plan": PLAN, "why": "w",
        "asked_at": MOMENT, "until": MOMENT,
    },
    "replays": {
        "id": "r", "environment": "test", "job": "counts", "holder": "h", "release": 1, "started_at": MOMENT,
        "plan": {"resolved": {"options": OPTIONS}},
    },
}  # fmt: skip
JSONS = ("resolved", "overrides", "plan")


@pytest.fixture
def url(tmp_path):
    """A ledger of the old schema, with a secret in each column that could contain one."""
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    configuration = Config()
    configuration.set_main_option("script_location", str(Path(database.__file__).parent / "migrations"))
    with create_engine(url).begin() as connection:
        configuration.attributes["connection"] = connection
        command.upgrade(configuration, "0008")
        for name, row in ROWS.items():
            columns = [column(each, JSON if each in JSONS else None) for each in row]
            connection.execute(insert(table(name, *columns)).values(row))
    return url


def test_migration_replaces_secret_options_by_digests(url, tmp_path):
    assert b"planted" in (tmp_path / "ledger.db").read_bytes()
    ledger = Ledger(url, "test")
    assert ledger.release("counts", 1).resolved == {"config": {"least": 1}, "options": HIDDEN}
    hidden = {**CHANGES[0], "new": digest("planted")}
    assert ledger.operation("o").plan == {"job": "counts", "changes": [hidden, *CHANGES[1:]]}
    [asked] = ledger.approvals.of("counts")
    assert asked.plan["changes"] == [hidden, *CHANGES[1:]]
    [replay] = ledger.replays.of("counts")
    assert replay.plan == {"resolved": {"options": HIDDEN}}


@pytest.fixture
def forgetful():
    """SQLite with another compile option: replaced content stays in the file until its page is reused."""

    def connected(connection, _record):
        connection.execute("PRAGMA secure_delete = OFF")

    event.listen(Engine, "connect", connected)
    yield
    event.remove(Engine, "connect", connected)


@pytest.mark.usefixtures("forgetful")
def test_migration_leaves_no_secret_in_the_database_file(url, tmp_path):
    Ledger(url, "test")
    with create_engine(url).connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    assert b"planted" not in b"".join(file.read_bytes() for file in tmp_path.iterdir())
