"""A job whose file was removed: its row says whether it runs, and `sluice forget` removes it from the list."""

import json
from dataclasses import replace
from datetime import timedelta

import httpx
import pytest

from sluice.cli.operations import forget_job
from sluice.errors import BusyError, ChangedError, ConfigError, RefusedError
from sluice.fleet.decision import DecisionInput, decide
from sluice.fleet.members import all_names
from sluice.fleet.page.fleet import read_fleet
from sluice.fleet.status import fleet_status, sweep_and_record
from sluice.flink.client import FlinkClient
from sluice.operation.forget import forget
from sluice.project import Project
from tests.support.answering import answered_by
from tests.unit.fleet.test_status import JOB, cluster, flink_id, place, project  # noqa: F401 - a fixture

GONE = flink_id("ghost")


def job(state="RUNNING", jid=GONE, name="ghost"):
    return {"jid": jid, "name": name, "state": state, "start-time": 1, "tasks": {"total": 1, "running": 1}}


@pytest.fixture
def ghost(project):  # noqa: F811 - the fixture
    """A project whose job `ghost` was started and whose file was removed; it has no other release."""
    place(project, "ghost", "running", "f")
    return project.reread()


def row(project, jobs, name="ghost", unlisted=()):  # noqa: F811
    """The job's row if Flink lists these jobs, and knows unlisted ones by their ids."""
    found = fleet_status(on(project, client_of(*jobs, unlisted=unlisted)))
    return next(each for each in found if each.job == name)


def on(project, flink):  # noqa: F811
    """The project with this client of its cluster."""
    moved = Project(project.settings, ports=replace(project.ports, flink=lambda _access: flink))
    moved.ledger = project.ledger
    return moved


def client_of(*jobs, unlisted=(), status=200, lists=True):
    """A client of a cluster with these jobs, of which it lists those whose JobMasters answer."""
    states = {each["jid"]: each["state"] for each in (*jobs, *unlisted)}

    def answer(request):
        if status != httpx.codes.OK:
            return httpx.Response(status, text="<p>")
        if request.url.path == "/jobs/overview":
            return httpx.Response(200, json={"jobs": list(jobs) if lists else []})
        jid = request.url.path.split("/")[2]
        if jid in states:
            return httpx.Response(200, json={"status": states[jid]})
        return httpx.Response(404, json={"errors": [f"Job {jid} not found"]})

    return FlinkClient("http://flink", exchange=answered_by(answer), pauses=())


def listed(project):  # noqa: F811
    with project.ledger.reading() as session:
        return [each.job for each in read_fleet(session, project.environment, project.settings.root).rows]


@pytest.mark.parametrize(
    ("jobs", "words"),
    [
        ([], "it does not run: Flink does not know its job"),
        ([job("FAILED")], "it does not run: its Flink job is FAILED"),
        (
            [job()],
            "its Flink job still runs: RUNNING, release 1; put the file back, or stop the job: sluice suspend ghost",
        ),
        ([job("RESTARTING")], "its Flink job still runs: RESTARTING"),
    ],
)
def test_row_of_a_removed_job_says_whether_it_runs(ghost, jobs, words):
    found = row(ghost, jobs)
    assert (found.state, found.flink_job_id) == ("removed", GONE)
    assert words in found.reasons[0]
    assert ("sluice forget ghost" in found.reasons[0]) == ("it does not run" in words)
    # Both need a person.
    assert decide(DecisionInput(found, ghost.ledger.placement("ghost").since)).need == "report"


def test_removed_job_is_unknown_while_flink_does_not_answer(ghost):
    [found] = [each for each in fleet_status(ghost) if each.job == "ghost"]
    assert found.reasons[0].startswith("its file was removed; it is not known whether its Flink job runs: ")


def test_removed_job_that_flink_knows_but_does_not_list_is_unknown(ghost):
    found = row(ghost, [], unlisted=[job()])
    assert found.state == "removed"
    assert found.reasons[0].startswith("its file was removed; it is not known whether its Flink job runs: ")
    assert f"does not list Flink job {GONE}, but reports RUNNING for its id" in found.reasons[0]


def test_row_of_a_removed_suspended_job_says_that_it_is_suspended(project):  # noqa: F811
    place(project, "ghost", "suspended", "f")
    found = row(project.reread(), [])
    assert "its file was removed, and it is suspended" in found.reasons[0]
    assert "sluice forget ghost" in found.reasons[0]


def test_forgotten_job_is_not_listed_and_keeps_its_history(ghost, capsys):
    sweep_and_record(ghost)
    assert "ghost" in listed(ghost)
    done = forget(ghost, "ghost", client_of(job("FINISHED")), "me")
    assert (done.release, done.phase, done.flink_job_id) == (1, "running", GONE)
    assert "ghost" not in listed(ghost)
    assert "ghost" not in all_names(ghost)
    assert "ghost" not in {each.status.job for each in sweep_and_record(ghost)}
    assert "ghost" not in listed(ghost)
    assert [each.kind for each in ghost.ledger.operations("ghost")] == ["deploy"]
    with pytest.raises(RefusedError, match="^ghost was forgotten already; its history is kept: sluice history ghost"):
        forget(ghost, "ghost", client_of(), "me")


def test_forgotten_job_is_listed_again_with_its_file_or_next_operation(ghost):
    forget(ghost, "ghost", client_of(), "me")
    file = ghost.settings.root / "flink_jobs" / "ghost.py"
    file.write_text(JOB % "ghost")
    back = ghost.reread()
    found = row(back, [])
    # It should be running: the sweep recovers it from its newest checkpoint.
    assert (found.state, found.phase) == ("gone", "running")
    assert "ghost" in listed(back)
    place(back, "ghost", "running", "f")
    file.unlink()
    assert "ghost" in all_names(back.reread())


def test_flink_job_with_the_name_of_a_forgotten_job_is_undeclared(ghost):
    forget(ghost, "ghost", client_of(), "me")
    assert row(ghost, [job()]).state == "undeclared"


@pytest.mark.parametrize(
    ("client", "words"),
    [
        (client_of(job()), f"its Flink job {GONE} is RUNNING on .*; stop it first: sluice suspend ghost"),
        (client_of(job("RESTARTING")), "is RESTARTING"),
        (client_of(job(jid="b" * 32)), "has this name, and is not in the ledger; cancel it in Flink's UI first"),
        (client_of(job(), lists=False), "its Flink job .* runs on .* omits it from its job list"),
        (client_of(status=503), "a Flink job of it may be running"),
        (client_of(status=404), "a Flink job of it may be running"),
    ],
)
def test_forget_refuses_a_job_that_runs_or_may_run(ghost, client, words):
    with pytest.raises(RefusedError, match=words):
        forget(ghost, "ghost", client, "me")
    assert "ghost" in all_names(ghost)


def test_forget_refuses_while_flink_does_not_answer(ghost):
    with FlinkClient(ghost.flink) as flink, pytest.raises(RefusedError, match="try again once the cluster answers"):
        forget(ghost, "ghost", flink, "me")
    assert "ghost" in all_names(ghost)


@pytest.mark.parametrize("name", ["runs", "broken"])
def test_forget_refuses_a_job_that_has_a_file(ghost, name):
    with pytest.raises(RefusedError, match=f"its file flink_jobs/{name}.py exists"):
        forget(ghost, name, client_of(), "me")


def test_forget_refuses_a_job_that_is_not_in_the_ledger(ghost):
    with pytest.raises(ConfigError, match="the ledger has no job 'nosuch'; it has: ghost, runs, sleeps"):
        forget(ghost, "nosuch", client_of(), "me")


def test_forget_refuses_a_job_with_an_operation_in_progress(ghost):
    ghost.ledger.begin("ghost", kind="suspend", holder="airflow:deploy.ghost/1", release=1)
    with pytest.raises(BusyError):
        forget(ghost, "ghost", client_of(), "me")
    assert "ghost" in all_names(ghost)


def test_forget_refuses_a_job_that_changes_at_the_same_time(ghost):
    seen = ghost.ledger.placement("ghost")
    seen.since -= timedelta(seconds=1)
    with pytest.raises(ChangedError):
        ghost.ledger.forgotten.add(seen)
    assert "ghost" in all_names(ghost)


def test_forget_command_says_that_the_history_is_kept(ghost, capsys):
    forget_job(on(ghost, client_of()), "ghost", json=True)
    printed = capsys.readouterr()
    assert json.loads(printed.out) == {"job": "ghost", "release": 1, "phase": "running", "flink_job_id": GONE}
    assert "ghost was removed from the list; its history is kept: sluice history ghost" in printed.err


def test_suspending_a_removed_job_that_does_not_run_points_to_forget(simulated):
    simulated.deploy()
    (simulated.project.settings.root / "flink_jobs" / "counts.py").unlink()
    simulated.cluster.states.clear()
    with pytest.raises(RefusedError, match="sluice forget counts"):
        simulated.plan(kind="suspend")


def test_deployment_section_of_a_removed_job_is_allowed_and_a_misspelt_one_refused(ghost):
    file = ghost.settings.root / "deployments" / "local.yaml"
    text = file.read_text()
    file.write_text(text + "  ghost: {parallelism: 2}\n")
    (ghost.settings.root / "flink_jobs" / "broken.py").unlink()
    assert {"runs", "ghost"} <= {each.status.job for each in sweep_and_record(ghost.reread())}
    file.write_text(text + "  gost: {parallelism: 2}\n")
    with pytest.raises(ConfigError, match="there is no job 'gost'"):
        fleet_status(ghost.reread())
