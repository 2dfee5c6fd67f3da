"""The parent's side of the client process, with small scripts in the client's place."""

import sys
from pathlib import Path

import psutil
import pytest

from sluice import errors
from sluice.client.process import ClientProcess
from sluice.client.protocol import Build, Failed, Graph, Progress, Ready, Submit, Submitted

ORDER = Build(
    job="j", module="m", code="c", environment="e", brokers={"bootstrap.servers": "b:1"}, flink_url="http://127.0.0.1:1"
)
READY = Ready(graph=Graph(vertices=(), slots=1, columns={}, digest="d"))
SUBMIT = Submit(flink_job_id="0" * 32)


def client(tmp_path: Path, script: str, **given) -> ClientProcess:
    """A process that runs this script where `python -m sluice.client` would."""
    interpreter = tmp_path / "python"
    (tmp_path / "script.py").write_text(f"import sys\n{script}\n")
    interpreter.write_text(f'#!/bin/sh\nexec "{sys.executable}" -u "{tmp_path}/script.py"\n')
    interpreter.chmod(0o755)
    return ClientProcess(interpreter, tmp_path / "client.log", **given)


def says(*messages) -> str:
    return "".join(f"sys.stdin.readline(); sys.stdout.write({message.line()!r})\n" for message in messages)


def test_prepare_then_submit(tmp_path):
    steps = []
    script = f"sys.stdout.write({Progress(step='build', seconds=1.5).line()!r})\n" + says(
        READY, Submitted(flink_job_id="0" * 32)
    )
    with client(tmp_path, script, on_progress=steps.append) as process:
        assert process.prepare(ORDER, timeout=10) == READY
        assert process.submit(SUBMIT, timeout=10).flink_job_id == "0" * 32
    assert [step.step for step in steps] == ["build"]


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("config", errors.ConfigError),
        ("compile", errors.CompileError),
        ("schema", errors.SchemaError),
        ("unreachable", errors.UnreachableError),
        ("flink", errors.FlinkError),
        ("state", errors.StateError),
        ("internal", errors.OperationError),
    ],
)
def test_each_kind_of_failure_is_its_own_error(tmp_path, kind, error):
    with client(tmp_path, says(Failed(kind=kind, message="why", remedy="do this"))) as process:
        with pytest.raises(error, match="why; do this"):
            process.prepare(ORDER, timeout=10)


def test_a_refusal_names_the_file_in_the_project(tmp_path):
    order = ORDER.model_copy(update={"code": "/store/abc.zip"})
    failure = Failed(kind="compile", message="/store/abc.zip/flink_jobs/j.py:7: no such column", remedy="mend it")
    for root, place in ((Path("/project"), "/project/flink_jobs/j.py:7"), (None, "/store/abc.zip/flink_jobs/j.py:7")):
        with client(tmp_path, says(failure)) as process:
            with pytest.raises(errors.CompileError) as caught:
                process.prepare(order, timeout=10, root=root)
        assert str(caught.value) == f"{place}: no such column; mend it"


@pytest.mark.parametrize("name", ["nope", "."])
def test_an_interpreter_that_can_not_be_run_is_named_with_its_variable(tmp_path, name):
    with pytest.raises(errors.ConfigError, match=r"can't be run: .*SLUICE_CLIENT_PYTHON"):
        ClientProcess(tmp_path / name, tmp_path / "client.log")


def test_a_client_that_dies_is_reported_with_its_last_words(tmp_path):
    with client(tmp_path, "sys.stdin.readline(); sys.exit('out of memory')") as process:
        with pytest.raises(errors.OperationError, match="status 1: out of memory"):
            process.prepare(ORDER, timeout=10)


def test_a_client_that_takes_too_long_is_reported_and_ended(tmp_path):
    with client(tmp_path, "sys.stdin.read()") as process:
        with pytest.raises(errors.OperationError, match="prepare took longer than"):
            process.prepare(ORDER, timeout=0.2)
    assert not psutil.pid_exists(process.pid)


def test_noise_on_the_protocol_is_an_error(tmp_path):
    with client(tmp_path, "sys.stdin.readline(); print('hello')") as process:
        with pytest.raises(errors.OperationError, match="unreadable answer"):
            process.prepare(ORDER, timeout=10)


def test_leaving_the_context_ends_a_client_that_waits(tmp_path):
    with client(tmp_path, says(READY) + "sys.stdin.read()") as process:
        process.prepare(ORDER, timeout=10)
    assert not psutil.pid_exists(process.pid)


def test_a_flink_job_id_has_32_hexadecimal_digits():
    with pytest.raises(ValueError, match="flink_job_id"):
        Submit(flink_job_id="not-an-id")
