"""Start the client's JVM with a Py4J gateway that only the client can use: both directions require a token.

The token is generated here and passed to the JVM by standard input, never in an argument, a file or a variable.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from sluice.client.environment import FILES
from sluice.errors import ConfigError, OperationError

_MAIN = "sluice.client.Gateway"
_NEWEST = "sluice.client.Submission"
"""The class that an earlier version's jar lacks."""
_ADDRESS = "127.0.0.1"
_TIMEOUT = 120.0
"""Seconds within which the JVM's gateway must be ready."""
_PAUSE = 0.01

_started: list[subprocess.Popen[bytes]] = []
"""The started JVMs. The reference keeps their standard input open; a JVM ends when that closes."""


def launch() -> Any:
    """Start the JVM and connect to it; replaces `pyflink.java_gateway.launch_gateway`.

    Raises:
        ConfigError: the class path lacks the gateway class of this version of Sluice.
        OperationError: the JVM ended, or its gateway is not ready in time.
    """
    from py4j.java_gateway import (  # noqa: PLC0415 - only the client has Py4J
        CallbackServerParameters,
        GatewayParameters,
        JavaClass,
        JavaGateway,
    )

    token = secrets.token_urlsafe(32)
    gateway = JavaGateway(
        gateway_parameters=GatewayParameters(address=_ADDRESS, port=_start(token), auto_convert=True, auth_token=token),
        callback_server_parameters=CallbackServerParameters(
            address=_ADDRESS, port=0, daemonize=True, daemonize_connections=True, auth_token=token
        ),
    )
    if not isinstance(gateway.jvm.sluice.client.Submission, JavaClass):
        raise _outdated(_NEWEST)
    return gateway


def _start(token: str) -> int:
    """Start the JVM; returns the port of its gateway on 127.0.0.1."""
    from pyflink.pyflink_gateway_server import launch_gateway_server_process  # noqa: PLC0415

    # Only this user can write to the temporary directory, so that the port is the JVM's.
    with tempfile.TemporaryDirectory(prefix="port-", dir=os.environ.get(FILES)) as directory:
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
                raise OperationError(f"the gateway of the client's JVM is not ready after {_TIMEOUT:.0f} s")
            time.sleep(_PAUSE)
        _started.append(process)
        return int(file.read_text(encoding="ascii"))


def _failed(process: subprocess.Popen[bytes]) -> ConfigError | OperationError:
    words = process.stderr.read().decode(errors="replace").strip() if process.stderr else ""
    if _MAIN in words and "ClassNotFoundException" in words:
        return _outdated(_MAIN)
    first = words.partition("\n")[0]
    return OperationError(f"the client's JVM ended with status {process.returncode}: {first or 'it wrote nothing'}")


def _outdated(name: str) -> ConfigError:
    lib = os.environ.get("FLINK_LIB_DIR", "Flink's lib directory")
    return ConfigError(
        f"{lib} has no flink-strict-json jar of this version of Sluice: class {name} is missing",
        remedy="run make client, or run make jars and copy the jar from .sluice/jars/flink/",
    )
