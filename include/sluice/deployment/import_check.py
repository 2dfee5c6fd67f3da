"""Import each job file in a child process first: a file that ends the process or hangs must not stop the reader.

The result is cached by the digest of the file and of the code that jobs share. So only changed files are checked again.
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
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sluice.deployment.time_limit import usual_limit
from sluice.settings import JOBS_PACKAGE

_SLACK = 5.0
"""Seconds beyond the limit within which the child must have ended itself."""
_START_WITHIN = 25.0
"""Seconds within which the child must begin with the first file, also on a busy machine."""
_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from sluice.deployment.import_check_child import main; main()"
)
_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+)')


class ImportCheck:
    """Imports job files in child processes before this process does, and remembers which files end.

    Args:
        budget: Seconds for all checks of one call. The default: Airflow allows a DAG file 30 s.
        recheck_after: Seconds until a refused file is checked again: the server that it waited for may answer by then.
        import_limit: Returns the seconds for one import, in the child process and in this one.
    """

    def __init__(
        self,
        *,
        budget: float = 20.0,
        recheck_after: float = 300.0,
        import_limit: Callable[[], float] = usual_limit,
    ) -> None:
        self._budget = budget
        self._recheck_after = recheck_after
        self.import_limit = import_limit
        self._passed: set[str] = set()
        """Digests of files whose import ends, as far as this object knows."""

    def refused_files(self, root: Path, files: Sequence[Path]) -> dict[Path, str]:
        """The files that must not be imported in this process, each with the error message.

        Args:
            root: The project's directory.
            files: The job files; their names are valid job names.
        """
        digests = _digests(root, files)
        store = _Results(root)
        known = store.read() if set(digests.values()) - self._passed else {}
        now = time.time()
        refused: dict[Path, str] = {}
        unknown: list[Path] = []
        for file, digest in digests.items():
            outcome = known.get(digest)
            if digest in self._passed or (outcome is not None and outcome["error"] is None):
                self._passed.add(digest)
            elif outcome is not None and now - outcome["at"] < self._recheck_after:
                refused[file] = outcome["error"]
            else:
                unknown.append(file)
        if unknown:
            checked: dict[Path, str | None] = {}
            try:
                self._check(root, unknown, checked)
            finally:
                # Airflow may interrupt this with a timeout. The results so far are stored, so that the next call goes
                # on with the remaining files.
                new = {digests[file]: {"error": checked[file], "at": now} for file in unknown if file in checked}
                self._passed.update(digest for digest, outcome in new.items() if outcome["error"] is None)
                kept = {digest: known[digest] for digest in digests.values() if digest in known}
                ended = {digest: {"error": None, "at": now} for digest in digests.values() if digest in self._passed}
                store.write({**kept, **ended, **new})
            refused |= {file: error for file, error in checked.items() if error is not None}
            late = (
                f"not imported yet: other files took all of the {self._budget:.2g} s; it is imported at the next parse"
            )
            refused |= {file: f"{file}:1: {late}" for file in unknown if file not in checked}
        return refused

    def forget_result(self, root: Path, file: Path) -> None:
        """Drop the stored result of a file whose import exceeded the limit here, so that it is checked again."""
        digest = _digests(root, [file])[file]
        self._passed.discard(digest)
        store = _Results(root)
        store.write({known: outcome for known, outcome in store.read().items() if known != digest})

    def _check(self, root: Path, files: Sequence[Path], outcomes: dict[Path, str | None]) -> None:
        """Import the files in child processes: all in one, and the rest in a new one after a file has ended it.

        Args:
            root: The project's directory.
            files: The files.
            outcomes: Filled with the error of each file; None: its import ended. Files that were not reached in time
                are missing.
        """
        limit = self.import_limit()
        until = time.monotonic() + self._budget
        waiting = list(files)
        while waiting and (left := until - time.monotonic()) > 0:
            done: dict[str, str | None] = {}
            try:
                culprit, words = self.check_in_child(root, waiting, min(limit, left), done)
            finally:
                outcomes |= {file: done[file.stem] for file in waiting if file.stem in done}
            if culprit is None and words:
                # The child didn't reach the first file: the machine is too busy.
                return
            if culprit is None:
                # The child could not be started: the import in this process will raise the reason.
                outcomes |= {file: None for file in waiting if file not in outcomes}
            elif left >= limit or "took longer" not in words:
                outcomes |= {file: words for file in waiting if file.stem == culprit}
            waiting = [file for file in waiting if file not in outcomes and not (left < limit and file.stem == culprit)]

    def check_in_child(
        self, root: Path, files: Sequence[Path], limit: float, done: dict[str, str | None]
    ) -> tuple[str | None, str]:
        """Import the files in one child process and fill in `done`; returns the file that ended it, and the error."""
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
                # Ends processes that an import started, too.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            trace.seek(0)
            trace_text = trace.read().decode(errors="replace")
        if begun is None:
            return None, "no file was begun" if is_silent else ""
        if begun in done:
            return None, ""
        is_late = is_silent or "Timeout" in trace_text
        return begun, _error_message(root, begun, trace_text, None if is_late else code, limit)


IMPORT_CHECK = ImportCheck()
"""What this process knows of its job files."""


def _digests(root: Path, files: Iterable[Path]) -> dict[Path, str]:
    """The digest of each job file together with the shared code.

    Other job files don't count: if a refused one is imported, that import raises.
    """
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
        # The import reports the error.
        return b""


class _Results:
    """The cached results, in `imports.json` of SLUICE_HOME. If that can't be written, nothing is cached.

    Args:
        root: The project's directory.
    """

    def __init__(self, root: Path) -> None:
        self._file = Path(os.environ.get("SLUICE_HOME") or root / ".sluice").expanduser() / "imports.json"

    def read(self) -> dict[str, dict[str, Any]]:
        """Results by digest: {error, at}; error None: the import ended."""
        try:
            found = json.loads(self._file.read_text())
            return {
                digest: {"error": outcome["error"], "at": float(outcome["at"])} for digest, outcome in found.items()
            }
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return {}

    def write(self, outcomes: Mapping[str, Mapping[str, Any]]) -> None:
        """Replace the cached results."""
        with contextlib.suppress(OSError):
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self._file.parent, prefix=".imports-")
            try:
                with os.fdopen(handle, "w") as file:
                    json.dump(outcomes, file)
                Path(name).replace(self._file)
            except OSError:
                Path(name).unlink(missing_ok=True)


def _follow(reading: int, limit: float, done: dict[str, str | None]) -> tuple[bool, str | None]:
    """Read the child's messages into `done`; returns whether it was silent for too long, and its last file."""
    begun, rest = None, b""
    with os.fdopen(reading, "rb", buffering=0) as pipe:
        while True:
            ready, _, _ = select.select([pipe], [], [], _START_WITHIN if begun is None else limit + _SLACK)
            chunk = pipe.read(65_536) if ready else b""
            if not chunk:
                return not ready, begun
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                message = json.loads(line)
                begun = message["file"]
                if "error" in message:
                    done[message["file"]] = message["error"]


def _error_message(root: Path, name: str, trace_text: str, code: int | None, limit: float) -> str:
    """The error of the file that ended the child with this exit code; None: it exceeded the time limit."""
    package = root / JOBS_PACKAGE
    file, line = str(package / f"{name}.py"), "1"
    # Innermost frame first. If a library hangs, take the project's line that called it.
    for frame in _FRAME.finditer(trace_text.partition("\n\nThread")[0]):
        if frame["file"].startswith(f"{package}{os.sep}"):
            file, line = frame["file"], frame["line"]
            break
    if code is None:
        return f"{file}:{line}: the import took longer than {limit:.2g} s; move slow code into the pipeline function"
    if code < 0:
        return f"{file}:{line}: the import ended the Python process by signal {signal.Signals(-code).name}"
    return f"{file}:{line}: the import ended the Python process with status {code}, as os._exit does"
