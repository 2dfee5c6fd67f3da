"""Supervision of the local stack by supervisord, which restarts and ends the services."""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import os
import subprocess
import sys
import tempfile
import time
import xmlrpc.client
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from supervisor.xmlrpc import SupervisorTransport

from sluice.errors import OperationError
from sluice.local.service import Service
from sluice.local.survivors import end_survivors, marks, survivors

_RPC = "supervisor.rpcinterface:make_main_rpcinterface"
STARTED = ("RUNNING", "STARTING", "BACKOFF")
"""The states of a service that needs no start; in BACKOFF it has exited and is about to be restarted."""
_UNIX_PATH_LIMIT = 100
"""Characters; the kernel's own limit on a socket's path is 108."""


class Supervisor:
    """The supervisord of one stack.

    Args:
        home: The directory of the stack's state.
        logs: The directory of the services' logs.
    """

    def __init__(self, home: Path, logs: Path) -> None:
        self._home = home
        self._logs = logs
        self._configuration = home / "supervisord.conf"
        socket = home / "supervisor.sock"
        if len(str(socket)) > _UNIX_PATH_LIMIT:
            name = hashlib.sha256(str(home).encode()).hexdigest()[:16]
            socket = Path(tempfile.gettempdir()) / f"sluice-{name}.sock"
        self._socket = socket

    @property
    def is_running(self) -> bool:
        """Whether supervisord answers."""
        try:
            return bool(self._call("supervisor.getState")["statecode"] == 1)
        except OSError:
            return False

    def ensure(self, services: Iterable[Service]) -> None:
        """Run supervisord with these services configured; starts none of them, and stops changed ones."""
        self._logs.mkdir(parents=True, exist_ok=True)
        # The file has Airflow's keys.
        self._configuration.touch(mode=0o600)
        self._configuration.write_text(self._text(services), encoding="utf-8")
        if self.is_running:
            added, changed, removed = self._call("supervisor.reloadConfig")[0]
            for name in [*changed, *removed]:
                self._call("supervisor.stopProcessGroup", name)
                self._call("supervisor.removeProcessGroup", name)
            for name in [*added, *changed]:
                self._call("supervisor.addProcessGroup", name)
            return
        command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(self._configuration)]
        # The services inherit the marks.
        variables = {**os.environ, **marks(self._home)}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=variables)
        deadline = time.monotonic() + 15
        while not self.is_running:
            if done.returncode or time.monotonic() > deadline:
                raise OperationError(f"supervisord does not start: {done.stderr.strip() or done.stdout.strip()}")
            time.sleep(0.1)

    def start(self, name: str) -> bool:
        """Start a service; False: it runs already."""
        if self.state(name) in STARTED:
            return False
        self._call("supervisor.startProcess", name, False)  # noqa: FBT003 - XML-RPC
        return True

    def stop(self, name: str) -> None:
        """Stop a service and wait for it."""
        with contextlib.suppress(xmlrpc.client.Fault):  # it isn't running
            self._call("supervisor.stopProcess", name)

    def state(self, name: str) -> str:
        """RUNNING, STARTING, BACKOFF, STOPPED, EXITED or FATAL."""
        return str(self._call("supervisor.getProcessInfo", name)["statename"])

    def states(self) -> dict[str, dict[str, Any]]:
        """The state and process id of each service; empty if supervisord doesn't run."""
        if not self.is_running:
            return {}
        return {info["name"]: info for info in self._call("supervisor.getAllProcessInfo")}

    def shutdown(self) -> int:
        """Stop every service and supervisord itself, and end other processes of this stack.

        Returns:
            How many other processes there were: those of a killed supervisord, or that it did not end.

        Raises:
            OperationError: a process can't be ended; with its name.
        """
        if self.is_running:
            self._call("supervisor.stopAllProcesses")
            self._call("supervisor.shutdown")
            deadline = time.monotonic() + 60
            while survivors(self._home) and time.monotonic() < deadline:
                time.sleep(0.1)
        return end_survivors(self._home)

    def end_survivors(self) -> int:
        """End the processes of a killed supervisord, and return their number; 0 while a supervisord runs.

        Raises:
            OperationError: a process can't be ended; with its name.
        """
        return 0 if self.is_running else end_survivors(self._home)

    def _call(self, method: str, *arguments: Any) -> Any:
        transport = SupervisorTransport(None, None, f"unix://{self._socket}")
        with xmlrpc.client.ServerProxy("http://supervisor", transport=transport) as server:
            return getattr(server, method)(*arguments)

    def _text(self, services: Iterable[Service]) -> str:
        def escaped(text: object) -> str:
            return str(text).replace("%", "%%")

        sections = [
            f"[unix_http_server]\nfile = {escaped(self._socket)}\nchmod = 0600\n",
            f"[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory = {_RPC}\n",
            (
                f"[supervisord]\npidfile = {escaped(self._home / 'supervisord.pid')}\n"
                f"logfile = {escaped(self._logs / 'supervisord.log')}\nchildlogdir = {escaped(self._logs)}\n"
                f"directory = {escaped(self._home)}\nsilent = true\nuser = {getpass.getuser()}\n"
            ),
        ]
        for service in services:
            variables = ",".join(f'{name}="{escaped(_quoted(value))}"' for name, value in service.variables.items())
            command = " ".join(f'"{escaped(part)}"' for part in service.command)
            sections.append(
                f"[program:{service.name}]\ncommand = {command}\n"
                + (f"environment = {variables}\n" if variables else "")
                + f"stdout_logfile = {escaped(self._logs / f'{service.name}.log')}\n"
                "stdout_logfile_maxbytes = 50MB\nstdout_logfile_backups = 2\nredirect_stderr = true\n"
                "autostart = false\nautorestart = true\nstartsecs = 2\nstartretries = 3\n"
                "stopwaitsecs = 20\nstopasgroup = true\nkillasgroup = true\n"
            )
        return "\n".join(sections)


def _quoted(value: str) -> str:
    """A value in the file's syntax.

    Raises:
        OperationError: it has a quotation mark or a line end, for which supervisord has no escape.
    """
    if '"' in value or "\n" in value:
        raise OperationError(f"supervisord's configuration can't hold the value {value!r}")
    return value
