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


def test_trigger_form_has_no_fields_for_secrets(tmp_path):
    run_script(SCRIPT, tmp_path)


CHOICES = """
from enum import Enum
from typing import Annotated, Literal, Optional
from pydantic import Field
from sluice import JobConfig
from sluice.airflow.params import setting_params
from sluice.plan.request import settings_of_params
class Config(JobConfig):
    kind: Literal["a", "b"] = "a"
    size: Literal[1, 5] = 1
    other: Literal["x"] | None = None
    names: list[str] | None = None
    flag: Optional[bool] = None
    most: Annotated[int, Field(le=9)] | None = None
found = {name: (each.schema["type"][1], each.schema.get("enum")) for name, each in setting_params(Config).items()}
assert found == {
    "config_kind": ("string", [None, "a", "b"]),
    "config_size": ("integer", [None, 1, 5]),
    "config_other": ("string", [None, "x"]),
    "config_names": ("array", None),
    "config_flag": ("boolean", None),
    "config_most": ("integer", None),
}, found
size = setting_params(Config)["config_size"]
assert size.resolve() is None
assert Config(**settings_of_params({"config_size": size.resolve(5)})).size == 5
# A mode is a choice as well.
from sluice.airflow.params import deploy_params
mode = deploy_params(Config)["mode"].schema
assert mode["enum"] == ["as planned", "savepoint", "last-state", "stateless"], mode
assert all(type(each) is str for each in mode["enum"])
"""


def test_setting_with_fixed_values_is_a_choice_of_their_type(tmp_path):
    run_script(CHOICES, tmp_path)
