"""Jars that are shipped with a job: another one is another release, which restarts the job."""

from pathlib import Path
from urllib.parse import urlparse

import pytest

from sluice.deployment.jars import jar_digests
from sluice.errors import ConfigError
from sluice.fleet.members import read_members
from sluice.release.jars import store_jars
from tests.support.simulated import JOB


@pytest.fixture
def shipped(simulated):
    """A job that runs with a connector's jar."""
    root = simulated.project.settings.root
    (root / "connector.jar").write_bytes(b"one")
    file = root / "deployments" / "test.yaml"
    url = 'url: "http://flink"'
    assert url in file.read_text()
    file.write_text(file.read_text().replace(url, f"{url}, jars: [connector.jar]"))
    simulated.checkpoint(simulated.deploy().flink_job_id)
    return simulated


def replace(simulated, content):
    (simulated.project.settings.root / "connector.jar").write_bytes(content)


def contents(simulated):
    return [Path(urlparse(url).path).read_bytes() for url in simulated.jars]


def test_the_same_jar_is_no_change(shipped):
    replace(shipped, b"one")
    assert shipped.plan().plan.action == "none"


def test_another_jar_of_the_same_name_restarts_the_job_with_its_state(shipped):
    replace(shipped, b"another")
    plan = shipped.plan().plan
    assert (plan.action, plan.category) == ("redeploy", "state_compatible")
    [change] = plan.changes
    assert (change.path, change.category) == ("jars.connector.jar", "stateless")
    assert shipped.operate().restored_from


def test_one_that_is_gone_is_refused_with_its_name_and_hides_no_job(shipped):
    (shipped.project.settings.root / "connector.jar").unlink()
    with pytest.raises(ConfigError, match=r"flink\.jars: .*connector\.jar can't be read: No such file"):
        shipped.plan()
    [member] = read_members(shipped.project, [JOB], {})
    assert (member.status.state, member.status.drift, member.watched is None) == ("", True, False)


def test_a_release_that_is_gone_back_to_has_its_own(shipped):
    replace(shipped, b"another, broken")
    started = shipped.switch_over(shipped.plan())
    assert contents(shipped) == [b"another, broken"]
    assert shipped.roll_back(started.operation).outcome == "rolled_back"
    assert contents(shipped) == [b"one"]


def test_one_that_is_not_kept_any_more_is_refused(shipped):
    replace(shipped, b"another")
    started = shipped.switch_over(shipped.plan())
    for file in (shipped.project.settings.artifacts / "jars").iterdir():
        if file.read_bytes() == b"one":
            file.unlink()
    back = shipped.roll_back(started.operation)
    assert back.outcome == "failed"
    assert "the jar connector.jar of this release" in back.words


def kept_with(simulated, content):
    return next(
        file for file in (simulated.project.settings.artifacts / "jars").iterdir() if file.read_bytes() == content
    )


def test_a_jar_that_was_replaced_in_the_store_does_not_run(shipped):
    replace(shipped, b"another")
    started = shipped.switch_over(shipped.plan())
    kept_with(shipped, b"one").write_bytes(b"evil")
    back = shipped.roll_back(started.operation)
    assert back.outcome == "failed"
    assert "the jar connector.jar of this release has changed in the store" in back.words
    assert b"evil" not in contents(shipped)


def test_a_jar_of_the_project_replaces_its_altered_copy_in_the_store(tmp_path):
    (tmp_path / "connector.jar").write_bytes(b"one")
    digests = jar_digests(["connector.jar"], tmp_path)
    store = tmp_path / "artifacts"
    store_jars(digests, tmp_path, store)
    [kept] = (store / "jars").iterdir()
    kept.write_bytes(b"bad")
    store_jars(digests, tmp_path, store)
    assert kept.read_bytes() == b"one"
