"""Java (17 or newer) and Maven: found, or installed by apt after printing the command."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time

from sluice.errors import RefusedError
from sluice.terminal import console

_JAVA = 17
"""The oldest supported version."""
_JDKS = ("openjdk-17-jdk-headless", "openjdk-21-jdk-headless", "default-jdk-headless")
"""Packages with a JDK, the best tested one first; each distribution has some of them."""


def ensure_java() -> None:
    """Make sure that `javac` (17 or newer) and `mvn` are on PATH.

    Raises:
        RefusedError: one is missing and this user can't install it; the remedy has the command to run.
    """
    lacks_java = shutil.which("javac") is None or _version() < _JAVA
    lacks_maven = shutil.which("mvn") is None
    if not lacks_java and not lacks_maven:
        return
    wanted = " and ".join(
        [*([f"a JDK of Java {_JAVA} or newer"] if lacks_java else []), *(["Maven"] if lacks_maven else [])]
    )
    if shutil.which("apt-get") is None:
        raise RefusedError(
            f"missing: {wanted}",
            remedy="install them with the machine's package manager, and check that javac and mvn are on PATH",
        )
    if os.geteuid() != 0:
        install = _install(lacks_java=lacks_java, lacks_maven=lacks_maven)
        raise RefusedError(f"missing: {wanted}", remedy=f"run: sudo sh -c 'apt-get update && {install}'")
    # Before the first update, apt knows no packages.
    _run("apt-get update", wanted)
    _run(_install(lacks_java=lacks_java, lacks_maven=lacks_maven), wanted)


def _install(*, lacks_java: bool, lacks_maven: bool) -> str:
    packages = [*([_jdk()] if lacks_java else []), *(["maven"] if lacks_maven else [])]
    return f"apt-get install -y {' '.join(packages)}"


def _jdk() -> str:
    """The first package with a JDK that this machine's apt can install."""
    for package in _JDKS:
        try:
            answer = subprocess.run(["apt-cache", "policy", package], capture_output=True, text=True, check=False)
        except FileNotFoundError:
            break
        if re.search(r"Candidate: *[^( ]", answer.stdout):
            return package
    return _JDKS[0]


def _run(command: str, wanted: str) -> None:
    console.print(f"{wanted}: {command}")
    since = time.monotonic()
    variables = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    if subprocess.run(["/bin/sh", "-c", command], env=variables, check=False).returncode:
        raise RefusedError(f"{wanted} can't be installed", remedy=f"run it yourself: {command}")
    console.print(f"  done in {time.monotonic() - since:.0f} s")


def _version() -> int:
    answer = subprocess.run(["javac", "-version"], capture_output=True, text=True, check=False)
    match = re.search(r"javac (\d+)", answer.stdout + answer.stderr)
    return int(match[1]) if match else 0
