"""A local stack of its own for tests: free ports, state in a temporary directory."""

import shutil
import socket
from pathlib import Path
from typing import Any

from sluice.local.layout import Local

ROOT = Path(__file__).resolve().parents[2]


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for held in sockets:
            held.bind(("127.0.0.1", 0))
        return [held.getsockname()[1] for held in sockets]
    finally:
        for held in sockets:
            held.close()


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
        **more,
    )


def stack_on_a_copy(root: Path, **more: Any) -> Local:
    """A stack below a new directory, on a copy of the project's DAGs, jobs and deployment files."""
    for directory in ("dags", "deployments", "flink_jobs"):
        shutil.copytree(ROOT / directory, root / directory, ignore=shutil.ignore_patterns("__pycache__"))
    return local_stack(root / ".sluice", root, **more)


def variables_for(local: Local) -> dict[str, str]:
    """What whoever works on a stack has in its environment: its ports for the deployment file; sweeps only by hand."""
    cache = ROOT / ".sluice" / "client"
    return local.variables | {"SLUICE_SWEEP_SCHEDULE": "none", "SLUICE_CLIENT_CACHE": str(cache)}
