"""Which variables lead PyFlink's JVM to a class path of our own, and the way without it; a function is PyFlink."""

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
    """The class path that is found, without an archive."""
    found = class_path.ClassPath(tmp_path / "own")
    found.lib.mkdir(parents=True)
    monkeypatch.setattr(class_path, "of_this_process", lambda _cache: (found, []))
    monkeypatch.setenv(class_path.CACHE, str(tmp_path))
    for name, value in GIVEN.items():
        monkeypatch.setenv(name, value)
    return found


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[dict[str, str]]]:
    """Have PyFlink's `get_gateway` raise these errors in turn; the variables that each call of it saw."""

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


def test_an_archive_is_mapped_and_checked(own, starts):
    (own.directory / "new").write_bytes(b"123")
    kept = own.keep(own.directory / "new")
    seen = starts()
    jvm.start()
    assert len(seen) == 1
    assert seen[0]["FLINK_LIB_DIR"] == str(own.lib)
    assert seen[0]["JVM_ARGS"] == f"-Xmx1g -Xshare:auto -XX:+VerifySharedSpaces -XX:SharedArchiveFile={kept}"


def test_while_the_archive_is_made_the_jars_alone_are_used(own, starts):
    seen = starts()
    jvm.start()
    assert seen == [{"JVM_ARGS": "-Xmx1g", "FLINK_LIB_DIR": str(own.lib)}]


def test_without_a_class_path_of_our_own_flinks_is_used(own, starts):
    own.lib.rmdir()
    seen = starts()
    jvm.start()
    assert seen == [GIVEN]


def test_a_jvm_that_does_not_start_from_it_starts_the_usual_way(own, starts, capfd):
    seen = starts(RuntimeError("it died"))
    jvm.start()
    assert seen[-1] == GIVEN
    assert len(seen) == 2
    assert "it died" in capfd.readouterr().err


def test_a_jvm_that_does_not_start_at_all_is_an_error(own, starts):
    starts(RuntimeError("first"), RuntimeError("second"))
    with pytest.raises(RuntimeError, match="second"):
        jvm.start()


def test_no_java_is_no_error_yet(own, starts, monkeypatch):
    def absent(_cache):
        raise FileNotFoundError("java")

    monkeypatch.setattr(class_path, "of_this_process", absent)
    seen = starts()
    jvm.start()
    assert seen == [GIVEN]
