"""`python -m sluice.client.archive DIRECTORY`: make what lets the client's JVM start sooner, unless it is there.

To be run by the client's interpreter, with its FLINK_LIB_DIR and JAVA_HOME: once per machine or image, and after each
change of the jars or of Java. It takes as long as two clients. Clients that start meanwhile see all of it or none.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil

import sluice
from sluice.client import class_path, jvm
from sluice.client.class_path import CACHE, ClassPath
from sluice.client.process import JVM_ARGS, ClientProcess
from sluice.client.protocol import Build
from sluice.errors import OperationError, SluiceError
from sluice.flink.access import Access

_TIMEOUT = 180.0
"""Seconds until the sample must have been compiled, and again until its JVM must have written."""
_UNUSED = 30 * 24 * 3600
"""Seconds after which a class path that no client has started from is taken away."""


def main() -> int:
    """Make it, and say where it is."""
    jvm.set_environment()
    try:
        made = make(Path(sys.argv[1]))
    except (SluiceError, OSError) as error:
        print(f"clients start without an archive of their classes: {error}", file=sys.stderr)
        return 1
    print(made, file=sys.stderr)
    return 0


def make(cache: Path) -> Path:
    """Fill the class path of this process's jars and Java, and record the archive of its classes.

    Raises:
        OSError: the directory can't be written, or there is no Java.
        SluiceError: the sample can't be compiled, or this Java writes no archive (11 doesn't).
    """
    own, jars = class_path.of_this_process(cache)
    if there := own.archive:
        return there
    own.gather(jars)
    with tempfile.TemporaryDirectory(prefix="new-", dir=own.directory) as directory:
        archive = Path(directory) / "classes.jsa"
        _record(own, archive, Path(directory) / "client.log")
        if not archive.is_file():
            raise OperationError(
                "Java has written none", remedy="use a Java 17 or newer that has lib/server/classes.jsa"
            )
        # Java writes it for its owner alone; clients may be other users'.
        archive.chmod(0o644)
        made = own.keep(archive)
    _thin(cache, own)
    return made


def sample_order(flink: Access) -> Build:
    """What has a client compile the sample, which asks no broker anything."""
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
    """Have a client compile the sample, and its JVM write at its end what it has loaded."""
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
            raise OperationError(f"the JVM has not written it within {_TIMEOUT:.0f} s")
        time.sleep(0.1)


def _runs(process: psutil.Process) -> bool:
    """An ended process whose parent never asks for it doesn't."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@contextmanager
def cluster() -> Iterator[str]:
    """The address of something that answers as a cluster without jobs: talking to one loads classes too."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _NoJobs) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


class _NoJobs(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer whatever is asked."""
        answer = b'{"jobs": []}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _thin(cache: Path, own: ClassPath) -> None:
    """Take away what no client has started from for long."""
    for directory in cache.resolve().iterdir():
        with suppress(OSError):
            if directory != own.directory and directory.stat().st_mtime < time.time() - _UNUSED:
                shutil.rmtree(directory)


if __name__ == "__main__":
    sys.exit(main())
