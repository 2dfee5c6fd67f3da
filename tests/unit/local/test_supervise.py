"""supervisord starts, restarts and ends the services."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from sluice.errors import OperationError, RefusedError
from sluice.local.layout import Local
from sluice.local.service import Service, configured_by
from sluice.local.stack import Stack
from sluice.local.supervise import Supervisor
from sluice.local.survivors import end_survivors, marks, stacks_of, survivors
from tests.support.waiting import wait_for

SLEEP = Service("sleeper", (sys.executable, "-c", "import time; time.sleep(600)"), variables={"A": "50% of 'it'"})


@pytest.fixture
def supervisor(tmp_path):
    supervisor = Supervisor(tmp_path / ("long" * 30), tmp_path / "logs")
    (tmp_path / ("long" * 30)).mkdir()
    yield supervisor
    supervisor.shutdown()


@pytest.fixture
def orphan(supervisor, tmp_path):
    """The process id of a service whose supervisord was killed."""
    supervisor.ensure([SLEEP])
    supervisor.start("sleeper")
    wait_for(lambda: pid(supervisor))
    orphan = pid(supervisor)
    # A process that supervisord has forked has its command, and the stack's variables, a moment later.
    wait_for(lambda: psutil.Process(orphan).cmdline() == list(SLEEP.command))
    os.kill(int((tmp_path / ("long" * 30) / "supervisord.pid").read_text()), signal.SIGKILL)
    wait_for(lambda: not supervisor.is_running)
    assert runs(orphan)
    return orphan


def pid(supervisor):
    return supervisor.states()["sleeper"]["pid"]


def runs(pid):
    """Whether it runs; zombies, whose parent may never reap them, don't."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_service_is_started_once_restarted_and_stopped(supervisor):
    assert supervisor.states() == {}
    supervisor.ensure([SLEEP])
    assert supervisor.start("sleeper")
    wait_for(lambda: pid(supervisor))
    first = pid(supervisor)
    assert not supervisor.start("sleeper")
    supervisor.ensure([SLEEP])
    assert pid(supervisor) == first
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: pid(supervisor) not in (0, first))
    second = pid(supervisor)
    supervisor.shutdown()
    assert not supervisor.is_running
    with pytest.raises(ProcessLookupError):
        os.kill(second, 0)


def test_a_service_in_backoff_is_not_started_again(supervisor):
    supervisor.ensure([Service("sleeper", (sys.executable, "-c", "raise SystemExit(1)"))])
    assert supervisor.start("sleeper")
    wait_for(lambda: supervisor.state("sleeper") == "BACKOFF")
    assert not supervisor.start("sleeper")


def test_a_changed_configuration_stops_its_service(supervisor, tmp_path):
    file = tmp_path / "service.properties"

    def service(text):
        file.write_text(text)
        return replace(SLEEP, variables=configured_by(file))

    supervisor.ensure([service("port=1")])
    supervisor.start("sleeper")
    wait_for(lambda: pid(supervisor))
    first = pid(supervisor)
    supervisor.ensure([service("port=1")])
    assert runs(first)
    supervisor.ensure([service("port=2")])
    assert not runs(first)
    assert supervisor.start("sleeper")


def test_a_stack_is_found_by_its_python_environment(supervisor, tmp_path):
    stack = Stack(Local(root=tmp_path, home=tmp_path / ("long" * 30)))
    assert str(stack.local.home) not in stacks_of(Path(sys.prefix))
    supervisor.ensure([SLEEP])
    assert str(stack.local.home) in stacks_of(Path(sys.prefix))
    assert stacks_of(tmp_path) == set()
    with pytest.raises(RefusedError, match="longlong.* runs; run make down first"):
        stack.refuse_running()


def test_survivors_of_a_killed_supervisord_end_with_the_stack(supervisor, orphan):
    assert supervisor.shutdown() == 1
    assert not runs(orphan)
    assert supervisor.shutdown() == 0


def test_survivors_of_a_killed_supervisord_end_before_the_next_start(supervisor, orphan):
    assert supervisor.end_survivors() == 1
    assert not runs(orphan)
    supervisor.ensure([SLEEP])
    supervisor.start("sleeper")
    wait_for(lambda: pid(supervisor))
    # A supervised process is no survivor.
    assert supervisor.end_survivors() == 0
    assert runs(pid(supervisor))


def test_processes_of_another_stack_keep_running(supervisor, orphan, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    assert end_survivors(other) == 0
    assert runs(orphan)


def test_a_survivor_that_ignores_sigterm_is_killed(supervisor, tmp_path):
    ignore = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    script = f"{ignore}; print('ready', flush=True); time.sleep(600)"
    variables = {**os.environ, **marks(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", script], env=variables, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"ready\n"
        assert end_survivors(tmp_path, patience=0.5) == 1
        assert not runs(process.pid)


def test_the_error_names_a_survivor_that_cannot_be_ended(tmp_path, monkeypatch):
    process = subprocess.Popen(SLEEP.command, env={**os.environ, **marks(tmp_path)})
    try:
        wait_for(lambda: survivors(tmp_path))
        with monkeypatch.context() as patched:
            patched.setattr(psutil.Process, "terminate", lambda _self: None)
            patched.setattr(psutil.Process, "kill", lambda _self: None)
            with pytest.raises(OperationError, match=f"can't be ended: {process.pid} "):
                end_survivors(tmp_path, patience=-10)
    finally:
        process.kill()
        process.wait()


def test_a_value_with_quotation_marks_or_line_ends_is_refused(supervisor):
    with pytest.raises(OperationError, match="can't hold the value"):
        supervisor.ensure([Service("x", ("true",), variables={"A": 'a"b'})])


def test_the_error_names_a_used_port_and_its_variable(tmp_path, unused_port):
    stack = Stack(Local(root=tmp_path, home=tmp_path))
    service = Service("kafka", ("true",), ports={"SLUICE_KAFKA_CONTROLLER_PORT": unused_port})
    named = rf"port {unused_port} of kafka .*SLUICE_KAFKA_CONTROLLER_PORT=\.\.\. make up"
    with pytest.raises(RefusedError, match=named):
        stack._refuse_taken_ports([service])


@pytest.fixture
def unused_port():
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]
