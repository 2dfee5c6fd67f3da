"""The process in which job files are imported for a trial: says of each file when it begins and how it ends."""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import json
import os
import sys
from pathlib import Path

from sluice.deployment.catalog import describe, use_package
from sluice.settings import JOBS_PACKAGE


def main() -> None:
    """Import the files that the arguments name; see `sluice.deployment.trial`."""
    root, limit, writing, trace = Path(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])
    faulthandler.enable(trace)
    use_package(root / JOBS_PACKAGE)
    for name in sys.argv[6:]:
        _say(writing, {"file": name})
        # Ends the process, also where the interpreter itself is stuck, and says where it was.
        faulthandler.dump_traceback_later(limit, exit=True, file=trace)
        error = _import(root, name)
        faulthandler.cancel_dump_traceback_later()
        _say(writing, {"file": name, "error": error})
    # Threads and exit handlers that a file has left behind are none of the trial's affair.
    os._exit(0)


def _import(root: Path, name: str) -> str | None:
    directory, path = _directory(), list(sys.path)
    try:
        importlib.import_module(f"{JOBS_PACKAGE}.{name}")
    except Exception:  # noqa: BLE001 - an import that fails ends; whoever reads the catalog sees why
        return None
    except BaseException as error:  # noqa: BLE001 - what would end the process that reads the catalog
        return describe(error, root / JOBS_PACKAGE / f"{name}.py")
    finally:
        # It may have been removed, or this user may not enter it.
        with contextlib.suppress(OSError):
            os.chdir(directory)
        sys.path[:] = path
    return None


def _directory() -> str:
    try:
        return str(Path.cwd())
    except OSError:
        return "."


def _say(writing: int, said: dict[str, str | None]) -> None:
    os.write(writing, json.dumps(said).encode() + b"\n")
