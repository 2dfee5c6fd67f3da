"""A local stack of its own for tests: free ports, state in a temporary directory."""

import random
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sluice.local.layout import Local
from sluice.local.stack import Stack

ROOT = Path(__file__).resolve().parents[2]


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens at, below those that the system gives to outgoing connections.

    One of those may be somebody's by the time a service binds it, or is started again.
    """
    found: list[int] = []
    while len(found) < count:
        port = random.SystemRandom().randrange(15_000, 32_000)
        with socket.socket() as held, suppress(OSError):
            held.bind(("127.0.0.1", port))
            found += [port] if port not in found else []
    return found


FLINK_OPTIONS = {
    # A TaskManager learns from a heartbeat that its JobManager was killed: after 50 s by default.
    "heartbeat.interval": 1_000,
    # Longer than a test stops the TaskManager for.
    "heartbeat.timeout": 15_000,
    # How soon it registers with the next one: after 10 s by default.
    "cluster.registration.error-delay": 1_000,
    "cluster.registration.max-timeout": 2_000,
    # How soon a task that doesn't end when it is cancelled is interrupted again: after 30 s by default.
    "task.cancellation.interval": 2_000,
    # How long metrics stay stale after a TaskManager was killed: ten minutes by default.
    "web.timeout": 20_000,
    # A checkpoint a second: one that a test reads is still there when it is read, on a busy machine too.
    "execution.checkpointing.num-retained": 20,
}
"""Flink's configuration in tests: the time limits that they wait for, shortened."""


def local_stack(home: Path, root: Path = ROOT, **more: Any) -> Local:
    kafka, controller, flink, rpc, airflow = free_ports(5)
    return Local(
        root=root,
        home=home,
        jars=ROOT / ".sluice" / "jars",
        kafka_port=kafka,
        kafka_controller_port=controller,
        flink_port=flink,
        flink_rpc_port=rpc,
        airflow_port=airflow,
        flink_options=FLINK_OPTIONS,
        **more,
    )


@contextmanager
def running(local: Local) -> Iterator[Local]:
    """Run the stack's Kafka and Flink in the block."""
    stack = Stack(local)
    try:
        stack.up(with_airflow=False)
        yield local
    finally:
        stack.down()


def stack_on_a_copy(root: Path, **more: Any) -> Local:
    """A stack below a new directory, on a copy of the project's DAGs, jobs and deployment files."""
    for directory in ("dags", "deployments", "flink_jobs"):
        shutil.copytree(ROOT / directory, root / directory, ignore=shutil.ignore_patterns("__pycache__"))
    return local_stack(root / ".sluice", root, **more)


def variables_for(local: Local) -> dict[str, str]:
    """What whoever works on a stack has in its environment: its ports for the deployment file; sweeps only by hand."""
    cache = ROOT / ".sluice" / "client"
    return local.variables | {"SLUICE_SWEEP_SCHEDULE": "none", "SLUICE_CLIENT_CACHE": str(cache)}
