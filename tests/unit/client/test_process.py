"""The parent's side of the client process, with scripts in place of the client."""

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
    """A client process that runs this script instead of `python -m sluice.client`."""
    interpreter = tmp_path / "python"
    (tmp_path / "script.py").write_text(f"import sys\n{script}\n")
    interpreter.write_text(f'#!/bin/sh\nexec "{sys.executable}" -u "{tmp_path}/script.py"\n')
    interpreter.chmod(0o755)
    return ClientProcess(interpreter, tmp_path / "client.log", **given)


def says(*messages) -> str:
    """Answer each order in turn."""
    lines = [Reply(number=number, answer=message).line() for number, message in enumerate(messages, 1)]
    return "".join(f"sys.stdin.readline(); sys.stdout.write({line!r})\n" for line in lines)


def test_client_prepares_and_submits_a_job(tmp_path):
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
def test_each_client_failure_kind_raises_its_own_error(tmp_path, kind, error):
    with client(tmp_path, says(Failed(kind=kind, message="why", remedy="do this"))) as process:
        with pytest.raises(error, match="why; do this"):
            process.prepare(ORDER, timeout=10)


def test_client_refusal_names_the_file_in_the_project(tmp_path):
    order = ORDER.model_copy(update={"code": "/store/abc.zip"})
    failure = Failed(kind="compile", message="/store/abc.zip/flink_jobs/j.py:7: no such column", remedy="mend it")
    for root, place in ((Path("/project"), "/project/flink_jobs/j.py:7"), (None, "/store/abc.zip/flink_jobs/j.py:7")):
        with client(tmp_path, says(failure)) as process:
            with pytest.raises(errors.CompileError) as caught:
                process.prepare(order, timeout=10, root=root)
        assert str(caught.value) == f"{place}: no such column; mend it"


@pytest.mark.parametrize("name", ["nope", "."])
def test_unusable_client_interpreter_names_its_variable(tmp_path, name):
    with pytest.raises(errors.ConfigError, match=r"can't be run: .*SLUICE_CLIENT_PYTHON"):
        ClientProcess(tmp_path / name, tmp_path / "client.log")


def test_dead_client_is_reported_with_its_last_log_line(tmp_path):
    with client(tmp_path, "sys.stdin.readline(); sys.exit('out of memory')") as process:
        with pytest.raises(errors.OperationError, match="status 1: out of memory"):
            process.prepare(ORDER, timeout=10)


def test_client_that_exceeds_the_timeout_is_killed(tmp_path):
    with client(tmp_path, "sys.stdin.read()") as process:
        with pytest.raises(errors.OperationError, match="prepare took longer than"):
            process.prepare(ORDER, timeout=0.2)
    assert not psutil.pid_exists(process.pid)


def test_client_takes_no_order_after_a_timeout(tmp_path):
    # The client answers the first order late: the second order must not get that answer.
    late = says(Found(path="/first", checkpoint_id=1), Found(path="/second", checkpoint_id=2))
    with client(tmp_path, f"import time; time.sleep(0.5)\n{late}sys.stdin.read()") as process:
        with pytest.raises(errors.OperationError, match="find took longer than"):
            process.find("/first", timeout=0.1)
        assert not psutil.pid_exists(process.pid)
        with pytest.raises(errors.OperationError, match="the process was killed: find took longer than 0 s"):
            process.find("/second", timeout=10)
        with pytest.raises(errors.OperationError, match="submit is not possible after the process was killed"):
            process.submit(SUBMIT, timeout=10)


def test_client_timeout_kills_its_child_processes(tmp_path):
    child = "import subprocess; child = subprocess.Popen([sys.executable, '-c', 'import sys; sys.stdin.read()'])"
    script = f"{child}\nopen({str(tmp_path / 'pid')!r}, 'w').write(str(child.pid))\nsys.stdin.readline()\n"
    with client(tmp_path, script + says(Submitted(flink_job_id="0" * 32)) + "sys.stdin.read()") as process:
        wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
        started = psutil.Process(int((tmp_path / "pid").read_text()))
        with pytest.raises(errors.OperationError, match="submit took longer than"):
            process.submit(SUBMIT, timeout=0.1)
    wait_for(lambda: not started.is_running() or started.status() == psutil.STATUS_ZOMBIE)


def test_client_answer_to_another_order_is_refused(tmp_path):
    other = Reply(number=2, answer=Found(path="/other", checkpoint_id=9)).line()
    with client(tmp_path, f"sys.stdin.readline(); sys.stdout.write({other!r}); sys.stdin.read()") as process:
        with pytest.raises(errors.OperationError, match="expected the answer to order 1, got one to order 2"):
            process.find("/asked", timeout=10)
        assert not psutil.pid_exists(process.pid)


def test_interrupted_order_leaves_no_answer_for_the_next_one(tmp_path):
    def interrupted(_step):
        raise KeyboardInterrupt

    progress = Reply(number=1, answer=Progress(step="build", seconds=1)).line()
    script = f"sys.stdin.readline(); sys.stdout.write({progress!r}); sys.stdin.read()"
    with client(tmp_path, script, on_progress=interrupted) as process:
        with pytest.raises(KeyboardInterrupt):
            process.prepare(ORDER, timeout=10)
        with pytest.raises(errors.OperationError, match="the process was killed: prepare was interrupted"):
            process.find("/asked", timeout=10)


def test_client_is_usable_after_a_failed_checkpoint_request(tmp_path):
    script = says(Failed(kind="state", message="unreadable"), Found(path="/p", checkpoint_id=1))
    with client(tmp_path, script) as process:
        with pytest.raises(errors.StateError, match="unreadable"):
            process.inspect("/p")
        assert process.find("/").path == "/p"


def test_last_log_line_of_a_dead_client_is_no_stack_trace(tmp_path):
    script = "print('starting', file=sys.stderr)\nsys.stdin.readline()\nraise ValueError('no such jar')"
    with client(tmp_path, script) as process:
        with pytest.raises(errors.OperationError) as caught:
            process.prepare(ORDER, timeout=10)
    assert "ended with status 1: ValueError: no such jar" in str(caught.value)
    assert "Traceback" not in str(caught.value)


def test_unreadable_client_answer_is_an_error(tmp_path):
    with client(tmp_path, "sys.stdin.readline(); print('hello')") as process:
        with pytest.raises(errors.OperationError, match="unreadable answer"):
            process.prepare(ORDER, timeout=10)


def test_leaving_the_context_ends_a_waiting_client(tmp_path):
    with client(tmp_path, says(READY) + "sys.stdin.read()") as process:
        process.prepare(ORDER, timeout=10)
    assert not psutil.pid_exists(process.pid)


def test_submit_refuses_a_malformed_flink_job_id():
    with pytest.raises(ValueError, match="flink_job_id"):
        Submit(flink_job_id="not-an-id")
