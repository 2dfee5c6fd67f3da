"""Starting a client process for a job. Light to import: it can be on its way while the rest is still loaded."""

from __future__ import annotations

from collections.abc import Callable

from sluice.client.process import ClientProcess
from sluice.project import Project


def start_client(project: Project, job: str, tell: Callable[[str], None]) -> ClientProcess:
    """A client process that gets ready while it waits for its order; closing it ends it. `tell` takes its progress."""
    lib = project.flink_lib
    return ClientProcess(
        project.settings.client_python,
        project.settings.logs / "client" / f"{job}.log",
        variables={"FLINK_LIB_DIR": str(lib)} if lib else {},
        on_progress=lambda step: tell(f"{step.step}: {step.seconds:.1f} s"),
    )
