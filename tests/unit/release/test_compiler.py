"""The compiler, with scripts in place of the client process."""

import json
import shutil
import sys

import pytest

from sluice.client.protocol import Failed, Graph, Loaded, Ready, Reply, Submit, Submitted
from sluice.errors import FlinkError, OperationError, UnreachableError
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


@pytest.fixture
def orders(tmp_path):
    """The orders that clients received; each of them answers the first one as if it had compiled or loaded."""
    file = tmp_path / "orders"
    answers = f"{{'build': {READY.line()!r}, 'load': {LOADED.line()!r}}}"
    client(
        tmp_path,
        f"""
line = sys.stdin.readline()
open({str(file)!r}, "a").write(line)
sys.stdout.write({answers}[json.loads(line)["command"]["type"]])
sys.stdin.readline()
""",
    )
    return lambda: [json.loads(line)["command"]["type"] for line in file.read_text().splitlines()]


def client(directory, script):
    """Let client processes be this script."""
    (directory / "script.py").write_text(f"import json, sys, time\n{script}")


def answering(directory, special, words):
    """Let client processes answer the first order as compiled, but an order that contains these words specially."""
    client(
        directory,
        f"""
line = sys.stdin.readline()
sys.stdout.write({special.line()!r} if {words!r} in line else {READY.line()!r})
sys.stdin.readline()
""",
    )


def prepare(project, **arguments):
    with Compiler(project, "counts", print) as compiler:
        return compiler.prepare(desired_target(project, "counts", {}), **arguments)


def test_release_with_another_broker_is_compiled_again(project, orders):
    for servers in ("b:1", "b:1", "b:2", "b:1"):
        prepare(Project(project.settings, kafka={"bootstrap.servers": servers}))
    assert orders() == ["build", "build"]


@pytest.mark.parametrize("name", ["REGION", "AWS_SECRET_ACCESS_KEY", "PYTHONPATH"])
def test_release_is_compiled_again_if_a_variable_that_pipelines_read_has_changed(project, orders, monkeypatch, name):
    monkeypatch.setenv("SLUICE_CLIENT_VARIABLES", "REGION")
    for value in ("old", "old", "new"):
        monkeypatch.setenv(name, value)
        prepare(project)
    assert orders() == ["build", "build"]


def test_release_is_compiled_again_if_a_package_of_the_client_has_changed(project, orders, tmp_path):
    environment = tmp_path / "environment"
    (environment / "bin").mkdir(parents=True)
    (environment / "bin" / "python").symlink_to(project.settings.client_python)
    packages = environment / "lib" / "python3.11" / "site-packages"
    for versions in (("a-1", "sluice-1"), ("a-1", "sluice-2"), ("a-2", "sluice-2")):
        for version in versions:
            (packages / f"{version}.dist-info").mkdir(parents=True)
        prepare(Project(project.settings.model_copy(update={"client_python": environment / "bin" / "python"})))
        shutil.rmtree(packages)
    assert orders() == ["build", "build"]


def test_release_with_jars_is_compiled_once(project, orders, tmp_path):
    (tmp_path / "a.jar").write_bytes(b"jar")
    (tmp_path / "deployments" / "test.yaml").write_text(
        "kafka: {config: {bootstrap.servers: 'b:1'}}\nflink: {url: 'http://flink', jars: [a.jar]}\n"
    )
    for _ in range(2):
        prepare(Project(project.settings))
    assert orders() == ["build"]


def test_former_graph_is_not_submitted_after_another_one_failed_to_compile(project, tmp_path):
    failed = Reply(number=1, answer=Failed(kind="unreachable", message="the cluster doesn't answer"))
    answering(tmp_path, failed, '"carry_over":true')
    target = desired_target(project, "counts", {})
    with Compiler(project, "counts", print) as compiler:
        compiler.prepare(target)
        for _ in range(2):
            with pytest.raises(UnreachableError):
                compiler.prepare(target, carry_over=True)
        with pytest.raises(RuntimeError, match="prepare comes before"):
            compiler.submit(Submit(flink_job_id="1" * 32))


def test_stored_graph_that_can_not_be_loaded_is_compiled_again(project, tmp_path):
    unreadable = Reply(number=1, answer=Failed(kind="internal", message="counts: the graph can't be read: x"))
    answering(tmp_path, unreadable, '"load"')
    prepare(project)
    logged = []
    with Compiler(project, "counts", logged.append) as compiler:
        compiler.prepare(desired_target(project, "counts", {}))
        compiler.load()
    assert logged[1:3] == [
        "the stored graph can't be used: counts: the graph can't be read: x",
        "the release is compiled again",
    ]


def test_unreachable_cluster_does_not_remove_the_stored_graph(project, tmp_path, orders):
    prepare(project)
    failed = Reply(number=1, answer=Failed(kind="unreachable", message="the cluster doesn't answer"))
    client(tmp_path, f"sys.stdin.readline()\nsys.stdout.write({failed.line()!r})\nsys.stdin.readline()\n")
    with Compiler(project, "counts", print) as compiler:
        compiler.prepare(desired_target(project, "counts", {}))
        with pytest.raises(UnreachableError):
            compiler.load()
        # It is still there: nothing is compiled.
        compiler.prepare(desired_target(project, "counts", {}))
    assert orders() == ["build"]


def test_time_limit_holds_for_a_graph_that_the_client_does_not_read(project, tmp_path):
    large = Ready(graph=READY.answer.graph, content="Z" * 400_000)
    answer = Reply(number=1, answer=large).line()
    client(tmp_path, f"sys.stdin.readline()\nsys.stdout.write({answer!r})\nsys.stdin.readline()\n")
    prepare(project)
    client(tmp_path, "time.sleep(60)\n")
    project = Project(project.settings.model_copy(update={"prepare_timeout": 0.5}))
    with Compiler(project, "counts", print) as compiler:
        compiler.prepare(desired_target(project, "counts", {}))
        with pytest.raises(OperationError, match="client process: prepare took longer than"):
            # It is compiled instead, by a client that doesn't read either.
            compiler.load()


def test_release_is_prepared_by_a_new_client_after_one_that_has_died(project, tmp_path):
    client(
        tmp_path,
        f"""
line = sys.stdin.readline()
if '"inspect"' in line:
    sys.exit(7)
sys.stdout.write({READY.line()!r})
sys.stdin.readline()
""",
    )
    prepare(project)
    with Compiler(project, "counts", print) as compiler:
        compiler.prepare(desired_target(project, "counts", {}))
        with pytest.raises(OperationError):
            compiler.inspect("path")
        compiler.prepare(desired_target(project, "counts", {}), carry_over=True)
