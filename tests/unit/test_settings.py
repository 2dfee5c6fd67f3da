"""Where things are: SLUICE_* variables, and what is said of those that can't be used."""

from pathlib import Path

import pytest

from sluice.errors import ConfigError
from sluice.local.layout import Local
from sluice.settings import Settings


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "flink_jobs").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("settings", [Settings, Local])
def test_a_relative_directory_counts_from_where_the_process_was_started(root, monkeypatch, settings):
    monkeypatch.setenv("SLUICE_HOME", "some/../state")
    found = settings()
    monkeypatch.chdir("/")
    assert found.home == root / "state"
    assert found.logs == root / "state" / "logs"


def test_an_empty_variable_is_none(root, monkeypatch):
    monkeypatch.setenv("SLUICE_HOME", "")
    assert Settings().home == root / ".sluice"


@pytest.mark.parametrize(
    ("given", "options"), [("none", ""), ("", "-XX:TieredStopAtLevel=1"), ("-Xlog:gc -Xint", "-Xlog:gc -Xint")]
)
def test_the_jvms_options_can_be_none(root, monkeypatch, given, options):
    monkeypatch.setenv("SLUICE_JAVA_OPTIONS", given)
    assert Local().java_options == options


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("SLUICE_KAFKA_PORT", "abc", r"SLUICE_KAFKA_PORT: input should be a valid integer.*got 'abc'"),
        ("SLUICE_FLINK_RPC_PORT", "70000", r"SLUICE_FLINK_RPC_PORT: input should be less than or equal to 65535"),
    ],
)
def test_a_variable_that_can_not_be_used_is_named(root, monkeypatch, name, value, words):
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=words):
        Local()


def test_so_is_one_of_the_shell_s(root, monkeypatch):
    monkeypatch.setenv("SLUICE_ENVIRONMENT", "No Such")
    with pytest.raises(ConfigError, match=r"SLUICE_ENVIRONMENT: string should match pattern.*got 'No Such'"):
        Settings()
