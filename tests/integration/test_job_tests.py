"""Tests of jobs as users write them, by pytest in a process of its own: a new job's, and `sluice.testing`."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sluice.cli.scaffold import write_job
from tests.integration import sources
from tests.support.stacks import ROOT

TWO_SINKS = """
from datetime import datetime
from sluice import Duration, Job, JobConfig, Kafka, Record, interval
from datetime import timedelta

class Line(Record):
    id: str
    at: int

class Config(JobConfig):
    window: Duration = timedelta(minutes=1)

class Count(Record):
    window_start: datetime
    lines: int

class Copy(Record):
    id: str

job = Job(
    name="two_sinks",
    config=Config,
    reads={"lines": Kafka("lines", record=Line, event_time="at")},
    writes={"counts": Kafka("counts", record=Count), "copies": Kafka("copies", record=Copy)},
)

@job.pipeline
def build(lines, t_env, config):
    from pyflink.table.expressions import col
    counts = t_env.sql_query(f\"\"\"
        SELECT window_start, COUNT(*) AS lines
        FROM TABLE(TUMBLE(TABLE lines, DESCRIPTOR(event_time), {interval(config.window)}))
        GROUP BY window_start, window_end
    \"\"\")
    return {"counts": counts, "copies": lines.select(col("id"))}
"""
TESTS = r"""
from datetime import UTC, datetime, timedelta

import pytest

from flink_jobs.two_sinks import job
from sluice.errors import ConfigError
from sluice.testing import run

START = datetime(2026, 1, 1, tzinfo=UTC)

def line(second, **more):
    return {"id": f"l{second}", "at": int((START + timedelta(seconds=second)).timestamp() * 1000), **more}

def test_several_sinks_are_a_dict_and_settings_are_arguments():
    rows = run(job, lines=[line(1), line(12), line(13)], window="10s")
    assert sorted(row["id"] for row in rows["copies"]) == ["l1", "l12", "l13"]
    assert sorted((row["window_start"], row["lines"]) for row in rows["counts"]) == [
        (START, 1), (START + timedelta(seconds=10), 2)
    ]

def test_a_late_row_is_left_out():
    late = line(1, arrival_time=START + timedelta(seconds=12))
    assert run(job, lines=[late, line(2)])["copies"] == [{"id": "l2"}]

def test_missing_rows_and_unusable_ones_are_named():
    with pytest.raises(ConfigError, match=r"no rows for lines; call run\(job, lines="):
        run(job)
    with pytest.raises(ConfigError, match="neither a usable at nor an arrival_time"):
        run(job, lines=[{"id": "x"}])
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project that has only what jobs share, with the checkout's own configuration of pytest."""
    shutil.copytree(ROOT / "flink_jobs" / "shared", tmp_path / "flink_jobs" / "shared")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def passed(project: Path, test: Path) -> str:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(test)]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_generated_test_of_a_new_job_passes(project):
    _, test = write_job(project, "page_counts")
    assert "1 passed" in passed(project, test)


def test_pipelines_are_tested_on_rows(project):
    (project / "flink_jobs" / "two_sinks.py").write_text(TWO_SINKS)
    test = project / "tests" / "jobs" / "test_two_sinks.py"
    test.parent.mkdir(parents=True)
    test.write_text(TESTS)
    assert "3 passed" in passed(project, test)


PYTHON = """
import psutil

from flink_jobs.{name} import job
from sluice.testing import run

def test_a_python_function_is_found_and_nothing_listens_on_every_address():
    assert run(job, lines=[{{"id": "a", "at": 1_767_225_600_000}}]) == [{{"id": "A"}}]
    sockets = psutil.Process().net_connections("inet")
    listening = {{socket.laddr.ip for socket in sockets if socket.status == psutil.CONN_LISTEN}}
    assert listening <= {{"127.0.0.1", "::1", "::ffff:127.0.0.1"}}
"""


@pytest.mark.parametrize(
    ("name", "body", "fields"),
    [("a_function", sources.UDF, "id: str | None"), ("a_stream", sources.DATA_STREAM, "id: str | None")],
)
def test_python_functions_are_tested_in_separate_processes(project, name, body, fields):
    (project / "flink_jobs" / f"{name}.py").write_text(sources.source(name, body, fields))
    test = project / "tests" / "jobs" / f"test_{name}.py"
    test.parent.mkdir(parents=True)
    test.write_text(PYTHON.format(name=name))
    assert "1 passed" in passed(project, test)
