"""Fixtures: a simulated project, and the URL of a test's ledger."""

import pytest

from tests.simulator.simulated import Simulated


@pytest.fixture
def simulated(tmp_path):
    return Simulated(tmp_path)


@pytest.fixture
def url(tmp_path):
    """The URL of a ledger in SQLite; the tests on PostgreSQL replace this fixture."""
    return f"sqlite:///{tmp_path / 'ledger.db'}"
