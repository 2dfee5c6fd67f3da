"""Importing a job file in a process of its own first: one that ends the process, or never ends, must not end this one.

What was imported to its end once is known by the digest of its content, and that of the code that the jobs share, and
isn't tried again: a trial is made only of files that have changed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sluice.deployment import time_limit
from sluice.settings import JOBS_PACKAGE

_BUDGET = 20.0
"""Seconds for all trials of one reading: Airflow gives a DAG file 30 s."""
_SLACK = 5.0
"""Seconds that a process which is to end itself gets to do so."""
_START_WITHIN = 25.0
"""Seconds until the process must have begun with the first file, also on a machine that is busy."""
_TRIED_AGAIN = 300.0
"""Seconds until a file that didn't end well is tried again: what it waited for may answer by then."""
_START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); import sluice.deployment.tried as it; it.main()"
_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+)')

_finished: set[str] = set()
"""Digests of what this process knows to end."""


def refused_files(root: Path, files: Sequence[Path]) -> dict[Path, str]:
    """The files that must not be imported in this process, each with the reason.

    Args:
        root: The project's directory.
        files: The job files, whose names are jobs'.
    """
    digests = _digests(root, files)
    store = _Store(root)
    known = store.read() if set(digests.values()) - _finished else {}
    now = time.time()
    refused: dict[Path, str] = {}
    unknown: list[Path] = []
    for file, digest in digests.items():
        outcome = known.get(digest)
        if digest in _finished or (outcome is not None and outcome["error"] is None):
            _finished.add(digest)
        elif outcome is not None and now - outcome["at"] < _TRIED_AGAIN:
            refused[file] = outcome["error"]
        else:
            unknown.append(file)
    if unknown:
        tried: dict[Path, str | None] = {}
        try:
            _try(root, unknown, tried)
        finally:
            # Airflow may end the reading of very many new files: the next one begins with those that are left.
            new = {digests[file]: {"error": tried[file], "at": now} for file in unknown if file in tried}
            _finished.update(digest for digest, outcome in new.items() if outcome["error"] is None)
            kept = {digest: known[digest] for digest in digests.values() if digest in known}
            ended = {digest: {"error": None, "at": now} for digest in digests.values() if digest in _finished}
            store.write({**kept, **ended, **new})
        refused |= {file: error for file, error in tried.items() if error is not None}
        late = f"not imported yet: other files took the {_BUDGET:.0f} s that there are; it is tried at the next reading"
        refused |= {file: f"{file}:1: {late}" for file in unknown if file not in tried}
    return refused


def distrust(root: Path, file: Path) -> None:
    """Have a file tried again before it is imported: it has not ended in this process."""
    digest = _digests(root, [file])[file]
    _finished.discard(digest)
    store = _Store(root)
    store.write({known: outcome for known, outcome in store.read().items() if known != digest})


def _digests(root: Path, files: Iterable[Path]) -> dict[Path, str]:
    """Of each file with what the jobs share; a job file that imports another one fails where that is refused."""
    package = root / JOBS_PACKAGE
    shared = hashlib.sha256(f"{sys.version}\0{package}\0".encode())
    for file in sorted([*package.glob("_*.py"), *package.glob("*/**/*.py")]):
        shared.update(file.relative_to(package).as_posix().encode(errors="surrogateescape") + b"\0" + _content(file))
    found: dict[Path, str] = {}
    for file in files:
        own = shared.copy()
        own.update(file.name.encode(errors="surrogateescape") + b"\0" + _content(file))
        found[file] = own.hexdigest()
    return found


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        # Importing it says so.
        return b""


class _Store:
    """What is known of the files as they are, in the project's home; without one that can be written, nothing is.

    Args:
        root: The project's directory.
    """

    def __init__(self, root: Path) -> None:
        self._file = Path(os.environ.get("SLUICE_HOME") or root / ".sluice").expanduser() / "imports.json"

    def read(self) -> dict[str, dict[str, Any]]:
        """Outcomes by digest: {error, at}; error None: it ended."""
        try:
            found = json.loads(self._file.read_text())
            return {
                digest: {"error": outcome["error"], "at": float(outcome["at"])} for digest, outcome in found.items()
            }
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return {}

    def write(self, outcomes: Mapping[str, Mapping[str, Any]]) -> None:
        """Replace what is known."""
        with contextlib.suppress(OSError):
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self._file.parent, prefix=".imports-")
            try:
                with os.fdopen(handle, "w") as file:
                    json.dump(outcomes, file)
                Path(name).replace(self._file)
            except OSError:
                Path(name).unlink(missing_ok=True)


def _try(root: Path, files: Sequence[Path], outcomes: dict[Path, str | None]) -> None:
    """Import files in processes of their own, one process until a file ends it.

    Args:
        root: The project's directory.
        files: The files.
        outcomes: Gets what is wrong with each; None: its import has ended. Those that the time did not suffice for are
            missing.
    """
    limit = time_limit.SECONDS * time_limit.slowness()
    until = time.monotonic() + _BUDGET
    waiting = list(files)
    while waiting and (left := until - time.monotonic()) > 0:
        done: dict[str, str | None] = {}
        try:
            culprit, words = _try_in_one(root, waiting, min(limit, left), done)
        finally:
            outcomes |= {file: done[file.stem] for file in waiting if file.stem in done}
        if culprit is None and words:
            # It has not even begun: this machine is too busy.
            return
        if culprit is None:
            # The process could not be started: importing them here says why.
            outcomes |= {file: None for file in waiting if file not in outcomes}
        elif left >= limit or "within" not in words:
            outcomes |= {file: words for file in waiting if file.stem == culprit}
        waiting = [file for file in waiting if file not in outcomes and not (left < limit and file.stem == culprit)]


def _try_in_one(root: Path, files: Sequence[Path], limit: float, done: dict[str, str | None]) -> tuple[str | None, str]:
    """Import files in one process, and take down what has become of each; the file that has ended it, and how."""
    reading, writing = os.pipe()
    with tempfile.TemporaryFile() as trace:
        command = [sys.executable, "-c", _START, json.dumps(sys.path), str(root), str(limit), str(writing)]
        process = subprocess.Popen(
            [*command, str(trace.fileno()), *(file.stem for file in files)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(writing, trace.fileno()),
            start_new_session=True,
        )
        os.close(writing)
        is_silent, begun = True, None
        try:
            is_silent, begun = _follow(reading, limit, done)
        finally:
            if is_silent:
                process.kill()
            code = process.wait()
            # What an import has started is ended with it.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        trace.seek(0)
        told = trace.read().decode(errors="replace")
    if begun is None:
        return None, "nothing was begun" if is_silent else ""
    if begun in done:
        return None, ""
    is_late = is_silent or "Timeout" in told
    return begun, _blame(root, begun, told, None if is_late else code, limit)


def _follow(reading: int, limit: float, done: dict[str, str | None]) -> tuple[bool, str | None]:
    """Take down what the process says of each file; whether it has said nothing for too long, what it began last."""
    begun, rest = None, b""
    with os.fdopen(reading, "rb", buffering=0) as pipe:
        while True:
            ready, _, _ = select.select([pipe], [], [], _START_WITHIN if begun is None else limit + _SLACK)
            chunk = pipe.read(65_536) if ready else b""
            if not chunk:
                return not ready, begun
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                said = json.loads(line)
                begun = said["file"]
                if "error" in said:
                    done[said["file"]] = said["error"]


def _blame(root: Path, name: str, told: str, code: int | None, limit: float) -> str:
    """What to say of the file that has ended the process with this code; None: it didn't end in time."""
    package = root / JOBS_PACKAGE
    file, line = str(package / f"{name}.py"), "1"
    # Innermost first; where a module of its own or the standard library hangs, the line that called it.
    for frame in _FRAME.finditer(told.partition("\n\nThread")[0]):
        if frame["file"].startswith(f"{package}{os.sep}"):
            file, line = frame["file"], frame["line"]
            break
    if code is None:
        return f"{file}:{line}: the import did not end within {limit:.0f} s; move what waits into the pipeline function"
    if code < 0:
        return f"{file}:{line}: the import ended the Python process by signal {signal.Signals(-code).name}"
    return f"{file}:{line}: the import ended the Python process with status {code}, as os._exit does"
