"""The environment variables with which PyFlink's JVM starts; a function replaces PyFlink's."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from sluice.client import class_path, jvm

GIVEN = {"JVM_ARGS": "-Xmx1g", "FLINK_LIB_DIR": "/flink/lib"}


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> class_path.ClassPath:
    """A class path without an archive."""
    found = class_path.ClassPath(tmp_path / "own")
    found.lib.mkdir(parents=True)
    monkeypatch.setenv(class_path.CACHE, str(tmp_path))
    for name, value in GIVEN.items():
        monkeypatch.setenv(name, value)
    return found


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[dict[str, str]]]:
    """Make PyFlink's `get_gateway` raise these errors in turn; returns the variables that each call saw."""

    def stand_in(*errors: Exception) -> list[dict[str, str]]:
        seen: list[dict[str, str]] = []
        left = list(errors)

        def get_gateway() -> None:
            seen.append({name: os.environ[name] for name in GIVEN})
            if left:
                raise left.pop(0)

        gateway = ModuleType("pyflink.java_gateway")
        gateway.get_gateway = get_gateway  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "pyflink.java_gateway", gateway)
        return seen

    return stand_in


def start(own: class_path.ClassPath) -> None:
    jvm.start(lambda _cache: (own, []))


def test_jvm_maps_and_verifies_the_class_archive(own, starts):
    (own.directory / "new").write_bytes(b"123")
    kept = own.keep(own.directory / "new")
    seen = starts()
    start(own)
    assert len(seen) == 1
    assert seen[0]["FLINK_LIB_DIR"] == str(own.lib)
    assert seen[0]["JVM_ARGS"] == f"-Xmx1g -Xshare:auto -XX:+VerifySharedSpaces -XX:SharedArchiveFile={kept}"


def test_jvm_uses_the_fast_class_path_without_an_archive(own, starts):
    seen = starts()
    start(own)
    assert seen == [{"JVM_ARGS": "-Xmx1g", "FLINK_LIB_DIR": str(own.lib)}]


def test_jvm_uses_flinks_class_path_without_a_fast_one(own, starts):
    own.lib.rmdir()
    seen = starts()
    start(own)
    assert seen == [GIVEN]


def test_jvm_falls_back_to_flinks_class_path(own, starts, capfd):
    seen = starts(RuntimeError("it died"))
    start(own)
    assert seen[-1] == GIVEN
    assert len(seen) == 2
    assert "it died" in capfd.readouterr().err


def test_jvm_that_starts_from_no_class_path_raises(own, starts):
    starts(RuntimeError("first"), RuntimeError("second"))
    with pytest.raises(RuntimeError, match="second"):
        start(own)


def test_missing_java_is_left_to_pyflink_to_report(own, starts):
    def absent(_cache):
        raise FileNotFoundError("java")

    seen = starts()
    jvm.start(absent)
    assert seen == [GIVEN]
