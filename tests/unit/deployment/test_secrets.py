"""Secrets of a job: digests are stored, and jobs start with the current values."""

import traceback
from types import SimpleNamespace
from typing import Annotated

import pytest
from pydantic import BaseModel, Field, SecretBytes, SecretStr

from sluice import Job, JobConfig, Kafka, Record
from sluice.deployment.desired import desired_job, override_secret_warnings
from sluice.deployment.file import read_deployment_file
from sluice.deployment.secrets import digest, holds_digests, is_secret, redact_release, redact_settings, resolve_secrets
from sluice.errors import ConfigError, RefusedError
from sluice.job.config import secret_settings
from sluice.plan.changes import compare_values
from sluice.plan.checks import no_way_back
from sluice.plan.request import Request
from sluice.plan.target import wanted_target
from sluice.project import Project
from sluice.settings import Settings


class Row(Record):
    at: int


class Login(BaseModel):
    user: str = "me"
    password: SecretStr | None = None


class Config(JobConfig):
    least: Annotated[int, Field(ge=0)] = 0
    key: Annotated[SecretStr, Field(min_length=4)] | None = None
    login: Login = Login()
    raw: SecretBytes = SecretBytes(b"")
    several: tuple[SecretStr, ...] = ()


def make() -> Job:
    job = Job(name="copy", config=Config, reads={"rows": Kafka("in", record=Row)}, writes=Kafka("out", record=Row))
    job.pipeline(lambda t_env: t_env)
    return job


GIVEN = """
kafka: {config: {bootstrap.servers: "b:1", sasl.password: planted-kafka, sasl.username: me}}
flink: {url: "http://flink"}
defaults: {flink: {s3.secret-key: planted-s3, a: "1"}}
jobs:
  copy:
    config: {key: planted-key, login: {password: planted-login}, raw: planted-raw, several: [planted-one, planted-two]}
"""


def desire(tmp_path, text=GIVEN, overrides=None):
    file = tmp_path / "local.yaml"
    file.write_text(text)
    job = make()
    return desired_job(job, "local", *read_deployment_file(file, {"copy": job}), overrides)


def test_secrets_are_stored_as_digests(tmp_path):
    values = desire(tmp_path).values()
    assert "planted" not in str(values)
    assert values["config"]["key"] == digest("planted-key")
    assert values["config"]["login"] == {"user": "me", "password": digest("planted-login")}
    assert values["config"]["several"] == [digest("planted-one"), digest("planted-two")]
    assert values["options"]["a"] == "1"
    assert values["options"]["s3.secret-key"] == digest("planted-s3")
    assert values["credentials"] == {"sasl.password": digest("planted-kafka")}


@pytest.mark.parametrize(
    ("secret", "path", "category"),
    [
        ("planted-key", "config.key", "metadata"),
        ("planted-s3", "options.s3.secret-key", "stateless"),
        ("planted-kafka", "credentials.sasl.password", "stateless"),
    ],
)
def test_changed_secret_is_a_change_without_its_value(tmp_path, secret, path, category):
    old, new = desire(tmp_path).values(), desire(tmp_path, GIVEN.replace(secret, "planted-anew")).values()
    [change] = compare_values(old, new, {})
    assert (change.path, change.category) == (path, category)
    assert "planted" not in str(change)


def test_release_runs_with_the_current_secrets(tmp_path, monkeypatch):
    (tmp_path / "deployments").mkdir()
    file = tmp_path / "deployments" / "local.yaml"
    file.write_text(GIVEN)
    project = Project(Settings(root=tmp_path, home=tmp_path, environment="local"))
    monkeypatch.setattr(Project, "catalog", type("Jobs", (), {"broken": True, "job": lambda _self, _name: make()})())
    values = desire(tmp_path, GIVEN.replace("planted-key", "planted-before")).values()
    found = project.resolve_secrets("copy", values)
    assert found["config"]["key"] == "planted-key"
    assert found["config"]["login"]["password"] == "planted-login"
    assert found["config"]["raw"] == "planted-raw"
    assert found["config"]["several"] == ["planted-one", "planted-two"]
    assert found["options"]["s3.secret-key"] == "planted-s3"
    assert Config(**found["config"]).raw.get_secret_value() == b"planted-raw"
    file.write_text('flink: {url: "http://flink"}\n')
    without = Project(project.settings)
    with pytest.raises(RefusedError, match="copy: config.key is a secret, and the deployment file has no value for it"):
        without.resolve_secrets("copy", values)
    former = SimpleNamespace(job="copy", number=3, fingerprint="old", resolved=values, overrides={})
    target = SimpleNamespace(fingerprint="new")
    words = no_way_back(without, former, target)
    assert words.startswith("no way back to release 3, should this one fail: copy: config.key is a secret")
    assert no_way_back(project, former, target) is no_way_back(without, None, target) is None


def test_text_that_resembles_a_digest_is_no_digest():
    assert not holds_digests({"a": ["secret:x", {"b": "secret"}], "c": 1})
    assert holds_digests({"a": [{"b": digest("x")}]})
    assert resolve_secrets({"a": "secret:x"}, {}, "copy") == {"a": "secret:x"}


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("sasl.password", True),
        ("sasl.jaas.config", True),
        ("ssl.key.password", True),
        ("ssl.key.pem", True),
        ("s3.access-key", False),
        ("s3.secret-key", True),
        ("fs.azure.account.key.team.blob", True),
        ("sasl.username", False),
        ("ssl.ca.location", False),
        ("execution.checkpointing.interval", False),
    ],
)
def test_option_is_secret_by_its_name(name, secret):
    assert is_secret(name) is secret


def test_settings_are_secret_by_their_type():
    assert secret_settings(Config) == {"key", "login", "raw", "several"}


@pytest.mark.parametrize("name", ["key", "login"])
def test_secret_can_not_be_overridden_for_a_run(name):
    project = SimpleNamespace(catalog=SimpleNamespace(job=lambda _name: make()))
    with pytest.raises(ConfigError, match=f"copy: config.{name} is a secret, which can't be overridden for a run"):
        wanted_target(project, "copy", Request(overrides={name: "planted"}), None)


def test_override_that_became_a_secret_still_counts_and_is_reported(tmp_path):
    desired = desire(tmp_path, overrides={"key": "planted-standing", "least": 2})
    assert desired.config.key.get_secret_value() == "planted-standing"
    assert desired.values()["config"]["key"] == digest("planted-standing")
    [words] = override_secret_warnings(Config, {"key": "planted-standing", "least": 2})
    assert words.startswith(
        "config.key is a secret now, and the ledger stores in clear the value that an earlier run gave"
    )
    assert words.endswith("clear the overrides")


def test_secrets_stored_in_clear_by_old_releases_are_shown_as_digests(tmp_path):
    new = desire(tmp_path).values()
    old = {
        **new,
        "options": {**new["options"], "s3.secret-key": "planted-s3"},
        "config": {**new["config"], "key": "planted-key", "login": "planted-whole", "several": ["planted-1"]},
    }
    for changes in (compare_values(old, new, {}), compare_values(new, old, {})):
        assert "planted" not in str(changes)
        # Equal values are no change.
        assert {change.path for change in changes} == {
            *("config.login", "config.login.password", "config.login.user", "config.several"),
        }


def test_secret_known_by_the_settings_model_only_is_shown_as_digest():
    given = {"key": "planted", "login": {"user": "me", "password": "planted"}, "least": 1, "several": ["planted"]}
    assert redact_settings({**given, "raw": None}, Config) == {
        "key": digest("planted"),
        "login": {"user": "me", "password": digest("planted")},
        "least": 1,
        "several": [digest("planted")],
        "raw": None,
    }
    assert redact_settings({"login": "planted", "unknown": 1}, Config) == {"login": digest("planted"), "unknown": 1}
    assert redact_settings({"login": {"pass": "planted"}}, Config) == {"login": {"pass": digest("planted")}}
    resolved = {"options": {"s3.secret-key": "planted", "a": "1"}, "config": {"key": "planted"}}
    assert redact_release(resolved, Config) == {
        "options": {"s3.secret-key": digest("planted"), "a": "1"},
        "config": {"key": digest("planted")},
    }
    assert redact_release(redact_release(resolved, Config), Config) == redact_release(resolved, Config)


@pytest.mark.parametrize(
    "text",
    [
        GIVEN.replace("planted-key", "[planted]"),
        GIVEN.replace("planted-key", "planted-key, more: planted"),
        GIVEN.replace("planted-login", "{of: planted}"),
        GIVEN.replace("sasl.password: planted-kafka", "sasl.password: [planted]"),
        GIVEN.replace("s3.secret-key: planted-s3", "s3.secret-key: [planted]"),
        GIVEN.replace('"http://flink"', '"http://me:planted@flink?x"'),
        GIVEN.replace('url: "http://flink"', 'url: "http://me:planted@flink", connection: x'),
    ],
)
def test_validation_error_and_traceback_show_no_secret(tmp_path, text):
    with pytest.raises(ConfigError) as caught:
        desire(tmp_path, text)
    trace = "".join(traceback.format_exception(caught.value))
    assert "planted" not in trace
