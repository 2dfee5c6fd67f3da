"""Processes that survive a killed supervisord and keep the stack's ports and files.

Every process of a stack has the stack's home in an environment variable, which its children inherit. So a survivor is
found whatever its parent is now, and processes of other stacks or users are not.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

import psutil

from sluice.errors import OperationError

_MARK = "SLUICE_STACK"
_POLL = 0.1


def marks(home: Path) -> Mapping[str, str]:
    """The environment variables that mark a process as one of the stack with this home."""
    # Airflow's processes rename themselves, which overwrites their environment unless SPT_NOENV is set.
    return {_MARK: str(home), "SPT_NOENV": "1"}


def survivors(home: Path) -> list[psutil.Process]:
    """The stack's running processes, oldest first, without this process and its ancestors."""
    own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    found = [process for process in psutil.process_iter() if process.pid not in own and _belongs(process, str(home))]
    return sorted(found, key=lambda process: process.create_time())


def stacks_of(environment: Path) -> set[str]:
    """The homes of all stacks with a process that runs from this Python environment."""
    commands = f"{environment}{os.sep}"
    own = os.getpid()
    return {
        home
        for process in psutil.process_iter()
        if process.pid != own and (home := _home(process)) and _command(process).startswith(commands)
    }


def end_survivors(home: Path, *, patience: float = 20.0) -> int:
    """Terminate the stack's processes, and kill those that still run after `patience` seconds.

    Returns:
        How many there were.

    Raises:
        OperationError: some can't be ended; with their names.
    """
    ended: set[int] = set()
    terminated_until = time.monotonic() + patience
    killed_until = terminated_until + 10
    # Searched again in each round: a process that ends may have started another one.
    while left := survivors(home):
        now = time.monotonic()
        if now > killed_until:
            names = ", ".join(f"{process.pid} ({_name(process)})" for process in left)
            raise OperationError(f"processes of this stack can't be ended: {names}", remedy="end them by hand")
        for process in left:
            _signal(process, kill=now > terminated_until, again=process.pid in ended)
            ended.add(process.pid)
        psutil.wait_procs(left, timeout=_POLL)
    return len(ended)


def _belongs(process: psutil.Process, home: str) -> bool:
    return _home(process) == home


def _home(process: psutil.Process) -> str | None:
    """The home of the stack that a process belongs to."""
    try:
        return process.environ().get(_MARK) if process.status() != psutil.STATUS_ZOMBIE else None
    except (psutil.Error, OSError):
        return None  # it has ended, or belongs to another user


def _command(process: psutil.Process) -> str:
    try:
        return next(iter(process.cmdline()), "")
    except psutil.Error:
        return ""


def _signal(process: psutil.Process, *, kill: bool, again: bool) -> None:
    try:
        if kill:
            process.kill()
        elif not again:
            process.terminate()
    except psutil.NoSuchProcess:
        pass


def _name(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.Error:
        return "ended"
