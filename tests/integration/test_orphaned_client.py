"""A client process and its JVM end if their parent is killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from sluice.client.process import ClientProcess
from sluice.local.flink import gather_jars
from tests.support.stacks import local_stack
from tests.support.waiting import wait_for

PARENT = """
import os, sys, time
from pathlib import Path
from sluice.client import submitter
from sluice.client.process import JVM_ARGS, ClientProcess
command = submitter.find(Path(sys.executable), None, os.environ).command(JVM_ARGS) if sys.argv[2:] else None
client = ClientProcess(Path(sys.executable), Path(sys.argv[1]), command=command)
if command:
    client.find(str(Path(sys.argv[1]).parent))
print(client.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def variables(tmp_path: Path) -> dict[str, str]:
    # The gateway is in Sluice's jar, which Flink's own lib directory doesn't have.
    return {**os.environ, "FLINK_LIB_DIR": str(gather_jars(local_stack(tmp_path / "home")))}


def test_client_and_its_jvm_end_soon_after_their_parent_was_killed(tmp_path: Path, variables: dict[str, str]) -> None:
    command = [sys.executable, "-c", PARENT, str(tmp_path / "client.log")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=variables) as parent:
        try:
            assert parent.stdout is not None
            client = psutil.Process(int(parent.stdout.readline()))
            jvm = wait_for(lambda: java_below(client), message="no JVM was started")
            # One that is still starting sees the end of its input only once it reads it.
            wait_for(lambda: listens(jvm), message="the JVM does not come to serve")
            assert is_there(client)
        finally:
            os.kill(parent.pid, signal.SIGKILL)
    wait_for(lambda: not is_there(client), message="the client lives on")
    wait_for(lambda: not is_there(jvm), message="the JVM lives on")


def test_jvm_ends_if_its_client_is_closed_while_it_starts(tmp_path: Path, variables: dict[str, str]) -> None:
    with ClientProcess(Path(sys.executable), tmp_path / "client.log", variables=variables) as process:
        client = psutil.Process(process.pid)
        jvm = wait_for(lambda: java_below(client), message="no JVM was started", pause=0.01)
    wait_for(lambda: not is_there(jvm), message="the JVM lives on")


def test_submitter_ends_soon_after_its_parent_was_killed(tmp_path: Path, variables: dict[str, str]) -> None:
    command = [sys.executable, "-c", PARENT, str(tmp_path / "client.log"), "submitter"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=variables) as parent:
        try:
            assert parent.stdout is not None
            jvm = psutil.Process(int(parent.stdout.readline()))
            assert jvm.name() == "java"
        finally:
            os.kill(parent.pid, signal.SIGKILL)
    wait_for(lambda: not is_there(jvm), message="the JVM lives on")


def java_below(process: psutil.Process) -> psutil.Process | None:
    return next((child for child in process.children(recursive=True) if child.name() == "java"), None)


def listens(process: psutil.Process) -> bool:
    return any(connection.status == psutil.CONN_LISTEN for connection in process.net_connections("tcp"))


def is_there(process: psutil.Process) -> bool:
    """Zombies, which wait for a parent that may never ask, are not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
