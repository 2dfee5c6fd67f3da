"""One Kafka and one Flink for the whole run."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sluice.local.layout import Local
from tests.support.lab import Lab
from tests.support.shared_client import SharedClient
from tests.support.stacks import local_stack, running


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    with running(local_stack(tmp_path_factory.mktemp("stack"))) as local:
        yield local


@pytest.fixture(scope="session")
def shared_client(local: Local) -> Iterator[SharedClient]:
    with SharedClient(local.home / "flink" / "lib") as shared:
        yield shared


@pytest.fixture
def lab(local: Local, shared_client: SharedClient, tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(local, tmp_path, "test", shared_client.python)
    yield lab
    lab.cancel_all()
    lab.mend()


@pytest.fixture(scope="session")
def written() -> set[str]:
    """The topics that tests have filled for all that come after them."""
    return set()
