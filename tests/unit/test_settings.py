"""The SLUICE_* variables, and the errors for invalid ones."""

import stat
from pathlib import Path

import pytest

from sluice.errors import ConfigError
from sluice.local.layout import Local
from sluice.project import Project
from sluice.settings import Settings, is_this_machine, make_private


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "flink_jobs").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("settings", [Settings, Local])
def test_relative_directory_is_resolved_at_process_start(root, monkeypatch, settings):
    monkeypatch.setenv("SLUICE_HOME", "some/../state")
    found = settings()
    monkeypatch.chdir("/")
    assert found.home == root / "state"
    assert found.logs == root / "state" / "logs"


def test_empty_variable_counts_as_unset(root, monkeypatch):
    monkeypatch.setenv("SLUICE_HOME", "")
    assert Settings().home == root / ".sluice"


@pytest.mark.parametrize(
    ("given", "options"), [("none", ""), ("", "-XX:TieredStopAtLevel=1"), ("-Xlog:gc -Xint", "-Xlog:gc -Xint")]
)
def test_jvm_options_of_the_client_can_be_empty(root, monkeypatch, given, options):
    monkeypatch.setenv("SLUICE_JAVA_OPTIONS", given)
    assert Local().java_options == options


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("SLUICE_KAFKA_PORT", "abc", r"SLUICE_KAFKA_PORT: input should be a valid integer.*got 'abc'"),
        ("SLUICE_FLINK_RPC_PORT", "70000", r"SLUICE_FLINK_RPC_PORT: input should be less than or equal to 65535"),
    ],
)
def test_invalid_variable_is_named(root, monkeypatch, name, value, words):
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=words):
        Local()


def test_invalid_shell_variable_is_named(root, monkeypatch):
    monkeypatch.setenv("SLUICE_ENVIRONMENT", "No Such")
    with pytest.raises(ConfigError, match=r"SLUICE_ENVIRONMENT: string should match pattern.*got 'No Such'"):
        Settings()


def mode(directory: Path) -> int:
    return stat.S_IMODE(directory.stat().st_mode)


@pytest.mark.parametrize("before", [None, 0o755, 0o775])
def test_home_directory_is_accessible_to_its_user_only(root, before):
    home = root / ".sluice"
    if before:
        home.mkdir()
        home.chmod(before)
    assert Project(Settings()).ledger.operations("counts") == []
    assert (home / "ledger.db").is_file()
    assert mode(home) == 0o700


def test_home_shared_by_a_group_stays_accessible_to_the_group_only(root):
    home = root / "shared"
    home.mkdir()
    home.chmod(0o2775)
    make_private(home)
    assert mode(home) == 0o2770


def test_directory_shared_by_all_users_keeps_its_mode(root):
    shared = root / "tmp"
    shared.mkdir()
    shared.chmod(0o1777)
    make_private(shared)
    assert mode(shared) == 0o1777


def test_home_that_can_not_be_created_raises_nothing(root):
    (root / "file").touch()
    make_private(root / "file" / "home")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.0.1", "::1", "[::1]", "a.localhost"])
def test_loopback_hosts_are_this_machine(host):
    assert is_this_machine(host)


@pytest.mark.parametrize("host", ["flink", "10.0.0.1", "0.0.0.0", "127.0.0.1.example.org", "localhost.example.org", ""])
def test_other_hosts_are_not_this_machine(host):
    assert not is_this_machine(host)
