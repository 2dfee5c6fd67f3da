"""Airflow in the process of the tests, with a home directory that no other process uses.

Airflow reads its environment variables, writes its configuration file and warns when it is first imported. So it is
imported here, before the modules of the tests, and the environment is as before afterwards.
"""

import atexit
import warnings
from importlib import import_module
from shutil import rmtree
from tempfile import mkdtemp

import pytest

from tests.support.own_process import airflow_variables

_HOME = mkdtemp(prefix="airflow-")
atexit.register(rmtree, _HOME, ignore_errors=True)
_VARIABLES = airflow_variables(_HOME)


def _import_airflow():
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        for name, value in _VARIABLES.items():
            patch.setenv(name, value)
        # Otherwise Airflow would configure logging and its database for the whole process, other tests' too.
        patch.setenv("_AIRFLOW__AS_LIBRARY", "1")
        # Airflow uses interfaces that are deprecated; pytest turns warnings into errors.
        warnings.simplefilter("ignore")
        for name in ("airflow", "airflow.serialization.serialized_objects", "airflow.sdk.execution_time.task_runner"):
            import_module(name)
        # The directories of DAGs and plugins.
        import_module("airflow.settings").configure_vars()


_import_airflow()


@pytest.fixture(autouse=True)
def airflow_environment(monkeypatch):
    """Airflow's variables, of which it reads some at each use."""
    for name, value in _VARIABLES.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def connect(monkeypatch):
    """A function that lets an object answer what tasks and triggers request of Airflow.

    Airflow's task runner has its connection to Airflow in a variable of its module, and takes no other one.
    """

    def to(supervisor):
        monkeypatch.setattr("airflow.sdk.execution_time.task_runner.SUPERVISOR_COMMS", supervisor, raising=False)
        return supervisor

    return to
