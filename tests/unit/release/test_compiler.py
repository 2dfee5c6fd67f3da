"""The compiler, with scripts in place of the client process."""

import sys

import pytest

from sluice.client.protocol import Failed, Graph, Ready, Reply, Submit, Submitted
from sluice.errors import FlinkError
from sluice.plan.target import desired_target
from sluice.project import Project
from sluice.release.compiler import Compiler
from sluice.settings import Settings
from tests.support.windowed import source

READY = Reply(number=1, answer=Ready(graph=Graph(vertices=(), slots=1, columns={}, digest="d")))
FAILED = Reply(number=2, answer=Failed(kind="flink", message="Job has already been submitted."))
SUBMITTED = Reply(number=2, answer=Submitted(flink_job_id="1" * 32))


@pytest.fixture
def project(tmp_path):
    for directory in ("flink_jobs", "deployments"):
        (tmp_path / directory).mkdir()
    (tmp_path / "flink_jobs" / "counts.py").write_text(source("counts"))
    (tmp_path / "deployments" / "test.yaml").write_text(
        "kafka: {config: {bootstrap.servers: 'b:1'}}\nflink: {url: 'http://flink'}\n"
    )
    interpreter = tmp_path / "python"
    interpreter.write_text(f'#!/bin/sh\nexec "{sys.executable}" -u "{tmp_path}/script.py"\n')
    interpreter.chmod(0o755)
    home = tmp_path / ".sluice"
    return Project(Settings(root=tmp_path, home=home, environment="test", client_python=interpreter))


def test_second_submission_uses_a_new_client_process(project, tmp_path):
    """Each client gets a build and a submit order; the first submission fails, which ends its client."""
    (tmp_path / "script.py").write_text(
        f"""
import pathlib, sys
first = pathlib.Path({str(tmp_path / "first")!r})
is_first = not first.exists()
first.touch()
assert '"build"' in sys.stdin.readline()
sys.stdout.write({READY.line()!r})
assert '"submit"' in sys.stdin.readline()
sys.stdout.write({FAILED.line()!r} if is_first else {SUBMITTED.line()!r})
"""
    )
    with Compiler(project, "counts", print) as compiler:
        compiler.prepare(desired_target(project, "counts", {}))
        with pytest.raises(FlinkError, match="already been submitted"):
            compiler.submit(Submit(flink_job_id="0" * 32))
        compiler.submit(Submit(flink_job_id="1" * 32))
