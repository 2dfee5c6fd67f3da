"""The holder of an operation: a process of this or another machine, or an Airflow run."""

from __future__ import annotations

import getpass
import os
import re
import socket

import psutil

_SHELL = re.compile(r"shell:(?P<user>.*)@(?P<host>[^@:]+):(?P<pid>\d+)")


def shell_holder() -> str:
    """The holder name of this process."""
    return f"shell:{getpass.getuser()}@{socket.gethostname()}:{os.getpid()}"


def is_gone(holder: str) -> bool:
    """Whether the holder is a process of this machine that has ended. False for a holder that can't be checked here."""
    match = _SHELL.fullmatch(holder)
    return bool(match and match["host"] == socket.gethostname() and not psutil.pid_exists(int(match["pid"])))
