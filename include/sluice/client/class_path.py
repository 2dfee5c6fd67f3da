"""A class path for the client's JVM that starts faster: with the planner unpacked, and a class-data archive.

Flink's distribution has the planner as a jar inside the loader's jar. Each JVM unpacks it, then parses and verifies its
thousands of classes. Flink's documentation allows to replace the loader by the planner itself
(docs/dev/configuration/advanced, "Table Planner and Table Planner Loader"); then its classes can come from an archive
(class data sharing: JEP 350, Java 13 and newer). `sluice.client.archive` creates both; clients use them if they exist.
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
"""The environment variable with the directory of the class paths; unset: Flink's own class path is used."""
_PLANNER = "flink-table-planner.jar"
"""The planner's name inside the loader's jar."""
_LOADER = "flink-table-planner-loader-*.jar"


@dataclass(frozen=True)
class ClassPath:
    """A class path: a directory that is named by a digest of its jars and Java."""

    directory: Path

    @property
    def lib(self) -> Path:
        """The directory with the jars, for FLINK_LIB_DIR."""
        return self.directory / "lib"

    @property
    def archive(self) -> Path | None:
        """The class-data archive; None: there is no complete one.

        Its name includes its size, since Java 17 crashes on a truncated archive instead of ignoring it.
        """
        return next((file for file in self.directory.glob("classes-*.jsa") if file.name == _name(file)), None)

    def keep(self, archive: Path) -> Path:
        """Move a finished archive here from a subdirectory, by renaming: clients see a complete one or none."""
        return archive.replace(self.directory / _name(archive))

    def touch(self) -> None:
        """Set the directory's modification time, which records its last use; ignored without write permission."""
        with contextlib.suppress(OSError):
            os.utime(self.directory)

    def gather(self, jars: list[Path]) -> None:
        """Create `lib` atomically, unless it exists; several processes may do this at the same time."""
        self.directory.mkdir(parents=True, exist_ok=True)
        new = Path(tempfile.mkdtemp(prefix="lib-", dir=self.directory))
        new.chmod(0o755)
        for jar in jars:
            if jar.match(_LOADER):
                with zipfile.ZipFile(jar) as loader:
                    loader.extract(_PLANNER, new)
            else:
                (new / jar.name).symlink_to(jar.resolve())
        # Renaming fails if `lib` has files already: the first process wins.
        with contextlib.suppress(OSError):
            new.rename(self.lib)
        shutil.rmtree(new, ignore_errors=True)


def mapped(archive: Path) -> list[str]:
    """The options of a JVM that maps an archive.

    The JVM verifies the archive, and starts without it if it doesn't match or is damaged.
    """
    return ["-Xshare:auto", "-XX:+VerifySharedSpaces", f"-XX:SharedArchiveFile={archive}"]


def find(cache: Path, jars: list[Path], java: Path) -> ClassPath:
    """The class path for these jars and this JVM, whether it exists or not.

    Its name is a digest of paths, sizes and times, so that a changed jar gives another class path. The JVM itself
    checks that an archive matches.
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
        OSError: Java isn't installed, or a jar can't be read.
    """
    from pyflink.pyflink_gateway_server import find_java_executable  # noqa: PLC0415 - only the client has PyFlink

    java = shutil.which(find_java_executable())
    if java is None:
        raise FileNotFoundError("java")
    home = Path(os.environ["FLINK_HOME"])
    jars = sorted(Path(os.environ.get("FLINK_LIB_DIR", home / "lib")).glob("*.jar"))
    return find(cache, [*jars, *sorted((home / "opt").glob("flink-python*.jar"))], Path(java)), jars


def _name(archive: Path) -> str:
    return f"classes-{archive.stat().st_size}.jsa"
