"""Jars that are shipped with a job: another one is another release, which restarts the job."""

import pytest

from sluice.errors import ConfigError
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


def test_one_that_is_gone_is_refused_with_its_name(shipped):
    (shipped.project.settings.root / "connector.jar").unlink()
    with pytest.raises(ConfigError, match=r"flink\.jars: .*connector\.jar can't be read: No such file"):
        shipped.project.desired(JOB)
