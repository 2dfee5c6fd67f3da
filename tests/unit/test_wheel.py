"""The built wheel: it has every file of the package, and works without the checkout."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
UV = Path(sys.executable).with_name("uv")
SOURCES = ("pyproject.toml", "requirements.txt", "README.md", "LICENSE")
SMOKE = """
import sys

import sluice, sluice.cli
from sluice.airflow.provider import get_provider_info
from sluice.ledger.database import open_database

assert sluice.__file__.startswith(sys.argv[1]), sluice.__file__
assert get_provider_info()["package-name"] == "sluice"
# Creates the schema by the migrations of the wheel.
open_database(f"sqlite:///{sys.argv[2]}/ledger.db")
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    # From a copy: in the checkout, setuptools would add what an earlier build left in build/.
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "include" / "sluice", source / "include" / "sluice", ignore=_no_bytecode)
    command = [UV, "build", "--quiet", "--wheel", "--python", sys.executable, "--out-dir", out, source]
    # make env has put the build backend into uv's cache; without the cache it is fetched.
    if subprocess.run([*command, "--offline"], capture_output=True, check=False).returncode:
        built = subprocess.run(command, capture_output=True, text=True, check=False)
        assert built.returncode == 0, built.stderr
    [file] = out.glob("*.whl")
    return file


def test_wheel_has_every_file_of_the_package(wheel):
    package = ROOT / "include" / "sluice"
    expected = {
        file.relative_to(package.parent).as_posix()
        for file in package.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert {"sluice/py.typed", "sluice/ledger/migrations/script.py.mako"} < expected
    with zipfile.ZipFile(wheel) as archive:
        assert {name for name in archive.namelist() if ".dist-info/" not in name} == expected


def test_installed_wheel_imports_and_migrates_a_ledger(wheel, tmp_path):
    target = tmp_path / "site"
    install = [UV, "pip", "install", "--quiet", "--offline", "--no-deps", "--python", sys.executable, "--target"]
    subprocess.run([*install, target, wheel], check=True, capture_output=True)
    # Before the editable installation of the checkout on the path.
    environment = {**os.environ, "PYTHONPATH": str(target)}
    command = [sys.executable, "-c", SMOKE, str(target), str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def _no_bytecode(_directory: str, names: list[str]) -> list[str]:
    return [name for name in names if name == "__pycache__"]
