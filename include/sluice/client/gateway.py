"""The client's JVM behind a gateway that takes commands from the client alone: Py4J with a token, both ways.

The token is made here and goes to the JVM by its standard input; no command line, file or variable holds it.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from sluice.errors import ConfigError, OperationError

_MAIN = "sluice.client.Gateway"
_ADDRESS = "127.0.0.1"
_TIMEOUT = 120.0
"""Seconds within which the JVM must serve."""
_PAUSE = 0.01

_started: list[subprocess.Popen[bytes]] = []
"""Keeps the JVM's standard input open: it ends when that closes."""


def launch() -> Any:
    """Start the JVM and connect to it: in the place of `pyflink.java_gateway.launch_gateway`.

    Raises:
        ConfigError: the class path has no gateway of this Sluice.
        OperationError: the JVM ended, or doesn't serve in time.
    """
    from py4j.java_gateway import (  # noqa: PLC0415 - the client's side only
        CallbackServerParameters,
        GatewayParameters,
        JavaGateway,
    )

    token = secrets.token_urlsafe(32)
    return JavaGateway(
        gateway_parameters=GatewayParameters(address=_ADDRESS, port=_start(token), auto_convert=True, auth_token=token),
        callback_server_parameters=CallbackServerParameters(
            address=_ADDRESS, port=0, daemonize=True, daemonize_connections=True, auth_token=token
        ),
    )


def _start(token: str) -> int:
    """Start the JVM; the port of 127.0.0.1 on which it serves."""
    from pyflink.pyflink_gateway_server import launch_gateway_server_process  # noqa: PLC0415

    # Its directory is its owner's alone, so nobody else can write a port into it.
    with tempfile.TemporaryDirectory(prefix="sluice-client-") as directory:
        file = Path(directory) / "port"
        process = launch_gateway_server_process(dict(os.environ), ["-c", _MAIN, "local", str(file)])
        process.stdin.write(f"{token}\n".encode())
        process.stdin.flush()
        deadline = time.monotonic() + _TIMEOUT
        while not file.is_file():
            if process.poll() is not None:
                raise _failed(process)
            if time.monotonic() > deadline:
                process.kill()
                raise OperationError(f"the client's JVM doesn't serve within {_TIMEOUT:.0f} s")
            time.sleep(_PAUSE)
        _started.append(process)
        return int(file.read_text(encoding="ascii"))


def _failed(process: subprocess.Popen[bytes]) -> ConfigError | OperationError:
    words = process.stderr.read().decode(errors="replace").strip() if process.stderr else ""
    if _MAIN in words and "ClassNotFoundException" in words:
        lib = os.environ.get("FLINK_LIB_DIR", "Flink's lib directory")
        return ConfigError(
            f"{lib} has no flink-strict-json jar of this Sluice: it lacks {_MAIN}",
            remedy="run make client, or take the jar from .sluice/jars/flink/ after make jars",
        )
    first = words.partition("\n")[0]
    return OperationError(f"the client's JVM ended with status {process.returncode}: {first or 'it wrote nothing'}")
