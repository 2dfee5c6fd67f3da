"""The trigger form; in a process of its own, as the DAGs."""

import os
import subprocess
import sys

SCRIPT = """
from pydantic import SecretStr
from sluice import JobConfig
from sluice.airflow.params import deploy_params
class Config(JobConfig):
    least: int = 0
    key: SecretStr | None = None
names = [name for name in deploy_params(Config) if name.startswith("config_")]
assert names == ["config_least"], names
"""


def test_a_form_asks_for_no_secret(tmp_path):
    variables = {**os.environ, "AIRFLOW_HOME": str(tmp_path), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False, env=variables)
    assert done.returncode == 0, done.stderr
