"""The jars and the configuration of the local cluster."""

from pathlib import Path

import pytest

from sluice.local import flink
from sluice.local.layout import Local


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Local:
    """A stack whose Flink distribution has two jars."""
    distribution = tmp_path / "distribution"
    for name in ("lib/flink-dist.jar", "opt/flink-python-2.jar", "conf/log4j-console.properties"):
        (distribution / name).parent.mkdir(parents=True, exist_ok=True)
        (distribution / name).touch()
    (distribution / "conf" / "logback-console.xml").touch()
    (distribution / "conf" / "config.yaml").write_text("env: {java: {opts: {all: --add-opens}}}\n")
    monkeypatch.setattr(flink, "distribution", lambda: distribution)
    return Local(root=tmp_path, home=tmp_path / "home", jars=tmp_path / "jars")


def test_jars_are_linked_and_a_users_own_jars_stay(local):
    lib = flink.gather_jars(local)
    (lib / "mine.jar").touch()
    (lib / "old.jar").symlink_to("gone.jar")
    flink.gather_jars(local)
    assert sorted(file.name for file in lib.iterdir()) == ["flink-dist.jar", "flink-python-2.jar", "mine.jar"]


@pytest.mark.parametrize("change", [{"flink_port": 8091}, {"java_options": "-Xint"}])
def test_a_changed_configuration_changes_the_service(local, change):
    def services(local):
        return [(service.command, service.variables) for service in flink.prepare(local)]

    before = services(local)
    assert services(local) == before
    changed = services(local.model_copy(update=change))
    assert all(now != then for now, then in zip(changed, before, strict=True))
