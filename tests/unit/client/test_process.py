"""The parent's side of the client process, with small scripts in the client's place."""

import sys
from pathlib import Path

import psutil
import pytest

from sluice import errors
from sluice.client.process import ClientProcess
from sluice.client.protocol import Build, Failed, Found, Graph, Progress, Ready, Reply, Submit, Submitted
from tests.support.waiting import wait_for

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
    """Answer each order in turn."""
    lines = [Reply(number=number, answer=message).line() for number, message in enumerate(messages, 1)]
    return "".join(f"sys.stdin.readline(); sys.stdout.write({line!r})\n" for line in lines)


def test_prepare_then_submit(tmp_path):
    steps = []
    progress = Reply(number=1, answer=Progress(step="build", seconds=1.5)).line()
    script = f"sys.stdout.write({progress!r})\n" + says(READY, Submitted(flink_job_id="0" * 32))
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


def test_after_a_timeout_no_further_order_is_taken(tmp_path):
    # It answers the first order late: the second one must not get that answer.
    late = says(Found(path="/first", checkpoint_id=1), Found(path="/second", checkpoint_id=2))
    with client(tmp_path, f"import time; time.sleep(0.5)\n{late}sys.stdin.read()") as process:
        with pytest.raises(errors.OperationError, match="find took longer than"):
            process.find("/first", timeout=0.1)
        assert not psutil.pid_exists(process.pid)
        with pytest.raises(errors.OperationError, match="the process was ended: find took longer than 0 s"):
            process.find("/second", timeout=10)
        with pytest.raises(errors.OperationError, match="submit can't be done, the process was ended"):
            process.submit(SUBMIT, timeout=10)


def test_a_timeout_ends_what_the_client_has_started_too(tmp_path):
    child = "import subprocess; child = subprocess.Popen([sys.executable, '-c', 'import sys; sys.stdin.read()'])"
    script = f"{child}\nopen({str(tmp_path / 'pid')!r}, 'w').write(str(child.pid))\nsys.stdin.readline()\n"
    with client(tmp_path, script + says(Submitted(flink_job_id="0" * 32)) + "sys.stdin.read()") as process:
        wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
        started = psutil.Process(int((tmp_path / "pid").read_text()))
        with pytest.raises(errors.OperationError, match="submit took longer than"):
            process.submit(SUBMIT, timeout=0.1)
    wait_for(lambda: not started.is_running() or started.status() == psutil.STATUS_ZOMBIE)


def test_an_answer_to_another_order_is_never_taken(tmp_path):
    other = Reply(number=2, answer=Found(path="/other", checkpoint_id=9)).line()
    with client(tmp_path, f"sys.stdin.readline(); sys.stdout.write({other!r}); sys.stdin.read()") as process:
        with pytest.raises(errors.OperationError, match="got an answer to order 2, expected one to order 1"):
            process.find("/asked", timeout=10)
        assert not psutil.pid_exists(process.pid)


def test_a_question_that_was_interrupted_leaves_no_answer_for_the_next_one(tmp_path):
    def interrupted(_step):
        raise KeyboardInterrupt

    progress = Reply(number=1, answer=Progress(step="build", seconds=1)).line()
    script = f"sys.stdin.readline(); sys.stdout.write({progress!r}); sys.stdin.read()"
    with client(tmp_path, script, on_progress=interrupted) as process:
        with pytest.raises(KeyboardInterrupt):
            process.prepare(ORDER, timeout=10)
        with pytest.raises(errors.OperationError, match="the process was ended: prepare was interrupted"):
            process.find("/asked", timeout=10)


def test_a_failed_question_leaves_the_client_usable(tmp_path):
    script = says(Failed(kind="state", message="unreadable"), Found(path="/p", checkpoint_id=1))
    with client(tmp_path, script) as process:
        with pytest.raises(errors.StateError, match="unreadable"):
            process.inspect("/p")
        assert process.find("/").path == "/p"


def test_the_last_words_of_a_dead_client_hold_no_stack_trace(tmp_path):
    script = "print('starting', file=sys.stderr)\nsys.stdin.readline()\nraise ValueError('no such jar')"
    with client(tmp_path, script) as process:
        with pytest.raises(errors.OperationError) as caught:
            process.prepare(ORDER, timeout=10)
    assert "ended with status 1: ValueError: no such jar" in str(caught.value)
    assert "Traceback" not in str(caught.value)


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
