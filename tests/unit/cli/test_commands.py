"""The command line's contract: JSON alone on standard output, exit status, words."""

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from sluice.cli import main
from sluice.cli.scaffold import write_job
from sluice.deployment.catalog import read_catalog
from sluice.errors import ConfigError
from sluice.job.config import state_settings
from sluice.ledger.ledger import Ledger
from tests.simulator.job_files import TrustedFiles
from tests.support.ledgers import new_ledger

SHARED = Path(__file__).resolve().parents[3] / "flink_jobs" / "shared"

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


class _NoJobs(BaseHTTPRequestHandler):
    """Flink's REST API of a cluster without jobs."""

    def do_GET(self):
        is_list = self.path == "/jobs/overview"
        self.send_response(200 if is_list else 404)
        self.end_headers()
        self.wfile.write(json.dumps({"jobs": []} if is_list else {"errors": ["not found"]}).encode())

    def log_message(self, *_words):
        pass


@pytest.fixture
def empty_cluster():
    """The address of a Flink cluster without jobs: a cluster that does not answer is asked again for seconds."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _NoJobs) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@dataclass(frozen=True)
class Done:
    """The exit status and the output of a command."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def sluice(monkeypatch, capfd):
    """Runs a command line in this process, from the project's directory: to start Python takes most of its time."""

    def run(root, *arguments, **variables):
        with monkeypatch.context() as patched:
            patched.chdir(root)
            patched.setattr(sys, "argv", ["sluice", *arguments])
            for name, value in variables.items():
                patched.setenv(name, value)
            capfd.readouterr()
            try:
                main()
                status = 0
            except SystemExit as error:
                status = error.code
            return Done(status, *capfd.readouterr())

    return run


def test_an_unknown_job_is_refused_before_anything_is_touched(root):
    command = [sys.executable, "-c", "from sluice.cli import main; main()", "deploy", "nosuch", "--json"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "there is no job 'nosuch'" in done.stderr


def test_an_unknown_environment_names_the_known_ones(root, sluice):
    done = sluice(root, "status", "--environment", "moon")
    assert done.returncode == 2
    assert "there is no environment 'moon'" in done.stderr
    assert "choose one of local" in done.stderr


def test_a_usage_error_is_2(root, sluice):
    assert sluice(root, "deploy").returncode == 2


def test_status_of_an_empty_project_is_an_empty_list(root, sluice):
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
def test_a_broken_file_and_its_section_stop_no_other_job(root, broken, sluice, empty_cluster):
    """The section names the job that the file would give, which nobody can read out of a broken file."""
    (root / "flink_jobs" / "counts.py").write_text(JOB)
    (root / "flink_jobs" / "ev.py").write_text(broken)
    (root / "deployments" / "local.yaml").write_text(
        DEPLOYMENT.replace("http://127.0.0.1:1", empty_cluster) + "jobs:\n  clicks:\n  counts:\n"
    )
    done = sluice(root, "status", "--json")
    assert done.returncode == 0, done.stderr
    assert {row["job"]: row["state"] for row in json.loads(done.stdout)} == {"counts": "not deployed", "ev": "broken"}
    done = sluice(root, "deploy", "clicks")
    assert done.returncode == 2
    assert "there is no job 'clicks'" in done.stderr


@pytest.mark.parametrize("command", ["history", "savepoints"])
def test_what_the_ledger_has_is_shown_of_jobs_that_it_or_the_project_knows(root, command, sluice):
    (root / "flink_jobs" / "counts.py").write_text(JOB)
    (root / "flink_jobs" / "broken.py").write_text("1 +")
    url = new_ledger(root)
    ledger = Ledger(url, "local")
    ledger.begin("removed", kind="deploy", holder="me", release=1)
    for job, status in (("nosuch", 2), ("counts", 0), ("broken", 0), ("removed", 0)):
        done = sluice(root, command, job, "--json", SLUICE_LEDGER=url)
        assert done.returncode == status, done.stderr
        assert bool(done.stdout) is (status == 0)
        assert ("there is no job 'nosuch'" in done.stderr) is (status == 2)


@pytest.mark.parametrize("arguments", [("--json",), ()])
def test_a_plan_of_all_jobs_tells_of_broken_files(root, arguments, sluice):
    (root / "flink_jobs" / "broken.py").write_text("1 +")
    (root / "flink_jobs" / "none.py").touch()
    done = sluice(root, "plan", *arguments)
    assert done.returncode == 2
    assert done.stdout == ("[]\n" if arguments else "")
    assert "broken.py:1: SyntaxError" in done.stderr
    assert "none.py: expected one job, found none" in done.stderr


def test_with_all_files_whole_an_unknown_section_is_a_mistake(root, sluice):
    (root / "flink_jobs" / "counts.py").write_text(JOB)
    (root / "deployments" / "local.yaml").write_text(DEPLOYMENT + "jobs:\n  cuonts:\n")
    done = sluice(root, "deploy", "counts")
    assert done.returncode == 2
    assert "local.yaml:5: there is no job 'cuonts'" in done.stderr


def test_outside_a_project_it_says_where_to_go(tmp_path, sluice):
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


@pytest.mark.parametrize("name", ["page_counts", "job", "kafka", "replay", "config", "record", "row"])
def test_a_new_job_loads_whatever_its_name(root, name, capfd):
    shutil.copytree(SHARED, root / "flink_jobs" / "shared")
    write_job(root, name)
    job = read_catalog(root, TrustedFiles()).job(name)
    assert str(job.config().window) == "0:01:00"
    assert list(state_settings(job.config)) == ["window"]
    assert capfd.readouterr() == ("", "")


def test_a_new_job_does_not_take_a_package_s_name(root):
    (root / "flink_jobs" / "shared").mkdir()
    with pytest.raises(ConfigError, match="shared exists; choose another name"):
        write_job(root, "shared")
    assert not (root / "flink_jobs" / "shared.py").exists()
