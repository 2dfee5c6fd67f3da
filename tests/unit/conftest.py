"""A project whose cluster and client are simulated, and where a ledger of a test's own lies."""

import pytest

from tests.support.simulated import Simulated


@pytest.fixture
def simulated(tmp_path, monkeypatch):
    return Simulated(tmp_path, monkeypatch)


@pytest.fixture
def url(tmp_path):
    """Of a ledger; the same tests have another one where they are run on a server."""
    return f"sqlite:///{tmp_path / 'ledger.db'}"
