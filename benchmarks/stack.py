"""Kafka and Flink for a benchmark."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sluice.local.stack import Stack
from tests.support.stacks import local_stack


@contextmanager
def measuring_stack() -> Iterator[tuple[Stack, Path]]:
    """A local stack without Airflow, with the JVMs' default options, and a temporary directory."""
    with tempfile.TemporaryDirectory() as directory:
        local = local_stack(Path(directory) / "stack", java_options="")
        local.home.mkdir()
        stack = Stack(local)
        try:
            stack.up(with_airflow=False)
            yield stack, Path(directory)
        finally:
            stack.down()
