"""A class path of the client's own, from which its JVM starts sooner: the planner unpacked, and classes ready to map.

Flink's distribution hides its planner in a jar in a jar, which each JVM unpacks and whose thousands of classes it then
parses and verifies anew. Flink's documentation allows the planner itself in the loader's place
(docs/dev/configuration/advanced, "Table Planner and Table Planner Loader"); from there its classes can come from an
archive (class data sharing: JEP 350, Java 13 and newer). `sluice.client.archive` makes both; clients only look.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

CACHE = "SLUICE_CLIENT_CACHE"
"""The variable that names the directory with the class paths; unset: Flink's own is used."""
_PLANNER = "flink-table-planner.jar"
"""The planner's name inside its loader's jar."""
_LOADER = "flink-table-planner-loader-*.jar"


@dataclass(frozen=True)
class ClassPath:
    """One class path: a directory that is named after what is in it."""

    directory: Path

    @property
    def lib(self) -> Path:
        """The directory with the jars, for FLINK_LIB_DIR."""
        return self.directory / "lib"

    @property
    def archive(self) -> Path | None:
        """The archive of its classes; None: there is no complete one.

        Its name tells its size: Java 17 dies of one that was cut short instead of doing without it.
        """
        return next((file for file in self.directory.glob("classes-*.jsa") if file.name == _name(file)), None)

    def keep(self, archive: Path) -> Path:
        """Take a finished archive, which lies below this directory, into use: by renaming, so whole or not at all."""
        return archive.replace(self.directory / _name(archive))

    def touch(self) -> None:
        """Note that a client starts from it, where one may."""
        with contextlib.suppress(OSError):
            os.utime(self.directory)

    def gather(self, jars: list[Path]) -> None:
        """Fill `lib`, unless it is there: whole or not at all, whoever else does the same."""
        self.directory.mkdir(parents=True, exist_ok=True)
        new = Path(tempfile.mkdtemp(prefix="lib-", dir=self.directory))
        new.chmod(0o755)
        for jar in jars:
            if jar.match(_LOADER):
                with zipfile.ZipFile(jar) as loader:
                    loader.extract(_PLANNER, new)
            else:
                (new / jar.name).symlink_to(jar.resolve())
        # A directory with files is never replaced: the first one stays.
        with contextlib.suppress(OSError):
            new.rename(self.lib)
        shutil.rmtree(new, ignore_errors=True)


def find(cache: Path, jars: list[Path], java: Path) -> ClassPath:
    """The class path for these jars and this JVM, whether it has been made or not.

    Its name is a digest of all of them: what changes is another class path. That an archive fits, the JVM sees
    to itself.
    """
    digest = hashlib.sha256()
    for file in (java, *jars):
        real = file.resolve()
        stat = real.stat()
        digest.update(f"{file.name}\0{real}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return ClassPath(cache.resolve() / digest.hexdigest()[:16])


def of_this_process(cache: Path) -> tuple[ClassPath, list[Path]]:
    """The class path for the JVM that PyFlink would start here, and the jars in Flink's lib directory.

    Raises:
        OSError: there is no Java, or no jar.
    """
    from pyflink.pyflink_gateway_server import find_java_executable  # noqa: PLC0415 - the client's side only

    java = shutil.which(find_java_executable())
    if java is None:
        raise FileNotFoundError("java")
    home = Path(os.environ["FLINK_HOME"])
    jars = sorted(Path(os.environ.get("FLINK_LIB_DIR", home / "lib")).glob("*.jar"))
    return find(cache, [*jars, *sorted((home / "opt").glob("flink-python*.jar"))], Path(java)), jars


def _name(archive: Path) -> str:
    return f"classes-{archive.stat().st_size}.jsa"
