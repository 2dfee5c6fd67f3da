"""Python in processes of its own, where a test needs an interpreter that has imported nothing, or an Airflow home."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from subprocess import CompletedProcess

from tests.support.stacks import ROOT


def run_module(module: str, home: Path, *arguments: str, **variables: str) -> CompletedProcess[str]:
    """The output of a module that is run as a program; if it fails, the test fails.

    Args:
        module: Its name.
        home: Airflow's home directory.
        arguments: Its arguments.
        variables: Over the environment's.
    """
    return _run(["-m", module, *arguments], home, variables)


def run_fresh_script(script: str, home: Path, *arguments: str, **variables: str) -> CompletedProcess[str]:
    """The same for the text of a program."""
    return _run(["-c", script, *arguments], home, variables)


def _run(arguments: Sequence[str], home: Path, variables: dict[str, str]) -> CompletedProcess[str]:
    given = {**os.environ, **airflow_variables(home), **variables}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=given, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done


def airflow_variables(home: Path | str) -> dict[str, str]:
    """Environment variables of an Airflow with this home directory."""
    # A serialized DAG has the folder in it, which is in Airflow's home otherwise.
    folder = {"AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags")}
    return {"AIRFLOW_HOME": str(home), "AIRFLOW__CORE__LOAD_EXAMPLES": "False", **folder}
