"""The client's JVM: its options, its class path, and the way without them."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from pathlib import Path

from sluice.client import class_path, gateway

_MAPPED = "-Xshare:auto -XX:+VerifySharedSpaces -XX:SharedArchiveFile="
"""Checked while it is mapped: the JVM does without an archive that doesn't fit or is damaged."""


def set_environment() -> None:
    """Tell PyFlink, before it is imported, what it would guess wrong."""
    # Python workers are the cluster's: otherwise they would be told to call back here, where nobody is any more.
    os.environ["_python_worker_execution_mode"] = "process"  # noqa: SIM112 - its name
    # The wheel's distribution: without FLINK_HOME, PyFlink replaces FLINK_LIB_DIR by its own directory.
    spec = importlib.util.find_spec("pyflink")
    if spec is not None and spec.origin is not None:
        os.environ.setdefault("FLINK_HOME", str(Path(spec.origin).parent))


def start() -> None:
    """Start PyFlink's JVM, from the class path of our own where there is one.

    Whatever is wrong with that costs the time that it would have saved, nothing else.

    Raises:
        ConfigError: the class path has no gateway of this Sluice.
        Exception: the JVM can't be started with Flink's class path either.
    """
    # Here, since it takes a moment and needs what was set above.
    java_gateway = importlib.import_module("pyflink.java_gateway")
    # Left to itself, PyFlink starts a gateway that takes commands from every local process.
    java_gateway.launch_gateway = gateway.launch  # type: ignore[attr-defined]
    get_gateway = java_gateway.get_gateway
    own = _own_variables()
    if own:
        usual = {name: os.environ.get(name) for name in own}
        os.environ.update(own)
        try:
            get_gateway()
        except Exception as error:  # noqa: BLE001 - it is told, and the usual way follows
            print(f"the JVM does not start from {own['FLINK_LIB_DIR']}: {error}", file=sys.stderr)
            for name, value in usual.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})
        else:
            return
    get_gateway()


def _own_variables() -> dict[str, str]:
    """The variables that lead PyFlink to the class path of our own; none where there is none."""
    cache = os.environ.get(class_path.CACHE)
    if not cache:
        return {}
    try:
        own, _ = class_path.of_this_process(Path(cache))
        if not own.lib.is_dir():
            return {}
        own.touch()
        archive = own.archive
    except OSError as error:
        print(f"no class path of our own: {error}", file=sys.stderr)
        return {}
    mapped = f"{_MAPPED}{archive}" if archive else ""
    return {"FLINK_LIB_DIR": str(own.lib), "JVM_ARGS": f"{os.environ.get('JVM_ARGS', '')} {mapped}".strip()}
