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
"""Every way in which an archive may be damaged; otherwise one of them."""


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
    (file,) = made.glob("*/classes-*.jsa")
    (planner,) = made.glob("*/lib/flink-table-planner.jar")
    stat = planner.stat()
    shutil.copy(file, tmp_path / "whole")
    yield file
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
def test_class_archive_does_not_change_the_compiled_graph(lib, made, usual, tmp_path, job):
    expected = usual if job == "event_metrics" else digest(lib, tmp_path / "usual", job=job)
    assert digest(lib, tmp_path / "log", made, job) == expected
    assert "does not start" not in (tmp_path / "log").read_text()


def test_classes_are_loaded_from_the_class_archive(lib, made, tmp_path, monkeypatch):
    options = f"-Xmx512m -XX:+UseSerialGC -Xlog:class+load:file={tmp_path / 'classes'}"
    monkeypatch.setenv("JVM_ARGS", options)
    digest(lib, tmp_path / "log", made)
    loaded = (tmp_path / "classes").read_text().splitlines()
    planner = [line for line in loaded if " org.apache.flink.table.planner." in line or " org.apache.calcite." in line]
    shared = [line for line in planner if "shared objects file (top)" in line]
    assert len(shared) > 0.9 * len(planner) > 900


@pytest.mark.parametrize("harm", ["cut", *(["flipped", "foreign", "planner"] if WHOLE else [])])
def test_damaged_class_archive_does_not_change_the_compiled_graph(lib, made, file, usual, tmp_path, harm):
    match harm:
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


def test_class_archive_that_crashes_the_jvm_is_not_used(lib, made, file, usual, tmp_path, monkeypatch):
    monkeypatch.setenv("JVM_ARGS", f"{JVM_ARGS} -XX:ErrorFile={tmp_path}/error")
    # Java 17 dies of one that was cut short: one whose name tells the shorter size gets past our own check.
    half = file.stat().st_size // 2
    os.truncate(file, half)
    deadly = file.rename(file.with_name(f"classes-{half}.jsa"))
    try:
        assert digest(lib, tmp_path / "log", made) == usual
        assert "does not start" in (tmp_path / "log").read_text()
    finally:
        deadly.unlink()


def test_several_clients_start_at_once_with_the_class_archive(lib, made, usual, tmp_path):
    with ThreadPoolExecutor(3) as pool:
        logs = [tmp_path / str(number) for number in range(3)]
        assert set(pool.map(lambda log: digest(lib, log, made), logs)) == {usual}
