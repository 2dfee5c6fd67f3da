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
    """A server during a test; the directory of its socket."""
    directory = start_server(administrator)
    try:
        yield str(directory)
    finally:
        stop_server(directory)


def start_server(administrator: str) -> Path:
    """Start a server that listens at a socket alone; its directory, which is the socket's too."""
    # Not below pytest's directory: the server refuses to be root, and another user can't look in there.
    directory = Path(tempfile.mkdtemp(prefix="sluice-pg-"))
    if user := _user():
        os.chown(directory, user.pw_uid, user.pw_gid)
    data = str(directory / "data")
    options = f"-c listen_addresses= -c unix_socket_directories={directory} -c fsync=off -c max_connections=300"
    try:
        _call(directory, "initdb", "--pgdata", data, "--username", administrator, "--auth", "trust", "--no-sync")
        _call(
            directory, "pg_ctl", "start", "--wait", "--pgdata", data, "--log", f"{directory}/log", "--options", options
        )
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    return directory


def dump(directory: Path, administrator: str) -> str:
    """All that the server's database `postgres` holds, as SQL."""
    return _call(directory, "pg_dump", "--host", str(directory), "--username", administrator, "postgres")


def stop_server(directory: Path) -> None:
    """Stop the server and remove its directory."""
    try:
        _call(directory, "pg_ctl", "stop", "--wait", "--pgdata", str(directory / "data"), "--mode", "immediate")
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _call(directory: Path, command: str, *arguments: str) -> str:
    user = _user()
    given = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}
    # To a file: the server would hold a pipe open.
    with (directory / "output").open("w+b") as output:
        words = [str(BINARIES[-1].parent / command), *arguments]
        done = subprocess.run(words, cwd=directory, stdout=output, stderr=output, check=False, **given)
    printed = (directory / "output").read_text()
    assert done.returncode == 0, printed
    return printed


def _user() -> pwd.struct_passwd | None:
    """The user for the server, if this process is root's."""
    return _another_user() if os.geteuid() == 0 else None


def _another_user() -> pwd.struct_passwd:
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    return names.get("postgres") or names["nobody"]
