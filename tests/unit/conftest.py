"""Fixtures: a simulated project, and the URL of a test's ledger."""

import pytest

from tests.simulator.simulated import Simulated
from tests.support.ledgers import new_ledger, skip_syncs

skip_syncs()


@pytest.fixture
def simulated(tmp_path):
    return Simulated(tmp_path)


@pytest.fixture
def url(tmp_path):
    """The URL of a new ledger in SQLite; the tests on PostgreSQL replace this fixture."""
    return new_ledger(tmp_path)


@pytest.fixture
def absent_url(tmp_path):
    """The URL of a ledger that does not exist yet; the tests on PostgreSQL replace this fixture."""
    return f"sqlite:///{tmp_path / 'ledger.db'}"
