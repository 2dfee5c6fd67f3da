"""`make` on a machine where a program is missing or fails. Scripts on the PATH replace the programs that it calls."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The Makefile with the files that it needs, and an environment that counts as complete."""
    for name in ("Makefile", "pom.xml", "pyproject.toml", "requirements-dev.lock"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("include/java", "scripts"):
        shutil.copytree(ROOT / name, tmp_path / name)
    script(tmp_path / ".venv" / "bin" / "python", "exit 0")
    (tmp_path / ".venv" / ".ready").touch()
    return tmp_path


def script(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)


def make(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = f"{checkout / 'bin'}{os.pathsep}{os.environ['PATH']}"
    variables = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")} | {"PATH": path}
    return subprocess.run(
        ["make", *arguments], cwd=checkout, env=variables, capture_output=True, text=True, check=False
    )


MAVEN = """
for word in "$@"; do case $word in -Djars=*) jars=${word#-Djars=};; esac; done
mkdir -p "$jars/kafka" && echo new > "$jars/kafka/a.jar"
"""


def test_make_jars_replaces_jars_when_the_build_is_complete(checkout):
    jars = checkout / ".sluice" / "jars"
    script(checkout / "bin" / "mvn", MAVEN)
    assert make(checkout, "jars").returncode == 0
    (jars / "kafka" / "a.jar").write_text("old")
    (jars / "kafka" / "gone.jar").touch()
    os.utime(jars / ".ready", (0, 0))
    done = make(checkout, "jars")
    assert done.returncode == 0, done.stderr
    assert "done in" in done.stdout
    assert [file.name for file in (jars / "kafka").iterdir()] == ["a.jar"]
    assert (jars / "kafka" / "a.jar").read_text() == "new\n"
    assert [file.name for file in jars.parent.iterdir()] == ["jars"]
    assert "up to date" in make(checkout, "jars").stdout or "Nothing to be done" in make(checkout, "jars").stdout


def test_make_jars_keeps_the_old_jars_if_maven_fails(checkout):
    jars = checkout / ".sluice" / "jars"
    (jars / "kafka").mkdir(parents=True)
    (jars / "kafka" / "a.jar").write_text("old")
    script(checkout / "bin" / "mvn", MAVEN + "exit 1")
    assert make(checkout, "jars").returncode != 0
    assert (jars / "kafka" / "a.jar").read_text() == "old"
    assert not (jars / ".ready").exists()


@pytest.mark.parametrize(("status", "passes"), [(0, True), (5, True), (1, False), (2, False)])
def test_make_test_jobs_passes_without_tests_and_fails_if_tests_fail(checkout, status, passes):
    (checkout / ".sluice" / "jars").mkdir(parents=True)
    (checkout / ".sluice" / "jars" / ".ready").touch()
    (checkout / "tests" / "jobs").mkdir(parents=True)
    script(checkout / ".venv" / "bin" / "python", f'echo "$@"; exit {status}')
    (checkout / ".venv" / ".ready").touch()
    done = make(checkout, "test-jobs")
    assert "-m pytest tests/jobs" in done.stdout
    assert (done.returncode == 0) is passes


def venv(checkout: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(checkout / "scripts" / "make-venv"), str(checkout / "new")],
        env={"PATH": f"{checkout / 'bin'}{os.pathsep}/usr/bin{os.pathsep}/bin", "PYTHON": "python3", "UV_VERSION": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


OLDER = "case $1 in --version) echo Python 3.9.2;; *) exit 1;; esac"


def test_make_env_gets_a_missing_python_from_uv(checkout):
    script(checkout / "bin" / "python3", OLDER)
    script(checkout / "bin" / "uv", f'echo "$@" > {checkout}/asked; for last; do :; done; mkdir -p "$last/bin"')
    done = venv(checkout)
    assert done.returncode == 0, done.stderr
    assert "Python 3.11 is needed, found Python 3.9.2" in done.stdout
    assert (checkout / "asked").read_text() == f"venv --quiet --clear --seed --python 3.11 {checkout}/new\n"


def test_make_env_names_the_command_if_uv_has_no_python(checkout):
    script(checkout / "bin" / "python3", OLDER)
    script(checkout / "bin" / "uv", "echo no route >&2; exit 2")
    done = venv(checkout)
    assert done.returncode == 2
    assert "install it and run: make PYTHON=/path/to/python3.11" in done.stderr
    assert not (checkout / "new").exists()


@pytest.mark.parametrize(("status", "removed"), [(0, True), (1, True), (2, False)])
def test_make_clean_keeps_files_of_a_running_stack(checkout, status, removed):
    (checkout / ".sluice").mkdir()
    script(checkout / ".venv" / "bin" / "python", f'echo "$@"; exit {status}')
    done = make(checkout, "clean")
    assert "-m sluice.local refuse-running" in done.stdout
    assert (done.returncode == 0) is removed
    assert (checkout / ".sluice").exists() is not removed
    assert (checkout / ".venv").exists() is not removed


def test_make_clean_works_without_an_environment(checkout):
    shutil.rmtree(checkout / ".venv")
    (checkout / ".sluice").mkdir()
    assert make(checkout, "clean").returncode == 0
    assert not (checkout / ".sluice").exists()
