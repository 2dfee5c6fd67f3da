"""A project whose cluster and client are simulated."""

import pytest

from tests.support.simulated import Simulated


@pytest.fixture
def simulated(tmp_path, monkeypatch):
    return Simulated(tmp_path, monkeypatch)
