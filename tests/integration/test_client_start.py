"""A client whose JVM uses a class archive compiles the same graphs, and starts even if the archive is damaged."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sluice.client import archive
from sluice.client.class_path import CACHE
from sluice.client.process import JVM_ARGS, ClientProcess
from sluice.client.protocol import Build
from sluice.local.flink import gather_jars
from tests.support.stacks import ROOT, local_stack

WHOLE = "SLUICE_AUDIT_CLIENTS" in os.environ
"""Every way in which an archive may be damaged; otherwise the one in which the JVM crashes."""
CLIENTS = 3 if WHOLE else 2


@pytest.fixture(scope="module")
def lib(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return gather_jars(local_stack(tmp_path_factory.mktemp("home")))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, lib: Path) -> Path:
    """A cache with one class path and its archive."""
    cache = tmp_path_factory.mktemp("cache")
    command = [sys.executable, "-m", "sluice.client.archive", str(cache)]
    subprocess.run(command, env={**os.environ, "FLINK_LIB_DIR": str(lib)}, check=True)
    return cache


@pytest.fixture
def file(made: Path, tmp_path: Path) -> Iterator[Path]:
    """The archive, in a place where it may be damaged: it is put back afterwards."""
    # The submitter's has no directory of jars beside it.
    (file,) = (each for each in made.glob("*/classes-*.jsa") if (each.parent / "lib").exists())
    (planner,) = made.glob("*/lib/flink-table-planner.jar")
    stat = planner.stat()
    shutil.copy(file, tmp_path / "whole")
    yield file
    for damaged in file.parent.glob("classes-*.jsa"):
        damaged.unlink()
    shutil.move(tmp_path / "whole", file)
    os.utime(planner, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def digest(lib: Path, log: Path, cache: Path | str = "", job: str = "event_metrics") -> str:
    """What a client compiles one of the product's jobs to."""
    with archive.cluster() as url:
        order = Build(
            job=job,
            module=f"flink_jobs.{job}",
            code=str(ROOT),
            environment="test",
            brokers={"bootstrap.servers": "127.0.0.1:1"},
            flink_url=url,
        )
        with ClientProcess(
            Path(sys.executable), log, variables={CACHE: str(cache), "FLINK_LIB_DIR": str(lib)}
        ) as client:
            return client.prepare(order, timeout=120).graph.digest


@pytest.fixture(scope="module")
def usual(lib: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return digest(lib, tmp_path_factory.mktemp("usual") / "log")


@pytest.mark.parametrize("job", ["event_metrics", *(["dead_letters"] if WHOLE else [])])
def test_clients_that_start_at_once_load_the_archived_classes(lib, made, usual, tmp_path, monkeypatch, job):
    expected = usual if job == "event_metrics" else digest(lib, tmp_path / "usual", job=job)
    options = f"-Xmx512m -XX:+UseSerialGC -Xlog:class+load:file={tmp_path}/classes-%p"
    monkeypatch.setenv("JVM_ARGS", options)
    logs = [tmp_path / str(number) for number in range(CLIENTS)]
    with ThreadPoolExecutor(CLIENTS) as pool:
        assert set(pool.map(lambda log: digest(lib, log, made, job), logs)) == {expected}
    assert not [log for log in logs if "does not start" in log.read_text()]
    files = list(tmp_path.glob("classes-*"))
    assert len(files) >= CLIENTS
    for file in files:
        loaded = file.read_text().splitlines()
        names = (" org.apache.flink.table.planner.", " org.apache.calcite.")
        planner = [line for line in loaded if any(name in line for name in names)]
        shared = [line for line in planner if "shared objects file (top)" in line]
        assert len(shared) > 0.9 * len(planner) > 900


@pytest.mark.parametrize("harm", ["crashes", *(["cut", "flipped", "foreign", "planner"] if WHOLE else [])])
def test_damaged_class_archive_does_not_change_the_compiled_graph(lib, made, file, usual, tmp_path, monkeypatch, harm):
    match harm:
        case "crashes":
            monkeypatch.setenv("JVM_ARGS", f"{JVM_ARGS} -XX:ErrorFile={tmp_path}/error")
            # Java 17 crashes on a truncated archive; one whose name has the smaller size passes our own check.
            half = file.stat().st_size // 2
            os.truncate(file, half)
            file.rename(file.with_name(f"classes-{half}.jsa"))
        case "cut":
            os.truncate(file, 1000)
        case "flipped":
            with file.open("r+b") as content:
                content.seek(file.stat().st_size // 2)
                content.write(bytes(4096))
        case "foreign":
            file.write_bytes(b"x" * file.stat().st_size)
        case "planner":
            os.utime(file.parent / "lib" / "flink-table-planner.jar", (1, 1))
    assert digest(lib, tmp_path / "log", made) == usual
    if harm == "crashes":
        assert "does not start" in (tmp_path / "log").read_text()
