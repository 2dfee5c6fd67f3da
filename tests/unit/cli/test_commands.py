"""The command line's contract: JSON alone on standard output, exit status, words."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sluice.cli.scaffold import write_job
from sluice.errors import ConfigError

DEPLOYMENT = """
kafka: {config: {bootstrap.servers: "127.0.0.1:1"}}
flink: {url: "http://127.0.0.1:1"}
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "flink_jobs").mkdir()
    (tmp_path / "deployments").mkdir()
    (tmp_path / "deployments" / "local.yaml").write_text(DEPLOYMENT)
    return tmp_path


def sluice(root, *arguments):
    command = [sys.executable, "-c", "from sluice.cli import main; main()", *arguments]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)


def test_an_unknown_job_is_refused_before_anything_is_touched(root):
    done = sluice(root, "deploy", "nosuch", "--json")
    assert done.returncode == 2
    assert done.stdout == ""
    assert "there is no job 'nosuch'" in done.stderr


def test_an_unknown_environment_names_the_known_ones(root):
    done = sluice(root, "status", "--environment", "moon")
    assert done.returncode == 2
    assert "there is no environment 'moon'" in done.stderr
    assert "choose one of local" in done.stderr


def test_a_usage_error_is_2(root):
    assert sluice(root, "deploy").returncode == 2


def test_status_of_an_empty_project_is_an_empty_list(root):
    done = sluice(root, "status", "--json")
    assert (done.returncode, json.loads(done.stdout)) == (0, [])


JOB = """
from sluice import Job, Kafka, Record
class Row(Record):
    a: int
job = Job(name="counts", reads={"rows": Kafka("in", record=Row)}, writes=Kafka("out", record=Row))
@job.pipeline
def build(rows):
    return rows
"""


@pytest.mark.parametrize("broken", ["1 +", JOB.replace("counts", "clicks")])
def test_a_broken_file_and_its_section_stop_no_other_job(root, broken):
    """The section names the job that the file would give, which nobody can read out of a broken file."""
    (root / "flink_jobs" / "counts.py").write_text(JOB)
    (root / "flink_jobs" / "ev.py").write_text(broken)
    (root / "deployments" / "local.yaml").write_text(DEPLOYMENT + "jobs:\n  clicks:\n  counts:\n")
    done = sluice(root, "status", "--json")
    assert done.returncode == 0, done.stderr
    assert {row["job"]: row["state"] for row in json.loads(done.stdout)} == {"counts": "not deployed", "ev": "broken"}
    done = sluice(root, "deploy", "clicks")
    assert done.returncode == 2
    assert "there is no job 'clicks'" in done.stderr


def test_with_all_files_whole_an_unknown_section_is_a_mistake(root):
    (root / "flink_jobs" / "counts.py").write_text(JOB)
    (root / "deployments" / "local.yaml").write_text(DEPLOYMENT + "jobs:\n  cuonts:\n")
    done = sluice(root, "deploy", "counts")
    assert done.returncode == 2
    assert "local.yaml:5: there is no job 'cuonts'" in done.stderr


def test_outside_a_project_it_says_where_to_go(tmp_path):
    done = sluice(tmp_path, "status")
    assert done.returncode == 2
    assert "no flink_jobs/" in done.stderr
    assert "SLUICE_ROOT" in done.stderr


def test_new_writes_a_job_and_its_test_and_overwrites_nothing(root):
    files = write_job(root, "page_counts")
    assert [file.relative_to(root).as_posix() for file in files] == [
        "flink_jobs/page_counts.py",
        "tests/jobs/test_page_counts.py",
    ]
    for file in files:
        compile(file.read_text(), str(file), "exec")
    with pytest.raises(ConfigError, match="exists"):
        write_job(root, "page_counts")
    with pytest.raises(ConfigError, match="can't be used"):
        write_job(root, "Page-Counts")
