"""Deploying in a test as the shell does: a whole operation."""

import socket
import subprocess
import time
from typing import Any

import pytest

from sluice.errors import SluiceError
from sluice.flink import calls
from sluice.flink.client import FlinkClient
from sluice.operation.run import Result, run_operation
from sluice.plan.request import DeployRequest
from sluice.project import Project


def operate(project: Project, job: str, holder: str = "test", *, approved: bool = False, **request: Any) -> Result:
    """An operation, whatever its outcome."""
    return run_operation(project, job, DeployRequest(**request, allow_state_loss=approved), holder, print)


def deploy(project: Project, job: str, holder: str = "test", **request: Any) -> Result:
    """An operation that must end well; raises what it ended with otherwise."""
    result = operate(project, job, holder, **request)
    if result.error:
        raise result.error
    return result


def holder_that_is_gone():
    """A shell that has ended."""
    ended = subprocess.Popen(["true"])
    ended.wait()
    return f"shell:test@{socket.gethostname()}:{ended.pid}"


def die_once_submitted(project: Project, job: str, *, after: float = 0, approved: bool = False, **request: Any) -> None:
    """An operation that ends, as by SIGKILL, some seconds after it has started the job."""

    def dies(line):
        if line.startswith("submitted as"):
            time.sleep(after)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_operation(project, job, DeployRequest(**request, allow_state_loss=approved), holder_that_is_gone(), dies)


def slots(url):
    """The task slots of a cluster; 0 while it doesn't answer."""
    try:
        with FlinkClient(url) as flink:
            return flink.send(calls.overview()).slots_total
    except SluiceError:
        return 0
