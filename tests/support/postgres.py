"""A PostgreSQL server of a test's own, reached by its socket alone."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
needs_server = pytest.mark.skipif(not BINARIES, reason="no PostgreSQL server in /usr/lib/postgresql")


@contextmanager
def postgres(administrator: str) -> Iterator[str]:
    """The directory of the server's socket."""
    binaries = BINARIES[-1].parent
    # Not below pytest's directory: the server refuses to be root, and another user can't look in there.
    directory = Path(tempfile.mkdtemp(prefix="sluice-pg-"))
    user = _another_user() if os.geteuid() == 0 else None
    if user:
        os.chown(directory, user.pw_uid, user.pw_gid)

    def call(command: str, *arguments: str) -> None:
        given = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}
        # To a file: the server would hold a pipe open.
        with (directory / "output").open("w+b") as output:
            words = [str(binaries / command), *arguments]
            done = subprocess.run(words, cwd=directory, stdout=output, stderr=output, check=False, **given)
        assert done.returncode == 0, (directory / "output").read_text()

    data = str(directory / "data")
    try:
        call("initdb", "--pgdata", data, "--username", administrator, "--auth", "trust", "--no-sync")
        options = f"-c listen_addresses= -c unix_socket_directories={directory} -c fsync=off"
        call("pg_ctl", "start", "--wait", "--pgdata", data, "--log", str(directory / "log"), "--options", options)
        yield str(directory)
        call("pg_ctl", "stop", "--wait", "--pgdata", data, "--mode", "immediate")
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _another_user() -> pwd.struct_passwd:
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    return names.get("postgres") or names["nobody"]
