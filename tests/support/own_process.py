"""Scripts in processes of their own: Airflow configures itself, and warns, when it is imported.

Importing it takes a second; so a process that has done it once is forked for each script that doesn't need to see the
import itself.
"""

import atexit
import os
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from multiprocessing import get_context
from multiprocessing.context import ForkServerContext
from multiprocessing.forkserver import ensure_running
from pathlib import Path
from shutil import rmtree
from subprocess import CompletedProcess
from tempfile import mkdtemp

from tests.support.stacks import ROOT

_PRELOADED = "tests.support.airflow_preloaded"


def run_script(
    script: str, home: Path, *arguments: str, unloaded: Sequence[str] = (), **variables: str
) -> CompletedProcess[str]:
    """The output of a Python script that starts with Airflow and Sluice imported; if it fails, the test fails.

    Airflow's home is one for all of these, and there is no metadata database in it. Hashes of strings are the same in
    all of them.

    Args:
        script: Its text.
        home: A directory that is the test's own.
        arguments: The script's arguments.
        unloaded: Packages that the script finds as if they had not been imported.
        variables: Over the environment's.
    """
    said, complained = home / "stdout", home / "stderr"
    process = _forks().Process(target=_exec, args=(script, arguments, unloaded, variables, str(said), str(complained)))
    process.start()
    process.join()
    assert process.exitcode == 0, complained.read_text()
    return CompletedProcess([script, *arguments], 0, said.read_text(), complained.read_text())


def run_fresh_script(
    script: str, home: Path, *arguments: str, options: Sequence[str] = (), **variables: str
) -> CompletedProcess[str]:
    """The same in an interpreter that has imported nothing.

    Args:
        script: Its text.
        home: Airflow's home directory.
        arguments: Its arguments.
        options: Those of the interpreter.
        variables: Over the environment's.
    """
    return _run([*options, "-c", script, *arguments], home, variables)


def run_module(module: str, home: Path, *arguments: str, **variables: str) -> CompletedProcess[str]:
    """The output of a module that is run in an interpreter of its own; if it fails, the test fails.

    Args:
        module: Its name.
        home: Airflow's home directory.
        arguments: Its arguments.
        variables: Over the environment's.
    """
    return _run(["-m", module, *arguments], home, variables)


def _run(arguments: Sequence[str], home: Path, variables: dict[str, str]) -> CompletedProcess[str]:
    given = {**os.environ, **airflow_variables(home), **variables}
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, env=given, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    return done


def airflow_variables(home: Path | str) -> dict[str, str]:
    """Environment variables of an Airflow with this home directory."""
    # A serialized DAG has the folder in it, which is in Airflow's home otherwise.
    folder = {"AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags")}
    return {"AIRFLOW_HOME": str(home), "AIRFLOW__CORE__LOAD_EXAMPLES": "False", **folder}


@cache
def _forks() -> ForkServerContext:
    """The server has the environment that this process has when the first script is run."""
    home = Path(mkdtemp(prefix="airflow-"))
    atexit.register(rmtree, home, ignore_errors=True)
    os.environ.update(airflow_variables(home))
    context = get_context("forkserver")
    context.set_forkserver_preload([_PRELOADED])
    seed = os.environ.get("PYTHONHASHSEED")
    os.environ["PYTHONHASHSEED"] = "0"
    try:
        ensure_running()
    finally:
        del os.environ["PYTHONHASHSEED"]
        if seed is not None:
            os.environ["PYTHONHASHSEED"] = seed
    return context


def _exec(
    script: str,
    arguments: Sequence[str],
    unloaded: Sequence[str],
    variables: dict[str, str],
    said: str,
    complained: str,
) -> None:
    for stream, path in ((sys.stdout, said), (sys.stderr, complained)):
        stream.flush()
        with Path(path).open("w") as file:
            os.dup2(file.fileno(), stream.fileno())
    # A preload that fails is one that multiprocessing says nothing of.
    assert _PRELOADED in sys.modules, f"{_PRELOADED} could not be imported"
    for name in [name for name in sys.modules if name.partition(".")[0] in unloaded]:
        del sys.modules[name]
    os.environ.update(variables)
    sys.argv = ["-c", *arguments]
    exec(compile(script, "<script>", "exec"), {"__name__": "__main__"})
