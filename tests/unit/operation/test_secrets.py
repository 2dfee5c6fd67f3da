"""Settings that become secret, or stop being secret, between two deploys."""

import pytest

from sluice.deployment.secrets import digest
from sluice.errors import ConfigError, RefusedError
from sluice.fleet.members import read_members
from sluice.fleet.needs import read_decision_inputs
from sluice.plan.approval import beyond
from sluice.release.fingerprint import fingerprint
from tests.simulator.simulated import JOB
from tests.support.ledgers import NOW
from tests.support.windowed import source

LEAST = "    least: "


def written(setting):
    """The job's file with another setting."""
    return source(JOB).replace(LEAST, f"    {setting}\n{LEAST}", 1).replace("import Field", "import Field, SecretStr")


def values(simulated, **config):
    simulated.lab.deployment(f"jobs: {{{JOB}: {{config: {{{', '.join(f'{n}: {v}' for n, v in config.items())}}}}}}}")


@pytest.fixture
def renamed(simulated):
    """A job that runs with the setting `password`, which the files now call `db_password`."""
    simulated.rewrite(written("password: SecretStr | None = None"))
    values(simulated, password="planted")
    simulated.cluster.checkpoint(simulated.deploy().flink_job_id)
    simulated.rewrite(written("db_password: SecretStr | None = None"))
    values(simulated, db_password="planted")
    return simulated


def test_deploy_without_a_way_back_needs_an_approval(renamed):
    plan = renamed.plan().plan
    assert (plan.action, plan.category, plan.needs_approval) == ("redeploy", "state_compatible", True)
    assert plan.no_way_back.startswith("no way back to release 1, should this one fail: counts: config.password")
    assert plan.no_way_back in plan.reasons
    with pytest.raises(RefusedError, match="counts: a person has to approve this: no way back to release 1"):
        renamed.operate()
    assert (renamed.place.phase, renamed.place.release, len(renamed.cluster.running_jobs())) == ("running", 1, 1)


def test_deploy_without_a_way_back_is_carried_out_with_an_approval(renamed):
    renamed.deploy(approved=True)
    assert renamed.place.release == 2
    assert renamed.ledger.operations(JOB)[0].approved_by == "me"


def test_approval_of_a_plan_with_a_way_back_does_not_cover_one_without(renamed):
    plan = renamed.plan().plan
    assert beyond(plan, plan) == []
    assert beyond(plan, plan.model_copy(update={"no_way_back": None})) == [plan.no_way_back]


def test_restart_of_a_failed_job_without_a_way_back_needs_no_approval(renamed):
    renamed.cluster.states[renamed.place.flink_job_id] = "FAILED"
    plan = renamed.plan().plan
    assert (plan.action, plan.needs_approval, plan.no_way_back) == ("recover", False, None)


def test_deploy_with_a_way_back_needs_no_approval(renamed):
    values(renamed, db_password="planted")
    renamed.rewrite(written("db_password: SecretStr | None = None\n    password: SecretStr | None = None"))
    values(renamed, db_password="planted", password="planted-anew")
    plan = renamed.plan().plan
    assert (plan.action, plan.needs_approval, plan.no_way_back) == ("redeploy", False, None)


@pytest.fixture
def overridden(simulated):
    """A job that runs with an overridden key, which its file now declares as a secret."""
    simulated.rewrite(written('key: str = "none"'))
    simulated.cluster.checkpoint(simulated.deploy(overrides={"key": "planted", "least": 1}).flink_job_id)
    simulated.rewrite(written("key: SecretStr | None = None"))
    return simulated


def test_override_of_a_setting_that_became_secret_stays_valid_and_hidden(overridden):
    planned = overridden.plan()
    assert planned.target.desired.config.key.get_secret_value() == "planted"
    assert any("config.key is a secret now" in reason for reason in planned.plan.reasons)
    assert planned.plan.overrides == {"key": digest("planted"), "least": 1}
    assert "planted" not in planned.plan.model_dump_json()
    # The job is run with it, too: the deployment file has no key.
    target = planned.target
    assert overridden.project.resolve_secrets(JOB, target.resolved, target.overrides)["config"]["key"] == "planted"
    overridden.deploy()
    assert "planted" not in str(overridden.ledger.operations(JOB)[0].plan)
    # It applies to later deploys until it is cleared.
    assert overridden.plan().plan.action == "none"
    assert overridden.plan(clear_overrides=True).plan.overrides == {}


def test_override_of_a_setting_that_became_secret_can_be_cleared(overridden):
    overridden.deploy()
    values(overridden, key="planted-in-the-file", least=1)
    cleared = overridden.plan(clear_overrides=True)
    assert (cleared.plan.overrides, cleared.plan.reasons, cleared.plan.needs_approval) == ({}, (), False)
    assert cleared.target.desired.config.key.get_secret_value() == "planted-in-the-file"


def test_new_override_of_a_secret_is_refused(overridden):
    with pytest.raises(ConfigError, match="config.key is a secret, which can't be overridden for a run"):
        overridden.plan(overrides={"key": "planted"})


def test_rollback_plan_hides_an_override_that_became_secret(overridden):
    overridden.deploy()
    plan = overridden.plan(kind="rollback", target_release=1).plan
    assert plan.overrides == {"key": digest("planted"), "least": 1}
    assert "planted" not in plan.model_dump_json()


def test_sweep_reports_an_override_that_became_secret_and_uses_its_value(overridden):
    overridden.deploy()
    [member] = read_members(overridden.project, [JOB], {})
    status = member.status
    assert (status.state, status.drift) == ("", False)
    assert status.overrides == {"key": digest("planted"), "least": 1}
    [words] = status.reasons
    assert words.startswith("config.key is a secret now")
    [case] = read_decision_inputs(overridden.project, [status], NOW)
    project = overridden.project
    desired = project.desired(JOB, {"key": "planted", "least": 1})
    assert case.fingerprint == fingerprint(project.settings.root, desired)


def test_cleared_override_that_became_secret_is_shown_as_a_digest(overridden):
    plan = overridden.plan(clear_overrides=True).plan
    [change] = [change for change in plan.changes if change.path == "config.key"]
    assert (change.old, change.new) == (digest("planted"), None)
