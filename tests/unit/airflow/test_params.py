"""The trigger form; in a process of its own, as the DAGs."""

from tests.support.own_process import run_script

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
    run_script(SCRIPT, tmp_path)
