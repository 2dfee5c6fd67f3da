"""A job whose file was removed: its row says what of it runs, and it can be taken off the list."""

import json
from datetime import timedelta

import httpx
import pytest

from sluice.cli.operations import forget_job
from sluice.errors import BusyError, ChangedError, ConfigError, RefusedError
from sluice.fleet.decision import DecisionInput, decide
from sluice.fleet.members import all_names
from sluice.fleet.page.fleet import read_fleet
from sluice.fleet.status import fleet_status, sweep_and_record
from sluice.flink.client import AsyncFlinkClient, FlinkClient
from sluice.flink.models import JobList
from sluice.operation.forget import forget
from sluice.project import Project
from tests.support.answering import answered_by
from tests.unit.fleet.test_status import JOB, flink_id, place, project  # noqa: F401 - a fixture

GONE = flink_id("ghost")


def job(state="RUNNING", jid=GONE, name="ghost"):
    return {"jid": jid, "name": name, "state": state, "start-time": 1, "tasks": {"total": 1, "running": 1}}


@pytest.fixture
def ghost(project):  # noqa: F811 - the fixture
    """A project that has started a job `ghost`, whose file was removed; nothing else of it was ever started."""
    place(project, "ghost", "running", "f")
    return project.reread()


def row(project, monkeypatch, jobs, name="ghost", unlisted=()):  # noqa: F811
    """Its row, where the cluster has these jobs; those that it leaves out of its list it knows by their ids."""

    async def send(_client, _call):
        return JobList.model_validate({"jobs": jobs})

    with monkeypatch.context() as patch:
        patch.setattr(AsyncFlinkClient, "send", send)
        patch.setattr(Project, "flink_at", lambda _project, _url: cluster(*jobs, *unlisted))
        return next(each for each in fleet_status(project) if each.job == name)


def cluster(*jobs, status=200, lists=True):
    """A client of a cluster that has these jobs, and lists them where their JobMasters answer."""
    states = {each["jid"]: each["state"] for each in jobs}

    def answer(request):
        if status != httpx.codes.OK:
            return httpx.Response(status, text="<p>")
        if request.url.path == "/jobs/overview":
            return httpx.Response(200, json={"jobs": list(jobs) if lists else []})
        jid = request.url.path.split("/")[2]
        if jid in states:
            return httpx.Response(200, json={"status": states[jid]})
        return httpx.Response(404, json={"errors": [f"Job {jid} not found"]})

    return FlinkClient("http://flink", exchange=answered_by(answer))


def listed(project):  # noqa: F811
    with project.ledger.reading() as session:
        return [each.job for each in read_fleet(session, project.environment, project.settings.root).rows]


@pytest.mark.parametrize(
    ("jobs", "words"),
    [
        ([], "nothing of it runs: the cluster doesn't know its Flink job"),
        ([job("FAILED")], "nothing of it runs: its Flink job is FAILED"),
        ([job()], "its Flink job runs on: RUNNING, release 1; put the file back, or stop it: sluice suspend ghost"),
        ([job("RESTARTING")], "its Flink job runs on: RESTARTING"),
    ],
)
def test_the_row_of_a_removed_job_says_what_of_it_runs(ghost, monkeypatch, jobs, words):
    found = row(ghost, monkeypatch, jobs)
    assert (found.state, found.flink_job_id) == ("removed", GONE)
    assert words in found.reasons[0]
    assert ("sluice forget ghost" in found.reasons[0]) == ("nothing of it runs" in words)
    # It is for a person either way.
    assert decide(DecisionInput(found, ghost.ledger.placement("ghost").since)).need == "report"


def test_a_removed_job_is_not_said_to_run_where_the_cluster_does_not_answer(ghost):
    [found] = [each for each in fleet_status(ghost) if each.job == "ghost"]
    assert found.reasons[0].startswith("its file was removed; whether its Flink job runs is not known: ")


def test_a_removed_job_that_the_cluster_leaves_out_of_its_list_is_not_said_to_run_nowhere(ghost, monkeypatch):
    found = row(ghost, monkeypatch, [], unlisted=[job()])
    assert found.state == "removed"
    assert found.reasons[0].startswith("its file was removed; whether its Flink job runs is not known: ")
    assert f"leaves Flink job {GONE} out of its list of jobs, and by its id it is RUNNING" in found.reasons[0]


def test_a_removed_job_that_was_suspended_says_so(project, monkeypatch):  # noqa: F811
    place(project, "ghost", "suspended", "f")
    found = row(project.reread(), monkeypatch, [])
    assert "it is suspended, and nothing of it runs" in found.reasons[0]
    assert "sluice forget ghost" in found.reasons[0]


def test_what_was_taken_off_the_list_is_shown_nowhere_and_keeps_its_history(ghost, capsys):
    sweep_and_record(ghost)
    assert "ghost" in listed(ghost)
    done = forget(ghost, "ghost", cluster(job("FINISHED")), "me")
    assert (done.release, done.phase, done.flink_job_id) == (1, "running", GONE)
    assert "ghost" not in listed(ghost)
    assert "ghost" not in all_names(ghost)
    assert "ghost" not in {each.status.job for each in sweep_and_record(ghost)}
    assert "ghost" not in listed(ghost)
    assert [each.kind for each in ghost.ledger.operations("ghost")] == ["deploy"]
    with pytest.raises(RefusedError, match="not on the list any more; its history stays: sluice history ghost"):
        forget(ghost, "ghost", cluster(), "me")


def test_a_forgotten_job_is_back_with_its_file_and_with_its_next_operation(ghost, monkeypatch):
    forget(ghost, "ghost", cluster(), "me")
    file = ghost.settings.root / "flink_jobs" / "ghost.py"
    file.write_text(JOB % "ghost")
    back = ghost.reread()
    found = row(back, monkeypatch, [])
    # It was to run: the sweep brings it back from what it has left.
    assert (found.state, found.phase) == ("gone", "running")
    assert "ghost" in listed(back)
    place(back, "ghost", "running", "f")
    file.unlink()
    assert "ghost" in all_names(back.reread())


def test_a_flink_job_that_comes_up_under_a_forgotten_name_is_one_that_nobody_declares(ghost, monkeypatch):
    forget(ghost, "ghost", cluster(), "me")
    assert row(ghost, monkeypatch, [job()]).state == "undeclared"


@pytest.mark.parametrize(
    ("client", "words"),
    [
        (cluster(job()), f"its Flink job {GONE} is RUNNING on .*; stop it first: sluice suspend ghost"),
        (cluster(job("RESTARTING")), "is RESTARTING"),
        (cluster(job(jid="b" * 32)), "runs under this name on .* not the ledger's; cancel it in Flink's UI first"),
        (cluster(job(), lists=False), "its Flink job .* runs on .* leaves it out of its list"),
        (cluster(status=503), "a Flink job of it may run"),
        (cluster(status=404), "a Flink job of it may run"),
    ],
)
def test_a_job_of_which_something_runs_or_may_run_stays_on_the_list(ghost, monkeypatch, client, words):
    with pytest.raises(RefusedError, match=words):
        forget(ghost, "ghost", client, "me")
    assert "ghost" in all_names(ghost)


def test_a_cluster_that_does_not_answer_keeps_the_job_on_the_list(ghost):
    with FlinkClient(ghost.flink) as flink, pytest.raises(RefusedError, match="ask again once the cluster answers"):
        forget(ghost, "ghost", flink, "me")
    assert "ghost" in all_names(ghost)


@pytest.mark.parametrize("name", ["runs", "broken"])
def test_a_job_that_has_a_file_stays_on_the_list(ghost, name):
    with pytest.raises(RefusedError, match=f"its file flink_jobs/{name}.py is there"):
        forget(ghost, name, cluster(), "me")


def test_a_job_that_the_ledger_does_not_know_can_not_be_forgotten(ghost):
    with pytest.raises(ConfigError, match="the ledger has no job 'nosuch'; it has: ghost, runs, sleeps"):
        forget(ghost, "nosuch", cluster(), "me")


def test_a_job_on_which_an_operation_goes_on_stays_on_the_list(ghost):
    ghost.ledger.begin("ghost", kind="suspend", holder="airflow:deploy.ghost/1", release=1)
    with pytest.raises(BusyError):
        forget(ghost, "ghost", cluster(), "me")
    assert "ghost" in all_names(ghost)


def test_a_job_that_changes_while_it_is_forgotten_stays_on_the_list(ghost):
    seen = ghost.ledger.placement("ghost")
    seen.since -= timedelta(seconds=1)
    with pytest.raises(ChangedError):
        ghost.ledger.forgotten.add(seen)
    assert "ghost" in all_names(ghost)


def test_the_command_says_that_the_history_stays(ghost, monkeypatch, capsys):
    monkeypatch.setattr("sluice.flink.client.FlinkClient", lambda _access: cluster())
    forget_job(ghost, "ghost", json=True)
    printed = capsys.readouterr()
    assert json.loads(printed.out) == {"job": "ghost", "release": 1, "phase": "running", "flink_job_id": GONE}
    assert "ghost is off the list; its history stays: sluice history ghost" in printed.err


def test_suspending_a_removed_job_of_which_nothing_runs_names_the_way_off_the_list(simulated):
    simulated.deploy()
    (simulated.project.settings.root / "flink_jobs" / "counts.py").unlink()
    simulated.states.clear()
    with pytest.raises(RefusedError, match="sluice forget counts"):
        simulated.plan(kind="suspend")


def test_the_section_of_a_removed_job_stops_no_other_job_and_a_misspelt_one_is_refused(ghost):
    file = ghost.settings.root / "deployments" / "local.yaml"
    text = file.read_text()
    file.write_text(text + "  ghost: {parallelism: 2}\n")
    (ghost.settings.root / "flink_jobs" / "broken.py").unlink()
    assert {"runs", "ghost"} <= {each.status.job for each in sweep_and_record(ghost.reread())}
    file.write_text(text + "  gost: {parallelism: 2}\n")
    with pytest.raises(ConfigError, match="there is no job 'gost'"):
        fleet_status(ghost.reread())
