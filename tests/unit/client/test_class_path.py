"""The fast class path of the client's JVM and its class archive."""

import os
import zipfile
from pathlib import Path

import pytest

from sluice.client.class_path import ClassPath, find


@pytest.fixture
def java(tmp_path: Path) -> Path:
    file = tmp_path / "java"
    file.write_text("17")
    return file


@pytest.fixture
def jars(tmp_path: Path) -> list[Path]:
    lib = tmp_path / "flink"
    lib.mkdir()
    (lib / "flink-dist-2.3.0.jar").write_text("dist")
    with zipfile.ZipFile(lib / "flink-table-planner-loader-2.3.0.jar", "w") as loader:
        loader.writestr("flink-table-planner.jar", "planner")
    return sorted(lib.glob("*.jar"))


def test_class_path_does_not_depend_on_the_lib_directory(tmp_path, java, jars):
    stack = tmp_path / "stack"
    stack.mkdir()
    for jar in jars:
        (stack / jar.name).symlink_to(jar)
    assert find(tmp_path, sorted(stack.iterdir()), java) == find(tmp_path, jars, java)


def test_changed_jar_or_java_gives_another_class_path(tmp_path, java, jars):
    first = find(tmp_path, jars, java)
    os.utime(jars[0], (1, 1))
    second = find(tmp_path, jars, java)
    java.write_text("17.0.1")
    third = find(tmp_path, jars, java)
    assert len({first, second, third, find(tmp_path, jars[:1], java)}) == 4


def test_class_path_has_the_planner_in_place_of_its_loader(tmp_path, java, jars):
    own = find(tmp_path / "cache", jars, java)
    own.gather(jars)
    assert sorted(file.name for file in own.lib.iterdir()) == ["flink-dist-2.3.0.jar", "flink-table-planner.jar"]
    assert (own.lib / "flink-table-planner.jar").read_text() == "planner"


def test_class_path_without_planner_loader_links_all_jars(tmp_path, java, jars):
    own = find(tmp_path / "cache", jars[:1], java)
    own.gather(jars[:1])
    assert [file.name for file in own.lib.iterdir()] == [jars[0].name]


def test_concurrent_gather_keeps_the_first_lib_and_no_temporary_files(tmp_path, java, jars):
    own = find(tmp_path / "cache", jars, java)
    own.gather(jars)
    made = own.lib.stat().st_ino
    own.gather(jars)
    assert own.lib.stat().st_ino == made
    assert list(own.directory.iterdir()) == [own.lib]


def test_truncated_class_archive_is_ignored(tmp_path):
    own = ClassPath(tmp_path)
    assert own.archive is None
    (tmp_path / "new").write_bytes(b"12345")
    kept = own.keep(tmp_path / "new")
    assert own.archive == kept
    os.truncate(kept, 3)
    assert own.archive is None
    (tmp_path / "newer").write_bytes(b"1234567")
    assert own.keep(tmp_path / "newer") == own.archive


def test_class_path_without_write_permission_can_be_used(tmp_path):
    ClassPath(tmp_path / "nowhere").touch()
    assert ClassPath(tmp_path / "nowhere").archive is None
