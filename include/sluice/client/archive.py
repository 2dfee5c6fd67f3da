"""`python -m sluice.client.archive DIRECTORY`: create the class path and class-data archives of the client's JVMs.

Run it with the client's interpreter, FLINK_LIB_DIR and JAVA_HOME: once per machine or image, and after each change of
the jars or of Java. It takes as long as three client starts, and does nothing if the archives exist. Clients that start
at the same time see the complete archive or none. There is one for the client that compiles, and one for the submitter.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil

import sluice
from sluice.client import class_path, jvm, submitter
from sluice.client.address import rest_options
from sluice.client.class_path import CACHE, ClassPath
from sluice.client.process import JVM_ARGS, ClientProcess
from sluice.client.protocol import Build, Load, Submit
from sluice.client.submitter import Submitter
from sluice.errors import OperationError, SluiceError
from sluice.flink.access import Access

_TIMEOUT = 180.0
"""Seconds within which the sample job must be compiled, and then within which its JVM must write the archive."""
_UNUSED = 30 * 24 * 3600
"""Seconds without a client's start after which a class path is deleted."""


def main() -> int:
    """Create the archives and print their paths."""
    given = dict(os.environ)
    jvm.set_environment()
    cache = Path(sys.argv[1])
    try:
        for made in (make(cache), make_for_submitter(cache, given)):
            print(made or "no archive for the submitter, which can't be started here", file=sys.stderr)
    except (SluiceError, OSError) as error:
        print(f"clients start without an archive of their classes: {error}", file=sys.stderr)
        return 1
    return 0


def make(cache: Path) -> Path:
    """Create the class path for this process's jars and Java, and its class-data archive; returns its path.

    Raises:
        OSError: the directory can't be written, or Java isn't installed.
        SluiceError: the sample job can't be compiled, or this Java can't write archives (Java 11 can't).
    """
    own, jars = class_path.of_this_process(cache)
    if there := own.archive:
        return there
    own.gather(jars)
    made = _keep_recorded(own, partial(_record, own))
    _remove_unused(cache, own)
    return made


def make_for_submitter(cache: Path, variables: Mapping[str, str]) -> Path | None:
    """Create the class-data archive of the submitter; returns its path. None: there is no submitter for the variables.

    Raises:
        OSError: the directory can't be written.
        SluiceError: the sample job can't be compiled or submitted, or this Java can't write archives.
    """
    found = submitter.find(Path(sys.executable), None, variables)
    if found is None:
        return None
    own = found.class_path(cache)
    if there := own.archive:
        return there
    own.directory.mkdir(parents=True, exist_ok=True)
    return _keep_recorded(own, partial(_record_submission, found, cache))


def _record_submission(found: Submitter, cache: Path, archive: Path, log: Path) -> None:
    """Submit the sample job by a submitter that writes the classes it has loaded to the archive at its exit."""
    command = found.command(f"{JVM_ARGS} -XX:ArchiveClassesAtExit={archive}")
    python = Path(sys.executable)
    with cluster() as url, ClientProcess(python, log, variables={CACHE: str(cache)}) as compiler:
        content = compiler.prepare(sample_order(Access(url)), timeout=_TIMEOUT).content
        if content is None:
            raise RuntimeError("only the order of a replay is answered without a graph")
        # The compiling client still runs: the sample's code is a directory, which Flink has packed into one of the
        # client's temporary files.
        with ClientProcess(python, log, command=command, variables=found.variables) as client:
            client.find(str(log.parent))
            client.load(Load(job="sample", content=content, options=rest_options(url)), timeout=_TIMEOUT)
            client.submit(Submit(flink_job_id="0" * 32, release=1), timeout=_TIMEOUT)


def _keep_recorded(own: ClassPath, record: Callable[[Path, Path], None]) -> Path:
    """Record an archive, and move it to its class path; its path there.

    Args:
        own: The class path.
        record: Starts the JVM that writes the archive; called with the paths of the archive and of a log.

    Raises:
        OperationError: Java has written none.
    """
    with tempfile.TemporaryDirectory(prefix="new-", dir=own.directory) as directory:
        archive = Path(directory) / "classes.jsa"
        record(archive, Path(directory) / "client.log")
        if not archive.is_file():
            raise OperationError(
                "Java has written no class-data archive", remedy="use Java 17 or newer with lib/server/classes.jsa"
            )
        # Java makes the file readable for its owner only, but other users may run clients.
        archive.chmod(0o644)
        return own.keep(archive)


def sample_order(flink: Access) -> Build:
    """The order to compile the sample job, which needs no broker."""
    return Build(
        job="sample",
        module="sluice.client.sample",
        code=str(Path(sluice.__file__).parents[1]),
        environment="sample",
        brokers={"bootstrap.servers": "127.0.0.1:1"},
        flink_url=flink.url,
        flink_tls=flink.tls,
    )


def _record(own: ClassPath, archive: Path, log: Path) -> None:
    """Compile the sample job with a JVM that writes the classes it has loaded to the archive at its exit."""
    variables = {
        CACHE: "",
        "FLINK_LIB_DIR": str(own.lib),
        "JVM_ARGS": f"{JVM_ARGS} -XX:ArchiveClassesAtExit={archive}",
    }
    with cluster() as url, ClientProcess(Path(sys.executable), log, variables=variables) as client:
        client.prepare(sample_order(Access(url)), timeout=_TIMEOUT)
        processes = psutil.Process(client.pid).children(recursive=True)
    deadline = time.monotonic() + _TIMEOUT
    while any(map(_runs, processes)):
        if time.monotonic() > deadline:
            raise OperationError(f"the JVM has not written the class-data archive within {_TIMEOUT:.0f} s")
        time.sleep(0.1)


def _runs(process: psutil.Process) -> bool:
    """Whether a process runs; a zombie doesn't."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@contextmanager
def cluster(handler: type[BaseHTTPRequestHandler] | None = None) -> Iterator[str]:
    """The address of a server that answers as a cluster without jobs, so that the REST client's classes get loaded.

    Args:
        handler: Answers the requests; None: `NoJobs`.
    """
    with ThreadingHTTPServer(("127.0.0.1", 0), handler or NoJobs) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


class NoJobs(BaseHTTPRequestHandler):
    """A cluster without jobs, which accepts every job."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer every request with an empty list of jobs."""
        self._answer(200, b'{"jobs": []}')

    def _answer(self, status: int, answer: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def do_POST(self) -> None:
        """Accept every job."""
        # The body is in chunks, each after a line with its length; the last one is empty.
        while length := int(self.rfile.readline().strip() or b"0", 16):
            self.rfile.read(length + 2)
        self.rfile.readline()
        self._answer(202, b'{"jobUrl": "/jobs/"}')

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def _remove_unused(cache: Path, own: ClassPath) -> None:
    """Delete other class paths that no client has used for `_UNUSED` seconds."""
    for directory in cache.resolve().iterdir():
        with suppress(OSError):
            if directory != own.directory and directory.stat().st_mtime < time.time() - _UNUSED:
                shutil.rmtree(directory)


if __name__ == "__main__":
    sys.exit(main())
