"""Client processes whose JVM is started once: each build is made by a fork of a process that has PyFlink loaded.

A build costs a second instead of six. What one build leaves behind doesn't reach the next: its Python process is its
own, and the planner's counters, which number nodes and generated names per JVM, begin anew. Builds of one JVM go one
after the other. tests/integration/test_shared_client.py proves that the graphs equal those of a client of its own.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import importlib
import json
import os
import queue
import secrets
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sluice.client import __main__ as client
from sluice.client import gateway, jvm
from sluice.client.environment import client_environment
from sluice.client.process import JVM_ARGS
from sluice.client.protocol import Progress
from sluice.local.service import Service
from tests.support.lent_client import COUNTS
from tests.support.stacks import ROOT
from tests.support.waiting import wait_for

_BUILDS = 25
"""After as many a JVM is replaced: it keeps the graphs that its clients have built."""


def write_interpreter(directory: Path, server: Mapping[str, str]) -> None:
    """Write the interpreter, which borrows its clients from the server in the directory.

    It is in an environment with the packages of this one: Sluice finds PyFlink's jars by that.

    Args:
        directory: The server's; its path must be short, since a socket's may have about a hundred characters.
        server: The server's environment.
    """
    given = {
        "socket": str(directory / "socket"),
        "python": sys.executable,
        "variables": {name: value for name, value in server.items() if name.startswith(COUNTS)},
        "own": str(own_clients(directory)),
    }
    own_clients(directory).mkdir()
    file, stub = directory / "given.json", ROOT / "tests" / "support" / "lent_client.py"
    file.write_text(json.dumps(given))
    write_environment(interpreter(directory).parent.parent, f'exec "{sys.executable}" -S -E "{stub}" "{file}" "$@"')


def write_environment(directory: Path, command: str) -> Path:
    """Write a Python environment with the packages of this one, whose interpreter is a shell's command; its path."""
    python = directory / "bin" / "python"
    python.parent.mkdir(parents=True)
    (directory / "lib").symlink_to(Path(sys.prefix) / "lib")
    python.write_text(f"#!/bin/sh\n{command}\n")
    python.chmod(0o755)
    return python


def interpreter(directory: Path) -> Path:
    """The interpreter that borrows its clients from the server in the directory."""
    return directory / "environment" / "bin" / "python"


def own_clients(directory: Path) -> Path:
    """While this directory has a file, each client starts a JVM of its own."""
    return directory / "own-clients"


def client_service(directory: Path, flink_lib: Path) -> Service:
    """The server as a service of a stack; supervisord keeps its standard input open."""
    variables = {name: value for name, value in server_environment(flink_lib).items() if name.startswith(COUNTS)}
    return Service(
        name="shared-client",
        command=(sys.executable, "-m", "tests.support.shared_client", str(directory)),
        is_ready=(directory / "socket").exists,
        variables={"PYTHONPATH": str(ROOT), **variables},
    )


def server_environment(flink_lib: Path) -> dict[str, str]:
    """The server's environment variables."""
    return {
        "JVM_ARGS": JVM_ARGS,
        **client_environment(os.environ),
        "SLUICE_CLIENT_CACHE": str(ROOT / ".sluice" / "client"),
        "FLINK_LIB_DIR": str(flink_lib),
    }


class SharedClient:
    """A server of client processes, as a context.

    Args:
        flink_lib: The jars.
        variables: More of its environment; only clients with the same login borrow its JVM.

    Attributes:
        python: To be set as the client's interpreter.
    """

    def __init__(self, flink_lib: Path, variables: Mapping[str, str] | None = None) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="sluice-shared-"))
        self.python = interpreter(self._directory)
        self._variables = {**server_environment(flink_lib), **(variables or {})}
        write_interpreter(self._directory, self._variables)

    def __enter__(self) -> SharedClient:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.shared_client", str(self._directory)],
                cwd=ROOT,
                env=self._variables,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_for((self._directory / "socket").exists, lost=self._lost, pause=0.05)
        return self

    def __exit__(self, *_: object) -> None:
        # Its session is its own, its JVMs' and its clients'.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()
        shutil.rmtree(self._directory)

    @property
    def _log(self) -> Path:
        return self._directory / "log"

    def _lost(self) -> str | None:
        return None if self._process.poll() is None else self._log.read_text()[-2000:]


class _Jvm:
    """A JVM and how many builds it has served."""

    def __init__(self) -> None:
        self.token = secrets.token_urlsafe(32)
        self.port = gateway._start(self.token)
        self.process = gateway._started.pop()
        # Whoever leaves a pipe unread has its writer wait.
        subprocess.Popen(["cat"], stdin=self.process.stderr)
        self.builds = 0
        self.children: set[int] = set()

    def connect(self) -> Any:
        """In the place of `pyflink.java_gateway.launch_gateway`."""
        from py4j.java_gateway import CallbackServerParameters, GatewayParameters, JavaGateway

        address = "127.0.0.1"
        return JavaGateway(
            gateway_parameters=GatewayParameters(
                address=address, port=self.port, auto_convert=True, auth_token=self.token
            ),
            callback_server_parameters=CallbackServerParameters(
                address=address, port=0, daemonize=True, daemonize_connections=True, auth_token=self.token
            ),
        )


class _Session(client._Session):
    """One client's, which has the JVM to itself while it builds."""

    def __init__(self, answers: Any, lock: Path) -> None:
        super().__init__(answers)
        self._lock = lock
        self._busy = lock.with_name(f"busy-{os.getpid()}")

    def _prepare(self, order: Any) -> Any:
        with self._alone():
            return super()._prepare(order)

    def _load(self, order: Any) -> Any:
        with self._alone():
            return super()._load(order)

    def _read_checkpoint(self, command: Any) -> None:
        with self._alone():
            super()._read_checkpoint(command)

    def _send(self, answer: Any) -> None:
        if not isinstance(answer, Progress):
            # Before it is sent: the parent may end this process at once.
            self._busy.unlink(missing_ok=True)
        super()._send(answer)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        from pyflink.java_gateway import get_gateway

        with self._lock.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            java = get_gateway()
            # Another client has had its own called back since.
            server = java.get_callback_server()
            java.jvm.org.apache.flink.client.python.PythonEnvUtils.resetCallbackClient(
                java.java_gateway_server, server.get_listening_address(), server.get_listening_port()
            )
            # Java forgets proxies of earlier clients by their ids, which must not be those of this client's.
            java.gateway_property.pool.next_id = os.getpid() * 1_000
            _count_anew(java.jvm)
            self._busy.touch()
            yield


def _count_anew(view: Any) -> None:
    """Reset what the planner counts per JVM: ids of nodes and transformations, and names in generated code."""
    from pyflink.util.java_utils import get_field

    view.org.apache.flink.table.planner.plan.nodes.exec.ExecNodeContext.resetIdCounter()
    handles, types = view.java.lang.invoke.MethodHandles, view.java.lang.invoke.MethodType
    for name, field in (
        ("org.apache.flink.api.dag.Transformation", "ID_COUNTER"),
        ("org.apache.flink.table.planner.codegen.CodeGenUtils$", "nameCounter"),
        ("org.apache.flink.table.codesplit.CodeSplitUtil", "COUNTER"),
        ("org.apache.flink.table.catalog.ContextResolvedTable", "uniqueId"),
        ("org.apache.flink.table.data.conversion.StructuredObjectConverter", "nextUniqueClassId"),
    ):
        owner = view.java.lang.Class.forName(name)
        counter = get_field(owner, field)
        # Within the JVM: Py4J hands an atomic number over as its value.
        lookup = handles.publicLookup()
        number = counter.getType().getMethod("incrementAndGet", None).getReturnType()
        setter = lookup.findVirtual(counter.getType(), "set", types.methodType(view.java.lang.Void.TYPE, number))
        read = lookup.unreflectGetter(counter)
        if name.endswith("$"):
            read = read.bindTo(get_field(owner, "MODULE$").get(None))
        handles.collectArguments(setter, 0, read).invokeWithArguments([0])


def serve(directory: Path) -> None:
    """Fork a client for each connection, until standard input closes."""
    jvm.set_environment()
    os.environ.update(jvm._own_variables())
    for name in ("graph", "effects", "pipeline", "checkpoint", "failure"):
        importlib.import_module(f"sluice.client.{name}")
    gc.collect()
    gc.freeze()
    current, every = _Jvm(), list[_Jvm]()
    every.append(current)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(directory / "new"))
    listener.listen()
    (directory / "new").rename(directory / "socket")
    while True:
        readable, _, _ = select.select([0, listener], [], [], 1.0)
        current = _reap(directory, every, current)
        if 0 in readable and not os.read(0, 1):
            return
        if listener in readable:
            connection, _ = listener.accept()
            current.builds += 1
            if (pid := os.fork()) == 0:
                listener.close()
                _become_client(connection, current, directory / f"lock-{current.port}")
            current.children.add(pid)
            connection.close()


def _reap(directory: Path, every: list[_Jvm], current: _Jvm) -> _Jvm:
    """Take note of forks that have ended; the JVM for the next one."""
    for java in every:
        for pid in [pid for pid in java.children if os.waitpid(pid, os.WNOHANG)[0]]:
            java.children.discard(pid)
            # Ended in the middle of a build, with which its JVM may still go on.
            if (directory / f"busy-{pid}").exists():
                java.builds = _BUILDS
    if current.builds >= _BUILDS:
        current = _Jvm()
        every.append(current)
    for java in [java for java in every if java is not current and not java.children]:
        java.process.kill()
        java.process.wait()
        every.remove(java)
    return current


def _become_client(connection: socket.socket, java: _Jvm, lock: Path) -> None:
    """Be the client of the process at the other end; never returns."""
    status = 1
    try:
        size, descriptors, _, _ = socket.recv_fds(connection, 4, 3)
        words = b""
        while len(words) < int.from_bytes(size, "big"):
            words += connection.recv(65_536)
        for target, descriptor in enumerate(descriptors):
            os.dup2(descriptor, target)
            os.close(descriptor)
        os.environ.clear()
        os.environ.update(json.loads(words))
        # The server has remembered its own.
        tempfile.tempdir = None
        jvm.set_environment()
        importlib.import_module("pyflink.java_gateway").launch_gateway = java.connect  # type: ignore[attr-defined]
        answers = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
        os.dup2(2, 1)
        commands: queue.Queue[str] = queue.Queue()
        threading.Thread(target=client._read_orders, args=(commands,), daemon=True).start()
        threading.Thread(target=_end_with, args=(connection,), daemon=True).start()
        status = _Session(answers, lock).run(commands)
    finally:
        with contextlib.suppress(OSError):
            connection.send(bytes([status]))
        os._exit(status)


def _end_with(connection: socket.socket) -> None:
    """The process for which this one works was killed."""
    if not connection.recv(1):
        os._exit(client.ORPHANED)


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
