"""Java and Maven missing or too old: root installs them, others get the command. PATH has scripts as fake commands."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sluice.errors import RefusedError
from sluice.local.java import ensure_java


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only directory on PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def _script(directory: Path, name: str, text: str) -> None:
    file = directory / name
    file.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    file.chmod(0o755)


def test_nothing_is_installed_if_java_and_maven_exist(commands: Path) -> None:
    _script(commands, "javac", "echo javac 17.0.12")
    _script(commands, "mvn", "true")
    _script(commands, "apt-get", f"touch {commands}/installed; exit 1")
    ensure_java()
    assert not (commands / "installed").exists()


@pytest.mark.parametrize(
    ("there", "missing"),
    [
        ({}, "openjdk-17-jdk-headless maven"),
        ({"javac": "echo javac 17.0.12"}, "maven"),
        ({"mvn": "true"}, "openjdk-17-jdk-headless"),
        ({"javac": "echo javac 11.0.2", "mvn": "true"}, "openjdk-17-jdk-headless"),
        ({"javac": "echo javac 1.8.0_292 >&2", "mvn": "true"}, "openjdk-17-jdk-headless"),
    ],
)
def test_root_installs_the_missing_packages_alone(
    commands: Path, monkeypatch: pytest.MonkeyPatch, there: dict[str, str], missing: str
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    for name, text in there.items():
        _script(commands, name, text)
    _script(commands, "apt-get", f'echo "$@" >> {commands}/asked')
    ensure_java()
    asked = (commands / "asked").read_text(encoding="utf-8")
    assert asked.splitlines() == ["update", f"install -y {missing}"]


def test_a_failed_installation_names_the_command(commands: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    _script(commands, "apt-get", '[ "$1" = update ]')
    with pytest.raises(RefusedError) as caught:
        ensure_java()
    assert caught.value.remedy == "run it yourself: apt-get install -y openjdk-17-jdk-headless maven"


@pytest.mark.parametrize("known", ["openjdk-21-jdk-headless", "default-jdk-headless"])
def test_another_jdk_is_installed_if_apt_has_no_17(commands: Path, monkeypatch: pytest.MonkeyPatch, known: str) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    _script(commands, "mvn", "true")
    _script(commands, "apt-get", f'echo "$@" >> {commands}/asked')
    # apt knows its packages only after the update.
    candidate = (
        f'[ "$2" = {known} ] && [ -e {commands}/asked ] && echo "  Candidate: 21.0.4" || echo "  Candidate: (none)"'
    )
    _script(commands, "apt-cache", candidate)
    ensure_java()
    assert (commands / "asked").read_text(encoding="utf-8").splitlines()[-1] == f"install -y {known}"


def test_a_newer_java_is_accepted(commands: Path) -> None:
    _script(commands, "javac", "echo javac 21.0.4")
    _script(commands, "mvn", "true")
    _script(commands, "apt-get", f"touch {commands}/installed; exit 1")
    ensure_java()
    assert not (commands / "installed").exists()


def test_a_user_without_root_gets_the_command_to_run(commands: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    _script(commands, "apt-get", f"touch {commands}/installed")
    with pytest.raises(RefusedError, match="missing: a JDK of Java 17 or newer and Maven") as caught:
        ensure_java()
    assert caught.value.remedy == (
        "run: sudo sh -c 'apt-get update && apt-get install -y openjdk-17-jdk-headless maven'"
    )
    assert not (commands / "installed").exists()


def test_without_apt_the_error_names_the_requirements(commands: Path) -> None:
    with pytest.raises(RefusedError, match="missing: a JDK of Java 17 or newer and Maven") as caught:
        ensure_java()
    assert "package manager" in str(caught.value.remedy)
    assert list(commands.iterdir()) == []
