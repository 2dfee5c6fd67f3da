"""The ledger's own tests once more, on a real PostgreSQL."""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Pool, create_engine, event, text

from sluice.ledger.database import open_database
from tests.support.postgres import needs_server, postgres
from tests.unit.fleet.page.test_fleet import *  # noqa: F403 - the tests, with another `url`
from tests.unit.fleet.page.test_job import *  # noqa: F403
from tests.unit.ledger.test_approvals import *  # noqa: F403
from tests.unit.ledger.test_ledger import *  # noqa: F403
from tests.unit.ledger.test_notification_log import *  # noqa: F403
from tests.unit.ledger.test_samples import *  # noqa: F403
from tests.unit.replay.test_chunk_scheduling import *  # noqa: F403
from tests.unit.replay.test_outputs import *  # noqa: F403

pytestmark = needs_server
_NUMBERS = itertools.count()
_EMPTY = ("test_reader_neither_creates_nor_migrates_a_ledger",)
"""Tests whose database has no schema yet."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The directory of the socket of a server whose database `migrated` has the ledger's schema."""
    with postgres("sluice") as directory:
        _create(directory, "migrated", "template1")
        open_database(_url(directory, "migrated")).dispose()
        yield directory


@pytest.fixture
def url(server: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """A database of each test's own: a copy of one with the schema, since a migration takes half a second."""
    name = f"ledger_{next(_NUMBERS)}"
    _create(server, name, "template1" if request.node.originalname in _EMPTY else "migrated")
    opened = []

    def remember(connection: Any, _record: Any) -> None:
        opened.append(connection)

    event.listen(Pool, "connect", remember)
    yield _url(server, name)
    event.remove(Pool, "connect", remember)
    # A ledger keeps its connections as long as it lives; the driver warns of those that nobody closes.
    for connection in opened:
        connection.close()


@pytest.fixture
def absent_url(url: str) -> str:
    """A database without tables."""
    return url


def _create(server: str, name: str, template: str) -> None:
    engine = create_engine(_url(server, "postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template}"))
    engine.dispose()


def _url(server: str, name: str) -> str:
    return f"postgresql+psycopg://sluice@/{name}?host={server}"
