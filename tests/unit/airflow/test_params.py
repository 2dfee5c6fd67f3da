"""The trigger form."""

from typing import Annotated, Literal, Optional

import pytest
from pydantic import Field, SecretStr

from sluice import JobConfig
from sluice.airflow.params import deploy_params, setting_params
from sluice.plan.request import settings_of_params


class Config(JobConfig):
    kind: Literal["a", "b"] = "a"
    size: Literal[1, 5] = 1
    other: Literal["x"] | None = None
    names: list[str] | None = None
    flag: Optional[bool] = None  # noqa: UP045 - users may write it so
    most: Annotated[int, Field(le=9)] | None = None


class SecretConfig(JobConfig):
    least: int = 0
    key: SecretStr | None = None


def test_trigger_form_has_no_fields_for_secrets():
    assert [name for name in deploy_params(SecretConfig) if name.startswith("config_")] == ["config_least"]


@pytest.mark.parametrize(
    ("field", "type_", "choices"),
    [
        ("kind", "string", [None, "a", "b"]),
        ("size", "integer", [None, 1, 5]),
        ("other", "string", [None, "x"]),
        ("names", "array", None),
        ("flag", "boolean", None),
        ("most", "integer", None),
    ],
)
def test_setting_with_fixed_values_is_a_choice_of_their_type(field, type_, choices):
    schema = setting_params(Config)[f"config_{field}"].schema
    assert (schema["type"][1], schema.get("enum")) == (type_, choices)


def test_form_has_a_field_for_each_setting():
    assert set(setting_params(Config)) == {f"config_{name}" for name in Config.model_fields}


def test_chosen_value_of_a_setting_has_its_type_and_no_choice_gives_none():
    size = setting_params(Config)["config_size"]
    assert size.resolve() is None
    assert Config(**settings_of_params({"config_size": size.resolve(5)})).size == 5


def test_mode_is_a_choice():
    mode = deploy_params(Config)["mode"].schema
    assert mode["enum"] == ["as planned", "savepoint", "last-state", "stateless"]
    assert all(type(each) is str for each in mode["enum"])
