"""The ledger's own tests once more, on a real PostgreSQL."""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Pool, create_engine, event, text

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


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The directory of the server's socket."""
    with postgres("sluice") as directory:
        yield directory


@pytest.fixture
def url(server: str) -> Iterator[str]:
    """A database of each test's own."""
    name = f"ledger_{next(_NUMBERS)}"
    engine = create_engine(f"postgresql+psycopg://sluice@/postgres?host={server}", isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    opened = []

    def remember(connection: Any, _record: Any) -> None:
        opened.append(connection)

    event.listen(Pool, "connect", remember)
    yield f"postgresql+psycopg://sluice@/{name}?host={server}"
    event.remove(Pool, "connect", remember)
    # A ledger keeps its connections as long as it lives; the driver warns of those that nobody closes.
    for connection in opened:
        connection.close()


@pytest.fixture
def absent_url(url: str) -> str:
    """A database without tables."""
    return url
