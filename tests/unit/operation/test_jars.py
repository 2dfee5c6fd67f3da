"""Jars that are shipped with a job: a changed jar makes a new release, which restarts the job."""

from pathlib import Path
from urllib.parse import urlparse

import pytest

from sluice.deployment.jars import jar_digests
from sluice.errors import ConfigError
from sluice.fleet.members import read_members
from sluice.release.jars import store_jars
from tests.simulator.simulated import JOB


@pytest.fixture
def shipped(simulated):
    """A running job with a connector's jar."""
    root = simulated.project.settings.root
    (root / "connector.jar").write_bytes(b"one")
    file = root / "deployments" / "test.yaml"
    url = 'url: "http://flink"'
    assert url in file.read_text()
    file.write_text(file.read_text().replace(url, f"{url}, jars: [connector.jar]"))
    simulated.cluster.checkpoint(simulated.deploy().flink_job_id)
    return simulated


def replace(simulated, content):
    (simulated.project.settings.root / "connector.jar").write_bytes(content)


def contents(simulated):
    return [Path(urlparse(url).path).read_bytes() for url in simulated.compiler.jars]


def test_unchanged_jar_is_no_change(shipped):
    replace(shipped, b"one")
    assert shipped.plan().plan.action == "none"


def test_changed_jar_of_the_same_name_restarts_the_job_with_its_state(shipped):
    replace(shipped, b"another")
    plan = shipped.plan().plan
    assert (plan.action, plan.category) == ("redeploy", "state_compatible")
    [change] = plan.changes
    assert (change.path, change.category) == ("jars.connector.jar", "stateless")
    assert shipped.operate().restored_from


def test_missing_jar_is_refused_by_name_and_the_job_stays_listed(shipped):
    (shipped.project.settings.root / "connector.jar").unlink()
    with pytest.raises(ConfigError, match=r"flink\.jars: .*connector\.jar can't be read: No such file"):
        shipped.plan()
    [member] = read_members(shipped.project, [JOB], {})
    assert (member.status.state, member.status.drift, member.watched is None) == ("", True, False)


def test_rollback_uses_the_jars_of_the_former_release(shipped):
    replace(shipped, b"another, broken")
    started = shipped.switch_over(shipped.plan())
    assert contents(shipped) == [b"another, broken"]
    assert shipped.roll_back(started.operation).outcome == "rolled_back"
    assert contents(shipped) == [b"one"]


def test_rollback_fails_if_a_jar_is_missing_in_the_store(shipped):
    replace(shipped, b"another")
    started = shipped.switch_over(shipped.plan())
    for file in (shipped.project.settings.artifacts / "jars").iterdir():
        if file.read_bytes() == b"one":
            file.unlink()
    back = shipped.roll_back(started.operation)
    assert back.outcome == "failed"
    assert "the jar connector.jar of this release" in back.words


def stored_jar(simulated, content):
    return next(
        file for file in (simulated.project.settings.artifacts / "jars").iterdir() if file.read_bytes() == content
    )


def test_rollback_fails_if_a_jar_has_changed_in_the_store(shipped):
    replace(shipped, b"another")
    started = shipped.switch_over(shipped.plan())
    stored_jar(shipped, b"one").write_bytes(b"evil")
    back = shipped.roll_back(started.operation)
    assert back.outcome == "failed"
    assert "the jar connector.jar of this release has changed in the store" in back.words
    assert b"evil" not in contents(shipped)


def test_jar_of_the_project_replaces_an_altered_copy_in_the_store(tmp_path):
    (tmp_path / "connector.jar").write_bytes(b"one")
    digests = jar_digests(["connector.jar"], tmp_path)
    store = tmp_path / "artifacts"
    store_jars(digests, tmp_path, store)
    [kept] = (store / "jars").iterdir()
    kept.write_bytes(b"bad")
    store_jars(digests, tmp_path, store)
    assert kept.read_bytes() == b"one"
