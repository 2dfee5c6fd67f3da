"""A job's page: releases and their differences, operations, savepoints, replays, timelines."""

import time
from datetime import timedelta

import pytest

from sluice.deployment.secrets import digest
from sluice.errors import OperationError
from sluice.fleet.page.desired import read_deployed_release, read_desired
from sluice.fleet.page.difference import LONGEST, compare_files, read_difference
from sluice.fleet.page.job import read_job
from sluice.fleet.page.timeline import POINTS, read_timeline
from sluice.ledger.chunk_scheduling import ChunkLimits
from sluice.settings import Settings
from tests.support.ledgers import NOW, Past, new_ledger, somebody_writes


@pytest.fixture
def url(tmp_path):
    return new_ledger(tmp_path / ".sluice")


@pytest.fixture
def past(tmp_path, url):
    return Past(tmp_path, url)


def view(past, job="counts"):
    with past.ledger.reading() as session:
        return read_job(session, "test", past.root, job)


def timeline(past, hours=24, job="counts"):
    with past.ledger.reading() as session:
        return read_timeline(session, "test", job, NOW - timedelta(hours=hours), NOW + timedelta(hours=1))


def difference(past, *numbers, job="counts"):
    with past.ledger.reading() as session:
        return read_difference(session, "test", job, numbers, past.store)


def test_unknown_job_has_no_page(past):
    assert view(past) is None


def test_page_of_a_job_that_was_never_deployed(past):
    past.sweep(-1, counts={"state": "not deployed", "release": None})
    found = view(past)
    assert (found.phase, found.limits, found.releases, found.operations) == (None, None, (), ())


def test_page_shows_releases_and_which_one_runs(past):
    past.deploy("counts")
    past.deploy("counts", "x = 2\n", overrides={"least": 2})
    found = view(past)
    assert [(release.number, release.runs) for release in found.releases] == [(2, True), (1, False)]
    assert found.overrides == {"least": 2}
    assert (found.limits.consumer_lag, found.limits.watermark_lag_ms) == (500, 60_000)


def test_page_shows_an_operation_with_its_stages(past):
    past.deploy("counts", plan={"action": "start", "category": "state_compatible"}, mode="savepoint")
    [operation] = view(past).operations
    assert (operation.kind, operation.outcome, operation.action, operation.downtime_ms) == (
        "deploy",
        "healthy",
        "start",
        640,
    )
    assert [(stage.stage, stage.events) for stage in operation.stages] == [
        ("prepare", ("ready",)),
        ("start", ("submitted",)),
    ]
    assert all(0 <= stage.ms < 60_000 for stage in operation.stages)


def test_page_marks_the_savepoint_in_use(past):
    past.deploy("counts", place={"restored_from": "file:///s/2"})
    handle = past.ledger.begin("counts", kind="deploy", holder="me", release=1)
    for path in ("file:///s/1", "file:///s/2"):
        handle.add_savepoint(path, release=1, flink_job_id="f")
    assert [(each.path, each.in_use) for each in view(past).savepoints] == [
        ("file:///s/2", True),
        ("file:///s/1", False),
    ]


def test_page_shows_replays_with_the_states_of_their_chunks(past):
    past.deploy("counts")
    plan = {"start": "2026-01-01T00:00:00Z", "end": "2026-01-02T00:00:00Z", "outputs": {"counts": "there"}}
    past.ledger.replays.add("r1", "counts", "me", 1, plan, ["a", "b", "c"], None)
    assert past.ledger.replays.claim("r1", 1, "me", ChunkLimits(1, 1))
    past.ledger.replays.chunk_ended("r1", 1, "finished", flink_job_id=None, records=5)
    [replay] = view(past).replays
    assert (replay.start, replay.chunks) == ("2026-01-01T00:00:00Z", {"finished": 1, "waiting": 2})


def test_difference_between_two_releases(past):
    past.deploy("counts", "a = 1\nb = 2\n", config={"window": "10s"})
    past.deploy("counts", "a = 1\nb = 3 # <script>alert(1)</script>\n", config={"window": "30s"})
    found = difference(past, 1, 2)
    assert [(each.path, each.old, each.new) for each in found.settings] == [("config.window", "10s", "30s")]
    [file] = found.files
    assert (file.name, file.change) == ("flink_jobs/counts.py", "changed")
    # Unchanged, as in the file: the page shows it as text.
    assert "+b = 3 # <script>alert(1)</script>" in file.lines
    assert difference(past, 0, 1).old == "nothing"


def test_difference_refuses_an_unknown_release(past):
    past.deploy("counts")
    with pytest.raises(OperationError, match="counts: the ledger has no release 7"):
        difference(past, 1, 7)


def test_difference_without_artifact_still_shows_settings(past):
    past.deploy("counts", "a = 1\n", config={"window": "10s"})
    past.deploy("counts", "a = 2\n", config={"window": "30s"})
    for file in past.store.glob("*.zip"):
        file.unlink()
    found = difference(past, 1, 2)
    assert len(found.settings) == 1
    assert found.files == ()
    assert "the code can't be shown" in found.code


def test_difference_shows_added_and_removed_files():
    found = compare_files({"gone": b"1\n", "same": b"1\n"}, {"same": b"1\n", "new": b"\xff\n"})
    assert [(file.name, file.change) for file in found] == [("gone", "removed"), ("new", "added")]
    [long] = compare_files({}, {"long": b"1\n" * (LONGEST + 50)})
    assert (len(long.lines), long.left_out) == (LONGEST, 51)


def test_timeline_marks_operations_and_verdict_changes(past):
    past.deploy("counts")
    past.deploy("counts", outcome="unchanged")
    for minutes, verdict in ((-30, "healthy"), (-20, "degraded"), (-10, "degraded"), (0, "healthy")):
        past.sweep(minutes, counts={"verdict": verdict, "consumer_lag": 100 + minutes})
    found = timeline(past)
    assert found.consumer_lag == (70, 80, 90, 100)
    assert found.at[-1] == NOW.timestamp()
    words = [mark.words for mark in found.marks]
    assert sorted(words) == ["degraded → healthy", "deploy of release 1: healthy, 0.6 s down", "healthy → degraded"]
    assert [span.verdict for span in found.verdicts] == ["healthy", "degraded", "healthy"]
    assert found.verdicts[1].until - found.verdicts[1].since == 20 * 60


def test_timeline_of_many_samples_shows_the_worst_of_each_group(past):
    for minute in range(POINTS + 200):
        past.sweep(-minute, counts={"consumer_lag": 9_000 if minute == 33 else 1, "checkpoint_age_ms": None})
    found = timeline(past)
    assert found.samples == POINTS + 200
    assert POINTS / 2 < len(found.at) <= POINTS
    assert max(found.consumer_lag) == 9_000
    assert set(found.checkpoint_age_ms) == {None}
    assert list(found.at) == sorted(found.at)


def test_timeline_of_a_span_without_samples(past):
    past.sweep(-600, counts={})
    found = timeline(past, hours=1)
    assert (found.at, found.verdicts, found.marks) == ((), (), ())


SOURCE = """
from pydantic import Field
from sluice.job.config import JobConfig
from sluice.job.definition import Job
from sluice.job.record import Record
from sluice.job.topic import Kafka

class Line(Record):
    text: str

class Config(JobConfig):
    least: int = Field(default={least}, ge=1)

LINES = Kafka("lines", record=Line)
job = Job(name="counts", config=Config, reads={{"lines": LINES}}, writes=Kafka("out", record=Line))

@job.pipeline
def build(lines, config):
    return lines
"""


def settings(past):
    (past.root / "deployments").mkdir(exist_ok=True)
    (past.root / "deployments" / "test.yaml").write_text(
        "kafka: {config: {bootstrap.servers: 'nowhere:1'}}\nflink: {url: 'http://nowhere:1'}\n"
    )
    return Settings(root=past.root, environment="test", ledger=past.url)


def compared_with_files(past, given):
    with past.ledger.reading() as session:
        deployed = read_deployed_release(session, "test", "counts")
    return read_desired(given, deployed)


def test_desired_difference_reads_the_present_files(past):
    file = past.root / "flink_jobs" / "counts.py"
    file.write_text(SOURCE.format(least=1))
    given = settings(past)
    past.deploy("counts", SOURCE.format(least=1), config={"least": 1})
    first = compared_with_files(past, given)
    assert "config.least" not in [each.path for each in first.settings]
    assert [each.name for each in first.files if each.change == "changed"] == []
    file.write_text(SOURCE.format(least=2))
    second = compared_with_files(past, given)
    assert ("config.least", 1, 2) in [(each.path, each.old, each.new) for each in second.settings]
    assert "flink_jobs/counts.py" in [each.name for each in second.files]


def test_files_that_cannot_be_compared_give_the_reason(past):
    given = settings(past)
    with pytest.raises(OperationError, match="counts was never deployed"):
        compared_with_files(past, given)
    past.deploy("counts")
    (past.root / "flink_jobs" / "counts.py").write_text("1 +\n")
    with pytest.raises(OperationError, match="its files can't be compared: .*SyntaxError"):
        compared_with_files(past, given)


def test_files_are_compared_while_a_transaction_writes_to_the_ledger(past):
    (past.root / "flink_jobs" / "counts.py").write_text(SOURCE.format(least=1))
    given = settings(past)
    past.deploy("counts", SOURCE.format(least=1), config={"least": 1})
    with somebody_writes(past.url):
        began = time.monotonic()
        compared_with_files(past, given)
        # A reader that waited for the writer would wait for 30 seconds.
        assert time.monotonic() - began < 25


ENVIRON = """
import os
import pathlib
pathlib.Path(__file__).with_name("seen.txt").write_text("\\n".join(sorted(os.environ)))
"""


def test_job_code_read_for_the_page_sees_no_secret_of_the_server(past, monkeypatch):
    (past.root / "flink_jobs" / "counts.py").write_text(ENVIRON + SOURCE.format(least=1))
    past.deploy("counts", config={"least": 1})
    given = settings(past)
    file = past.root / "deployments" / "test.yaml"
    file.write_text(
        file.read_text() + "jobs: {counts: {config: {least: '${LEAST}'}}}  # not ${AIRFLOW__CORE__FERNET_KEY}\n"
    )
    never = ("AIRFLOW__API_AUTH__JWT_SECRET", "AIRFLOW__CORE__FERNET_KEY", "AIRFLOW_CONN_KAFKA_DEFAULT")
    for name in (*never, "SLUICE_LEDGER", "CLOUD_TOKEN", "SLUICE_PREPARE_TIMEOUT", "LEAST"):
        monkeypatch.setenv(name, "7")
    found = compared_with_files(past, given)
    assert ("config.least", 1, 7) in [(each.path, each.old, each.new) for each in found.settings]
    seen = (past.root / "flink_jobs" / "seen.txt").read_text().splitlines()
    assert {"LEAST", "SLUICE_PREPARE_TIMEOUT", "SLUICE_ROOT", "PATH"} <= set(seen)
    assert not {*never, "SLUICE_LEDGER", "CLOUD_TOKEN"}.intersection(seen)


SECRET = SOURCE.replace("import Field", "import Field, SecretStr").replace(
    "    least:", "    key: SecretStr | None = None\n    least:"
)


def test_setting_that_became_a_secret_is_shown_nowhere(past):
    past.deploy("counts", "a = 1\n", config={"key": "planted-1"}, overrides={"key": "planted-1", "least": 3})
    past.deploy("counts", "a = 2\n", config={"key": "planted-2"})
    past.deploy("counts", "a = 3\n", config={"key": digest("planted-3")}, overrides={"key": "planted-3"})
    found = view(past)
    assert "planted" not in found.model_dump_json()
    assert found.releases[-1].overrides == {"key": digest("planted-1"), "least": 3}
    for numbers in ((1, 2), (2, 3), (0, 1)):
        assert "planted" not in difference(past, *numbers).model_dump_json()


def test_setting_that_is_a_secret_in_the_files_only_is_not_shown(past):
    (past.root / "flink_jobs" / "counts.py").write_text(SECRET.format(least=1))
    past.deploy("counts", "a = 1\n", config={"key": "planted-1", "least": 1})
    found = compared_with_files(past, settings(past))
    assert "planted" not in found.model_dump_json()
    assert ("config.key", digest("planted-1"), None) in [(each.path, each.old, each.new) for each in found.settings]
