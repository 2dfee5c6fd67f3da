"""Settings that become secrets, or are secrets no longer, between two deploys."""

import pytest

from sluice.deployment.secrets import digest
from sluice.errors import ConfigError, RefusedError
from sluice.fleet.members import read_members
from sluice.fleet.needs import read_decision_inputs
from sluice.plan.approval import beyond
from sluice.release.fingerprint import fingerprint
from tests.support.ledgers import NOW
from tests.support.simulated import JOB
from tests.support.windowed import source

LEAST = "    least: "


def written(setting):
    """The job's file with one more setting."""
    return source(JOB).replace(LEAST, f"    {setting}\n{LEAST}", 1).replace("import Field", "import Field, SecretStr")


def values(simulated, **config):
    simulated.lab.deployment(f"jobs: {{{JOB}: {{config: {{{', '.join(f'{n}: {v}' for n, v in config.items())}}}}}}}")


@pytest.fixture
def renamed(simulated):
    """A job that runs with `password`, of which the files make `db_password`."""
    simulated.rewrite(written("password: SecretStr | None = None"))
    values(simulated, password="planted")
    simulated.checkpoint(simulated.deploy().flink_job_id)
    simulated.rewrite(written("db_password: SecretStr | None = None"))
    values(simulated, db_password="planted")
    return simulated


def test_what_can_not_be_gone_back_from_needs_an_approval(renamed):
    plan = renamed.plan().plan
    assert (plan.action, plan.category, plan.needs_approval) == ("redeploy", "state_compatible", True)
    assert plan.no_way_back.startswith("no way back to release 1, should this one fail: counts: config.password")
    assert plan.no_way_back in plan.reasons
    with pytest.raises(RefusedError, match="counts: a person has to approve this: no way back to release 1"):
        renamed.operate()
    assert (renamed.place.phase, renamed.place.release, len(renamed.alive())) == ("running", 1, 1)


def test_with_an_approval_it_is_done(renamed):
    renamed.deploy(approved=True)
    assert renamed.place.release == 2
    assert renamed.ledger.operations(JOB)[0].approved_by == "me"


def test_an_approval_of_a_plan_with_a_way_back_does_not_cover_one_without(renamed):
    plan = renamed.plan().plan
    assert beyond(plan, plan) == []
    assert beyond(plan, plan.model_copy(update={"no_way_back": None})) == [plan.no_way_back]


def test_a_job_that_is_down_is_not_kept_waiting_for_an_approval(renamed):
    renamed.states[renamed.place.flink_job_id] = "FAILED"
    plan = renamed.plan().plan
    assert (plan.action, plan.needs_approval, plan.no_way_back) == ("recover", False, None)


def test_with_a_way_back_nobody_is_asked(renamed):
    values(renamed, db_password="planted")
    renamed.rewrite(written("db_password: SecretStr | None = None\n    password: SecretStr | None = None"))
    values(renamed, db_password="planted", password="planted-anew")
    plan = renamed.plan().plan
    assert (plan.action, plan.needs_approval, plan.no_way_back) == ("redeploy", False, None)


@pytest.fixture
def standing(simulated):
    """A job that runs with a key that a run gave; the files say now that it is a secret."""
    simulated.rewrite(written('key: str = "none"'))
    simulated.checkpoint(simulated.deploy(overrides={"key": "planted", "least": 1}).flink_job_id)
    simulated.rewrite(written("key: SecretStr | None = None"))
    return simulated


def test_what_a_run_gave_before_it_was_a_secret_does_not_break_its_job(standing):
    planned = standing.plan()
    assert planned.target.desired.config.key.get_secret_value() == "planted"
    assert any("config.key is a secret now" in reason for reason in planned.plan.reasons)
    assert planned.plan.overrides == {"key": digest("planted"), "least": 1}
    assert "planted" not in planned.plan.model_dump_json()
    # It is what the job is run with, too: the deployment file gives none.
    target = planned.target
    assert standing.project.resolve_secrets(JOB, target.resolved, target.overrides)["config"]["key"] == "planted"
    standing.deploy()
    assert "planted" not in str(standing.ledger.operations(JOB)[0].plan)
    # It holds for the deploys to come, until it is taken back.
    assert standing.plan().plan.action == "none"
    assert standing.plan(clear_overrides=True).plan.overrides == {}


def test_it_is_taken_back_by_clearing_former_overrides(standing):
    standing.deploy()
    values(standing, key="planted-in-the-file", least=1)
    cleared = standing.plan(clear_overrides=True)
    assert (cleared.plan.overrides, cleared.plan.reasons, cleared.plan.needs_approval) == ({}, (), False)
    assert cleared.target.desired.config.key.get_secret_value() == "planted-in-the-file"


def test_what_is_given_anew_is_refused(standing):
    with pytest.raises(ConfigError, match="config.key is a secret, which can't be overridden for a run"):
        standing.plan(overrides={"key": "planted"})


def test_a_rollback_shows_nothing_of_it_either(standing):
    standing.deploy()
    plan = standing.plan(kind="rollback", to=1).plan
    assert plan.overrides == {"key": digest("planted"), "least": 1}
    assert "planted" not in plan.model_dump_json()


def test_a_sweep_reports_it_and_judges_the_job_by_its_true_value(standing):
    standing.deploy()
    [member] = read_members(standing.project, [JOB], {})
    status = member.status
    assert (status.state, status.drift) == ("", False)
    assert status.overrides == {"key": digest("planted"), "least": 1}
    [words] = status.reasons
    assert words.startswith("config.key is a secret now")
    [case] = read_decision_inputs(standing.project, [status], NOW)
    project = standing.project
    desired = project.desired(JOB, {"key": "planted", "least": 1})
    assert case.fingerprint == fingerprint(project.settings.root, desired)


def test_a_setting_of_before_that_is_none_today_is_not_shown(standing):
    plan = standing.plan(clear_overrides=True).plan
    [change] = [change for change in plan.changes if change.path == "config.key"]
    assert (change.old, change.new) == (digest("planted"), None)
