"""Tests of jobs as users write them, by pytest in a process of its own: a new job's, and `sluice.testing`."""

import re
import shutil
import subprocess
import sys
from collections import Counter
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


FUNCTIONS = {"a_function": sources.UDF, "a_stream": sources.DATA_STREAM}


def write(project: Path, name: str, source: str, tests: str) -> None:
    (project / "flink_jobs" / f"{name}.py").write_text(source)
    (project / "tests" / "jobs" / f"test_{name}.py").write_text(tests)


def test_tests_of_jobs_pass(project):
    """All by one process, which starts one JVM.

    That of a new job as it is generated, one of several sinks, and those of Python functions in separate processes.
    """
    _, test = write_job(project, "page_counts")
    write(project, "two_sinks", TWO_SINKS, TESTS)
    for name, body in FUNCTIONS.items():
        write(project, name, sources.source(name, body, "id: str | None"), PYTHON.format(name=name))
    command = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", str(test.parent)]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    passed = Counter(re.findall(r"test_(\w+)\.py::\w+ PASSED", done.stdout))
    assert passed == {"page_counts": 1, "two_sinks": 3, "a_function": 1, "a_stream": 1}
