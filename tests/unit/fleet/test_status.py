"""What a sweep of a project writes into the ledger and to disk, and that fleet_status writes nothing."""

import json
import socket
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from sluice.errors import ConfigError
from sluice.fleet.decision import decide
from sluice.fleet.exposition import metrics_file
from sluice.fleet.members import read_members
from sluice.fleet.needs import find_needs, read_decision_inputs
from sluice.fleet.readings import to_sample
from sluice.fleet.reconcile import add_unmanaged_jobs
from sluice.fleet.rows import JobObservation
from sluice.fleet.status import fleet_status, last_snapshots, sweep_and_record
from sluice.flink.client import FlinkClient
from sluice.flink.exchange import NoAnswerError
from sluice.flink.models import JobSummary
from sluice.health.snapshot import Snapshot
from sluice.plan.request import DeployRequest
from sluice.ports import Ports
from sluice.project import Project
from sluice.release.fingerprint import fingerprint
from sluice.settings import Settings
from tests.simulator.job_files import TrustedFiles
from tests.support.brokers import HeldBrokers, HeldTopics
from tests.support.ledgers import new_ledger
from tests.support.placing import Columns

DEPLOYMENT = """
kafka: {config: {bootstrap.servers: "127.0.0.1:1"}}
flink: {url: "http://127.0.0.1:1"}
jobs:
  off: {enabled: false}
"""
JOB = """
from sluice import Job, Record, Kafka
class Row(Record):
    a: int
job = Job(name="%s", reads={"rows": Kafka("in", record=Row)}, writes=Kafka("out", record=Row))
@job.pipeline
def build(rows):
    return rows
"""


def knows_no_job(_method, target, _body):
    """Flink's answer about a job that it doesn't know."""
    return 404, json.dumps({"errors": [f"Job {target.split('/')[2]} not found"]}).encode()


@pytest.fixture
def cluster():
    return Cluster()


@pytest.fixture
def project(tmp_path, monkeypatch, cluster):
    (tmp_path / "flink_jobs").mkdir()
    (tmp_path / "deployments").mkdir()
    (tmp_path / "deployments" / "local.yaml").write_text(DEPLOYMENT)
    for name in ("runs", "sleeps", "off", "fresh"):
        (tmp_path / "flink_jobs" / f"{name}.py").write_text(JOB % name)
    (tmp_path / "flink_jobs" / "broken.py").write_text("1 +")
    ports = Ports(flink=cluster, brokers=HeldBrokers(HeldTopics({}, is_down=True)), file_check=TrustedFiles())
    project = Project(Settings(root=tmp_path, home=tmp_path / "home"), ports=ports)
    new_ledger(project.settings.home)
    place(project, "runs", "running", fingerprint(tmp_path, project.desired("runs")))
    place(project, "sleeps", "suspended", "another")
    return project


class Cluster:
    """Opens clients of a cluster that knows no job.

    Attributes:
        jobs: The jobs that it lists, as Flink's JSON; None: it doesn't list jobs, as if it did not answer.
        happens: Called while it answers the request for the list.
    """

    def __init__(self, jobs=None):
        self.jobs = jobs
        self.happens = lambda: None

    def __call__(self, access):
        return FlinkClient(access, exchange=self.answer, pauses=())

    def answer(self, method, target, body):
        if target != "/jobs/overview":
            return knows_no_job(method, target, body)
        if self.jobs is None:
            raise NoAnswerError("connection refused")
        self.happens()
        return 200, json.dumps({"jobs": self.jobs}).encode()


def flink_id(name):
    return name.encode().hex().ljust(32, "0")


def place(project, name, phase, digest, release=1, flink_job_id=None):
    ledger = project.ledger
    ledger.add_release(name, fingerprint=digest, artifact="a", module="m", resolved={})
    operation = ledger.begin(name, kind="deploy", holder="me", release=release)
    values = {"phase": phase, "release": release, "flink_job_id": flink_job_id or flink_id(name)}
    operation.record("x", "y", transition=Columns(values))
    operation.finish("healthy")


def states(rows):
    return {row.job: (row.state, row.verdict, row.drift) for row in rows}


EXPECTED = {
    "broken": ("broken", "failed", None),
    "fresh": ("not deployed", "unknown", None),
    "off": ("disabled", "unknown", None),
    "runs": ("unreachable", "unknown", False),
    "sleeps": ("suspended", "unknown", True),
}


def test_sweep_is_recorded_and_fleet_status_is_not(project):
    assert states(fleet_status(project)) == EXPECTED
    assert project.ledger.samples.last_sweep() == []
    found = sweep_and_record(project)
    assert states(row.status for row in found) == EXPECTED
    samples = project.ledger.samples.last_sweep()
    assert {sample.job: (sample.state, sample.verdict, sample.drift) for sample in samples} == EXPECTED
    assert "does not answer" in next(sample.reasons[0] for sample in samples if sample.job == "runs")
    # A job that could not be read has no snapshot to compare with.
    assert all(sample.readings is None for sample in samples)
    text = metrics_file(project.settings.home, "local").read_text()
    assert 'sluice_job_verdict{environment="local",job="broken",verdict="failed"} 1.0\n' in text


def test_members_list_topics_without_event_time(project):
    [member] = read_members(project, ["runs"], {})
    assert member.watched.untimed == ("in",)


def test_fleet_status_of_named_jobs_only(project):
    assert states(fleet_status(project, ["sleeps"])) == {"sleeps": EXPECTED["sleeps"]}
    with pytest.raises(ConfigError, match="there is no job 'nosuch'"):
        fleet_status(project, ["nosuch"])


def test_reread_project_sees_a_changed_file(project):
    file = project.settings.root / "deployments" / "local.yaml"
    file.write_text(DEPLOYMENT + "  runs: {parallelism: 1, writes: {partitions: 2}}\n")
    assert states(fleet_status(project, ["runs"]))["runs"][2] is False
    assert states(fleet_status(project.reread(), ["runs"]))["runs"][2] is True


def test_operations_in_the_ledger_decide_together_with_the_row(project):
    """A deploy of the desired state failed a moment ago."""
    file = project.settings.root / "deployments" / "local.yaml"
    file.write_text(DEPLOYMENT + "  runs: {parallelism: 1, writes: {partitions: 2}}\n")
    project = project.reread()
    wanted = fingerprint(project.settings.root, project.desired("runs"))
    project.ledger.add_release("runs", fingerprint=wanted, artifact="a", module="m", resolved={})
    operation = project.ledger.begin("runs", kind="deploy", holder="me", release=2, details={"former_release": 1})
    rows = [replace(row, state="RUNNING", verdict="healthy") for row in fleet_status(project, ["runs"])]

    def decision(minutes=0):
        [case] = read_decision_inputs(project, rows, datetime.now(UTC) + timedelta(minutes=minutes))
        return decide(case)

    assert (decision().need, decision().why) == ("nothing", "an operation is in progress, held by me")
    operation.finish("failed", "no slots")
    assert "after 1 of 6 tries: no slots" in decision().why
    assert decision(minutes=3).need == "redeploy"
    operation = project.ledger.begin("runs", kind="deploy", holder="me", release=2, details={"former_release": 1})
    operation.finish("rolled_back", "no checkpoint")
    assert "which was rolled back: release 2" in decision(minutes=60).why


def test_job_deployed_during_a_sweep_is_shown_as_changing(project, cluster):
    """A deploy begins and ends during the sweep: the list of jobs is from before."""
    cluster.jobs = []
    cluster.happens = lambda: place(project, "runs", "running", "b", release=2, flink_job_id="new")
    [row] = [row for row in fleet_status(project, ["runs"]) if row.job == "runs"]
    assert (row.state, row.verdict, row.release, row.flink_job_id) == ("changing", "unknown", 2, "new")


def test_job_with_operation_in_progress_is_shown_as_changing(project, cluster):
    operation = project.ledger.begin("runs", kind="deploy", holder="me", release=1)
    cluster.jobs = []
    [row] = fleet_status(project, ["runs"])
    assert (row.state, row.reasons[0]) == ("changing", "an operation is in progress, held by me")
    operation.finish("failed")
    [row] = fleet_status(project, ["runs"])
    assert (row.state, row.verdict) == ("gone", "failed")
    # A savepoint does not stop the job.
    project.ledger.begin("runs", kind="savepoint", holder="me", release=1)
    [row] = fleet_status(project, ["runs"])
    assert (row.state, row.verdict) == ("gone", "failed")


@pytest.mark.parametrize("is_gone", [False, True])
def test_lease_of_an_ended_holder_is_not_waited_for(project, cluster, is_gone):
    """The holder died after it had stopped the job, before it started the next one."""
    operation = project.ledger.begin("runs", kind="deploy", holder="me", release=1)
    place = {"phase": "stopped", "release": 1, "flink_job_id": flink_id("runs")}
    operation.record("stop", "stopped", transition=Columns(place))
    cluster.jobs = []
    gone = {"me"}.__contains__ if is_gone else {}.__contains__
    rows = [found.status for found in sweep_and_record(project, "r1", gone) if found.status.job == "runs"]
    [needed] = find_needs(project, rows, print, has_ended=gone)
    assert needed.decision.need == ("recover" if is_gone else "nothing")
    assert needed.request == (DeployRequest() if is_gone else None)
    # The operation for it takes the job's lock at once.
    if is_gone:
        project.ledger.begin("runs", kind="deploy", holder="you", release=1, is_gone=gone)
        assert project.ledger.operation(operation.id).outcome == "abandoned"


def test_operation_of_an_ended_process_does_not_hide_a_failed_job(project, cluster):
    cluster.jobs = []
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    holder = f"shell:me@{socket.gethostname()}:{ended.pid}"
    project.ledger.begin("runs", kind="deploy", holder=holder, release=1)
    [row] = fleet_status(project, ["runs"])
    assert (row.state, row.verdict) == ("gone", "failed")
    [case] = read_decision_inputs(project, [row], datetime.now(UTC))
    assert (case.holder, decide(case).need) == (None, "recover")


def test_job_changed_since_the_sweep_needs_nothing(project):
    rows = [replace(row, state="stopped", phase="stopped") for row in fleet_status(project, ["runs"])]
    [case] = read_decision_inputs(project, rows, datetime.now(UTC))
    assert decide(case).need == "nothing"
    assert decide(replace(case, has_changed=False)).need == "recover"


def test_failure_in_the_previous_run_counts_and_sweeps_by_a_person_do_not(project):
    rows = [replace(row, state="RUNNING", verdict="failed") for row in fleet_status(project, ["runs"])]
    now = datetime.now(UTC)
    remembered = []
    # A person sweeps, a run sweeps twice, a person again, and the next runs.
    for number, run in enumerate((None, "r1", "r1", None, "r2", "r3")):
        at = now - timedelta(minutes=30 - number)
        project.ledger.samples.add(
            [to_sample("local", JobObservation(rows[0]), at, run)], older_than=now - timedelta(days=1)
        )
        remembered += [case.failed_before for case in read_decision_inputs(project, rows, now)]
    assert remembered == [False, False, False, False, True, True]


HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("gaps", "flap_window"),
    [
        ([HOUR, HOUR], 2 * HOUR),
        ([timedelta(minutes=10)] * 2, timedelta(minutes=30)),
        # The DAG was paused once.
        ([100 * HOUR, HOUR], 2 * HOUR),
        ([HOUR, 100 * HOUR], 2 * HOUR),
        # The interval between sweeps isn't known yet.
        ([HOUR], timedelta(minutes=30)),
        ([], timedelta(minutes=30)),
    ],
)
def test_flap_window_grows_with_the_interval_between_sweeps(project, gaps, flap_window):
    """With a fixed window, sweeps an hour apart would never see a failure twice, or a new release."""
    rows = [replace(row, state="RUNNING", verdict="failed") for row in fleet_status(project, ["runs"])]
    at = now = datetime.now(UTC)
    ats = [at, *(at := at - gap for gap in gaps)]
    for number, moment in reversed(list(enumerate(ats))):
        for second in (0, 1):
            looked = moment + timedelta(seconds=second)
            samples = [to_sample("local", JobObservation(rows[0]), looked, f"r{number}")]
            project.ledger.samples.add(samples, older_than=now - timedelta(days=30))
    [case] = read_decision_inputs(project, rows, now)
    assert (case.failed_before, case.flap_window) == (bool(gaps), flap_window)


@pytest.mark.parametrize(("age", "is_compared"), [(HOUR / 2, True), (3 * HOUR, True), (30 * HOUR, True)])
def test_status_is_compared_with_the_last_sweep_however_old(project, age, is_compared):
    now = datetime.now(UTC)
    seen = JobObservation(fleet_status(project, ["runs"])[0], Snapshot(int((now - age).timestamp() * 1000), None))
    project.ledger.samples.add([to_sample("local", seen, now - age, "r1")], older_than=now - 100 * HOUR)
    assert ("runs" in last_snapshots(project)) is is_compared


def test_sample_has_the_run_of_its_sweep(project):
    sweep_and_record(project, "scheduled__1")
    assert {sample.run for sample in project.ledger.samples.last_sweep()} == {"scheduled__1"}
    sweep_and_record(project)
    assert {sample.run for sample in project.ledger.samples.last_sweep()} == {None}


def test_broken_module_of_one_job_does_not_hide_other_jobs(project):
    """A job imports it within its pipeline: its file can be read, but its fingerprint can't be computed."""
    root = project.settings.root
    (root / "flink_jobs" / "fresh.py").write_text(
        JOB.replace("    return rows", "    from flink_jobs import helper\n    return helper.rows(rows)") % "fresh"
    )
    (root / "flink_jobs" / "helper.py").write_text("1 +")
    rows = {row.job: row for row in fleet_status(project.reread(), ["fresh", "runs"])}
    assert (rows["fresh"].state, rows["fresh"].verdict) == ("broken", "failed")
    assert "helper.py" in rows["fresh"].reasons[0]
    assert rows["runs"].drift is False


def test_flink_job_of_a_job_with_a_broken_file_is_not_undeclared(project):
    (project.settings.root / "flink_jobs" / "runs.py").write_text("1 +")
    [member] = read_members(project.reread(), ["runs"], {})
    assert (member.status.state, member.status.release, member.status.phase) == ("broken", 1, "running")
    alone = JobSummary(**{"jid": member.status.flink_job_id, "name": "runs", "state": "RUNNING", "start-time": 1,
                          "tasks": {"total": 1, "running": 1}})  # fmt: skip
    assert add_unmanaged_jobs([JobObservation(member.status)], [alone], is_whole=True) == [
        JobObservation(member.status)
    ]
    # An invalid setting has the same effect.
    (project.settings.root / "flink_jobs" / "runs.py").write_text(JOB % "runs")
    (project.settings.root / "deployments" / "local.yaml").write_text(DEPLOYMENT + "  runs: {parallelism: 0}\n")
    [member] = read_members(project.reread(), ["runs"], {})
    assert (member.status.state, member.status.flink_job_id) == ("broken", alone.id)


def test_undeclared_job_may_have_any_name():
    names = [f"{'insert-into_' * 40}{number}" for number in (1, 2)]
    cluster = [JobSummary(**{"jid": str(number), "name": name, "state": "RUNNING", "start-time": 1,
                             "tasks": {"total": 1, "running": 1}}) for number, name in enumerate(names)]  # fmt: skip
    found = [row.status.job for row in add_unmanaged_jobs([], cluster, is_whole=True)]
    assert [len(name) for name in found] == [255, 255]
    assert found[0] != found[1]
    assert all(name.startswith("insert-into_") for name in found)
