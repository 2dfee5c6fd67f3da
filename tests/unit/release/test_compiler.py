"""The compiler, with scripts in place of the client process."""

import sys

import pytest

from sluice.client.protocol import Failed, Graph, Loaded, Ready, Reply, Submit, Submitted
from sluice.errors import FlinkError
from sluice.plan.target import desired_target
from sluice.project import Project
from sluice.release.compiler import Compiler
from sluice.settings import Settings
from tests.support.windowed import source

READY = Reply(number=1, answer=Ready(graph=Graph(vertices=(), slots=1, columns={}, digest="d"), content="Z3JhcGg="))
LOADED = Reply(number=1, answer=Loaded())
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


def test_second_submission_uses_a_new_client_process_with_the_same_graph(project, tmp_path):
    """The first client compiles, and its submission fails, which ends it; the second one takes over its graph."""
    (tmp_path / "script.py").write_text(
        f"""
import pathlib, sys
first = pathlib.Path({str(tmp_path / "first")!r})
is_first = not first.exists()
first.touch()
order = sys.stdin.readline()
assert ('"build"' if is_first else '"load","job":"counts","content":"Z3JhcGg="') in order, order
sys.stdout.write({READY.line()!r} if is_first else {LOADED.line()!r})
assert '"submit"' in sys.stdin.readline()
sys.stdout.write({FAILED.line()!r} if is_first else {SUBMITTED.line()!r})
"""
    )
    with Compiler(project, "counts", print) as compiler:
        compiler.prepare(desired_target(project, "counts", {}))
        with pytest.raises(FlinkError, match="already been submitted"):
            compiler.submit(Submit(flink_job_id="0" * 32))
        compiler.submit(Submit(flink_job_id="1" * 32))


def test_release_that_was_compiled_before_is_submitted_without_compiling(project, tmp_path):
    """As in an Airflow run, whose task `plan` compiles and whose task `switch_over` submits."""
    target = desired_target(project, "counts", {})
    (tmp_path / "script.py").write_text(
        f"""
import sys
assert '"build"' in sys.stdin.readline()
sys.stdout.write({READY.line()!r})
sys.stdin.readline()
"""
    )
    with Compiler(project, "counts", print) as compiler:
        planned = compiler.prepare(target)
    (tmp_path / "script.py").write_text(
        f"""
import sys
assert '"load"' in sys.stdin.readline()
sys.stdout.write({LOADED.line()!r})
assert '"submit"' in sys.stdin.readline()
sys.stdout.write({SUBMITTED.line()!r})
"""
    )
    with Compiler(project, "counts", print) as compiler:
        assert compiler.prepare(target) == planned
        compiler.load()
        compiler.submit(Submit(flink_job_id="1" * 32))


def test_release_with_another_broker_or_variable_is_compiled_again(project, tmp_path, monkeypatch):
    orders = tmp_path / "orders"
    (tmp_path / "script.py").write_text(
        f"""
import sys
open({str(orders)!r}, "a").write(sys.stdin.readline())
sys.stdout.write({READY.line()!r})
sys.stdin.readline()
"""
    )
    target = desired_target(project, "counts", {})
    for servers in ("b:1", "b:1", "b:2", "b:1"):
        project = Project(project.settings, kafka={"bootstrap.servers": servers})
        with Compiler(project, "counts", print) as compiler:
            compiler.prepare(target)
    assert len(orders.read_text().splitlines()) == 2
    monkeypatch.setenv("SLUICE_CLIENT_VARIABLES", "REGION")
    for region in ("eu", "eu", "us"):
        monkeypatch.setenv("REGION", region)
        with Compiler(project, "counts", print) as compiler:
            compiler.prepare(target)
    assert len(orders.read_text().splitlines()) == 4
