"""The command that starts the Java class sluice.client.Submitter: a client that submits graphs and compiles nothing.

Its JVM has Flink's jars without the planner on its class path, and no Python: it starts in a tenth of the time.
"""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path

from sluice.client import class_path
from sluice.client.class_path import ClassPath

_MAIN = "sluice.client.Submitter"
_DISTRIBUTION, _OWN, _PLANNER = "flink-dist-*.jar", "flink-strict-json-*.jar", "flink-table-planner*.jar"
"""Flink's distribution and Sluice's jar, without which there is no submitter; the planner, which it doesn't need."""
_OTHERS = ("FLINK_HOME", "FLINK_CONF_DIR", "FLINK_ENV_JAVA_OPTS*", "HADOOP_*", "HBASE_CONF_DIR", "YARN_CONF_DIR")
"""Variables by which PyFlink adds to the class path or the options of its JVM."""

_TO_STDERR = ("-XX:+DisplayVMOutputToStderr", "-Xlog:disable", "-Xlog:all=warning:stderr")
"""Options of the JVM, whose own warnings would come between the answers on standard output."""


@dataclass(frozen=True)
class Submitter:
    """What a submitter is started with.

    Attributes:
        java: Java's executable.
        jars: Its class path.
        variables: Environment variables for file systems, as PyFlink sets them.
    """

    java: Path
    jars: tuple[Path, ...]
    variables: Mapping[str, str]

    def class_path(self, cache: Path) -> ClassPath:
        """Where its class-data archive is kept."""
        return class_path.find(cache, list(self.jars), self.java)

    def command(self, options: str, cache: Path | None = None) -> list[str]:
        """The command, which maps the class-data archive if there is one.

        Args:
            options: Options of the JVM, separated by spaces.
            cache: The directory of the archives; None: use none.

        Raises:
            OSError: a jar can't be read.
        """
        mapped: Sequence[str] = ()
        if cache is not None:
            own = self.class_path(cache)
            if archive := own.archive:
                own.touch()
                mapped = class_path.mapped(archive)
        jars = os.pathsep.join(str(jar) for jar in self.jars)
        return [str(self.java), *_TO_STDERR, *options.split(), *mapped, "-cp", jars, _MAIN]


def find(python: Path, lib: Path | None, variables: Mapping[str, str]) -> Submitter | None:
    """The submitter for a client's interpreter; None: the interpreter's own client has to submit.

    That is so if the interpreter isn't in an environment with PyFlink, if there is no Java, if the jars lack the class
    (the client's message says what to do), or if the variables give PyFlink's JVM a class path or options of their own,
    as for checkpoints on Hadoop's file systems.

    Args:
        python: The client's interpreter.
        lib: The directory of the jars; None: that of FLINK_LIB_DIR, or PyFlink's own.
        variables: The environment variables of the client.

    Raises:
        OSError: a jar can't be read.
    """
    if any(value and fnmatchcase(name, other) for name, value in variables.items() for other in _OTHERS):
        return None
    home = next(iter(sorted(python.parent.parent.glob("lib/python3*/*-packages/pyflink"))), None)
    java_home = variables.get("JAVA_HOME")
    java = Path(java_home) / "bin" / "java" if java_home else Path(shutil.which("java") or "")
    if home is None or not java.is_file():
        return None
    directory = lib or Path(variables.get("FLINK_LIB_DIR") or home / "lib")
    # All others, since a job's configuration may name their classes, such as a serializer. By their real paths: an
    # archive is for the very paths that it was recorded with.
    jars = tuple(jar.resolve() for jar in sorted(directory.glob("*.jar")) if not jar.match(_PLANNER))
    if not any(jar.match(_DISTRIBUTION) for jar in jars):
        return None
    if not any(_has_submitter(jar, jar.stat().st_mtime_ns) for jar in jars if jar.match(_OWN)):
        return None
    plugins = variables.get("FLINK_PLUGINS_DIR", str(home / "plugins"))
    return Submitter(java, jars, {"FLINK_CONF_DIR": str(home / "conf"), "FLINK_PLUGINS_DIR": plugins})


@lru_cache
def _has_submitter(jar: Path, _changed: int) -> bool:
    try:
        with zipfile.ZipFile(jar) as archive:
            return f"{_MAIN.replace('.', '/')}.class" in archive.namelist()
    except zipfile.BadZipFile:
        return False
