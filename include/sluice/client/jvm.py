"""Start the client's JVM: from the fast class path if there is one, otherwise from Flink's own."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path

from sluice.client import class_path, gateway

FindClassPath = Callable[[Path], tuple[class_path.ClassPath, object]]


def set_environment() -> None:
    """Set environment variables that PyFlink reads when it is imported, where its defaults are wrong here."""
    # Run Python workers as processes of the cluster: otherwise they would connect to this process, which ends.
    os.environ["_python_worker_execution_mode"] = "process"  # noqa: SIM112 - its name
    # Without FLINK_HOME, PyFlink replaces FLINK_LIB_DIR by the lib directory of its wheel.
    spec = importlib.util.find_spec("pyflink")
    if spec is not None and spec.origin is not None:
        os.environ.setdefault("FLINK_HOME", str(Path(spec.origin).parent))


def start(find: FindClassPath = class_path.of_this_process) -> None:
    """Start PyFlink's JVM, from the fast class path if it exists; if that fails, from Flink's own.

    Args:
        find: Finds the fast class path in a cache directory.

    Raises:
        ConfigError: the class path lacks the gateway class of this version of Sluice.
        Exception: the JVM can't be started with Flink's class path either.
    """
    # Imported here, after `set_environment`, and because the import takes time.
    java_gateway = importlib.import_module("pyflink.java_gateway")
    # PyFlink's own gateway accepts commands from every process on the machine.
    java_gateway.launch_gateway = gateway.launch  # type: ignore[attr-defined]
    get_gateway = java_gateway.get_gateway
    own = _own_variables(find)
    if own:
        usual = {name: os.environ.get(name) for name in own}
        os.environ.update(own)
        try:
            get_gateway()
        except Exception as error:  # noqa: BLE001 - logged; Flink's own class path follows
            print(f"the JVM does not start from {own['FLINK_LIB_DIR']}: {error}", file=sys.stderr)
            for name, value in usual.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})
        else:
            return
    get_gateway()


def _own_variables(find: FindClassPath = class_path.of_this_process) -> dict[str, str]:
    """The environment variables that make PyFlink use the fast class path; empty if there is none."""
    cache = os.environ.get(class_path.CACHE)
    if not cache:
        return {}
    try:
        own, _ = find(Path(cache))
        if not own.lib.is_dir():
            return {}
        own.touch()
        archive = own.archive
    except OSError as error:
        print(f"the fast class path can't be used: {error}", file=sys.stderr)
        return {}
    mapped = class_path.mapped(archive) if archive else []
    return {"FLINK_LIB_DIR": str(own.lib), "JVM_ARGS": " ".join([os.environ.get("JVM_ARGS", ""), *mapped]).strip()}
