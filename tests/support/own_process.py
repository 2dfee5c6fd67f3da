"""Scripts in processes of their own: Airflow configures itself, and warns, when it is imported."""

import os
import subprocess
import sys
from pathlib import Path


def run_script(
    script: str, home: Path, *arguments: str, options: tuple[str, ...] = (), **variables: str
) -> subprocess.CompletedProcess[str]:
    """What a script of Python has said; where it fails, so does the test, with what it said of that.

    Args:
        script: Its text.
        home: Airflow's home directory.
        arguments: Its arguments.
        options: Those of the interpreter.
        variables: Over the environment's.
    """
    given = {**os.environ, "AIRFLOW_HOME": str(home), "AIRFLOW__CORE__LOAD_EXAMPLES": "False", **variables}
    command = [sys.executable, *options, "-c", script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=given)
    assert done.returncode == 0, done.stderr
    return done
