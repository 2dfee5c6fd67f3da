"""Java 17 and Maven: found, or installed where that is possible, after saying so."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

from sluice.errors import RefusedError
from sluice.terminal import console

_PACKAGES = {"javac": "openjdk-17-jdk-headless", "mvn": "maven"}
_JAVA = 17


def ensure_java() -> None:
    """Make sure that `javac` (17 or newer) and `mvn` are on PATH.

    Raises:
        RefusedError: one is missing and can't be installed from here; names the one command to run.
    """
    missing = [package for command, package in _PACKAGES.items() if shutil.which(command) is None]
    if "openjdk-17-jdk-headless" not in missing and _version() < _JAVA:
        missing.insert(0, "openjdk-17-jdk-headless")
    if not missing:
        return
    command = f"apt-get update && apt-get install -y {' '.join(missing)}"
    if shutil.which("apt-get") is None:
        raise RefusedError(
            f"Java {_JAVA} (JDK) and Maven are needed; missing: {', '.join(missing)}",
            remedy="install them with the machine's package manager, and see that javac and mvn are on PATH",
        )
    if os.geteuid() != 0:
        raise RefusedError(
            f"Java {_JAVA} (JDK) and Maven are needed; missing: {', '.join(missing)}",
            remedy=f"run: sudo sh -c '{command}'",
        )
    console.print(f"installing {', '.join(missing)}: {command}")
    variables = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    if subprocess.run(["/bin/sh", "-c", command], env=variables, check=False).returncode:
        raise RefusedError(f"{', '.join(missing)} can't be installed", remedy=f"run it yourself: {command}")


def _version() -> int:
    answer = subprocess.run(["javac", "-version"], capture_output=True, text=True, check=False)
    match = re.search(r"javac (\d+)", answer.stdout + answer.stderr)
    return int(match[1]) if match else 0
