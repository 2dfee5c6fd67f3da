"""The child process of the import check: imports job files, and reports the begin and the result of each."""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import json
import os
import sys
from pathlib import Path

from sluice.deployment.catalog import describe_import_error, use_package
from sluice.settings import JOBS_PACKAGE


def main() -> None:
    """Import the files that the arguments name; see `sluice.deployment.import_check`."""
    root, limit, writing, trace = Path(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])
    faulthandler.enable(trace)
    use_package(root / JOBS_PACKAGE)
    for name in sys.argv[6:]:
        _report(writing, {"file": name})
        # After the limit: writes the traceback and ends the process, even if the interpreter itself hangs.
        faulthandler.dump_traceback_later(limit, exit=True, file=trace)
        error = _import(root, name)
        faulthandler.cancel_dump_traceback_later()
        _report(writing, {"file": name, "error": error})
    # Without waiting for threads and exit handlers of the job files.
    os._exit(0)


def _import(root: Path, name: str) -> str | None:
    directory, path = _directory(), list(sys.path)
    try:
        importlib.import_module(f"{JOBS_PACKAGE}.{name}")
    except Exception:  # noqa: BLE001 - a failing import ends; the catalog reports its error
        return None
    except BaseException as error:  # noqa: BLE001 - would end the process that reads the catalog
        return describe_import_error(error, root / JOBS_PACKAGE / f"{name}.py")
    finally:
        # The directory may have been removed, or be inaccessible to this user.
        with contextlib.suppress(OSError):
            os.chdir(directory)
        sys.path[:] = path
    return None


def _directory() -> str:
    try:
        return str(Path.cwd())
    except OSError:
        return "."


def _report(writing: int, message: dict[str, str | None]) -> None:
    os.write(writing, json.dumps(message).encode() + b"\n")
