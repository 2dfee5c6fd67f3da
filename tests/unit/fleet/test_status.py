"""What a sweep of a project leaves in the ledger and on the disk, and what a look leaves alone."""

import pytest

from sluice.errors import ConfigError
from sluice.fleet.exposition import metrics_file
from sluice.fleet.status import fleet_status, sweep_and_record
from sluice.flink import client as client_module
from sluice.project import Project
from sluice.release.fingerprint import fingerprint
from sluice.settings import Settings

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


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.setattr(client_module, "_PAUSES", ())
    (tmp_path / "flink_jobs").mkdir()
    (tmp_path / "deployments").mkdir()
    (tmp_path / "deployments" / "local.yaml").write_text(DEPLOYMENT)
    for name in ("runs", "sleeps", "off", "fresh"):
        (tmp_path / "flink_jobs" / f"{name}.py").write_text(JOB % name)
    (tmp_path / "flink_jobs" / "broken.py").write_text("1 +")
    project = Project(Settings(root=tmp_path, home=tmp_path / "home"))
    monkeypatch.setattr("sluice.kafka.brokers.TIMEOUT", 0.2)
    monkeypatch.setattr("sluice.kafka.offsets.TIMEOUT", 0.2)
    place(project, "runs", "running", fingerprint(tmp_path, project.desired("runs")))
    place(project, "sleeps", "suspended", "another")
    return project


def place(project, name, phase, digest):
    ledger = project.ledger
    ledger.add_release(name, fingerprint=digest, artifact="a", module="m", resolved={})
    operation = ledger.begin(name, kind="deploy", holder="me", release=1)
    operation.record("x", "y", place={"phase": phase, "release": 1, "flink_job_id": name.ljust(32, "0")})
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


def test_a_sweep_is_recorded_and_a_look_is_not(project):
    assert states(fleet_status(project)) == EXPECTED
    assert project.ledger.samples.last_sweep() == []
    found = sweep_and_record(project)
    assert states(row.status for row in found) == EXPECTED
    samples = project.ledger.samples.last_sweep()
    assert {sample.job: (sample.state, sample.verdict, sample.drift) for sample in samples} == EXPECTED
    assert "does not answer" in next(sample.reasons[0] for sample in samples if sample.job == "runs")
    # What could not be read is nothing to compare with.
    assert all(sample.readings is None for sample in samples)
    text = metrics_file(project.settings.home, "local").read_text()
    assert 'sluice_job_verdict{environment="local",job="broken",verdict="failed"} 1\n' in text


def test_some_jobs_are_looked_at_alone(project):
    assert states(fleet_status(project, ["sleeps"])) == {"sleeps": EXPECTED["sleeps"]}
    with pytest.raises(ConfigError, match="there is no job 'nosuch'"):
        fleet_status(project, ["nosuch"])


def test_a_changed_file_is_seen_by_the_project_read_again(project):
    file = project.settings.root / "deployments" / "local.yaml"
    file.write_text(DEPLOYMENT + "  runs: {parallelism: 1, writes: {partitions: 2}}\n")
    assert states(fleet_status(project, ["runs"]))["runs"][2] is False
    assert states(fleet_status(project.reread(), ["runs"]))["runs"][2] is True
