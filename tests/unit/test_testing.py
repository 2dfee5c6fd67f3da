"""The environment of `sluice.testing.run`; integration tests run pipelines."""

import os
import zipfile
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from sluice import Job, Kafka, Record, testing

MODE = "_python_worker_execution_mode"


class Row(Record):
    at: int


TOPIC = Kafka("rows", record=Row, event_time="at")


@pytest.mark.parametrize("before", [None, "loopback"])
def test_run_starts_python_worker_processes_and_restores_variables(monkeypatch, before):
    monkeypatch.delenv(MODE, raising=False) if before is None else monkeypatch.setenv(MODE, before)
    seen = []
    monkeypatch.setattr(testing, "_run", lambda *_: seen.append(os.environ[MODE]) or {"rows": []})
    job = Job(name="copy", reads={"rows": TOPIC}, writes=Kafka("out", record=Row))
    environment = dict(os.environ)
    assert testing.run(job, rows=[]) == []
    assert seen == ["process"]
    assert dict(os.environ) == environment


@pytest.mark.parametrize(
    "arrival",
    [
        datetime(2026, 1, 1, 12),  # noqa: DTZ001
        "2026-01-01T12:00:00",
        datetime(2026, 1, 1, 12, tzinfo=UTC),
        "2026-01-01T13:00:00+01:00",
    ],
)
def test_arrival_without_a_zone_is_in_utc(monkeypatch, arrival):
    import time

    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        rows = testing._with_arrival(TOPIC, [{"at": 1, "arrival_time": arrival}])
    finally:
        monkeypatch.delenv("TZ")
        time.tzset()
    assert rows == [{"at": 1, "arrival_time": "2026-01-01T12:00:00.000Z"}]


def test_python_workers_get_the_jobs_code_and_the_sdk(tmp_path):
    (tmp_path / "flink_jobs" / "shared").mkdir(parents=True)
    (tmp_path / "flink_jobs" / "shared" / "words.py").touch()
    (tmp_path / "flink_jobs" / "other.py").touch()
    file = tmp_path / "flink_jobs" / "copy.py"
    file.write_text("from flink_jobs.shared import words\n")
    code, sdk = testing._python_files(SimpleNamespace(module="flink_jobs.copy", file=file), tmp_path / "store")
    names = zipfile.ZipFile(code).namelist()
    assert {"flink_jobs/copy.py", "flink_jobs/shared/words.py"} <= set(names)
    assert "flink_jobs/other.py" not in names
    assert "sluice/job/record.py" in zipfile.ZipFile(sdk).namelist()
    # A job that is defined in a test has no project.
    assert testing._python_files(SimpleNamespace(module="test_x", file=file), tmp_path / "store") == ()
