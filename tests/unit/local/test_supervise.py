"""supervisord runs what it is given, starts it again, and ends it."""

import os
import signal
import sys
import time

import pytest

from sluice.errors import OperationError, RefusedError
from sluice.local.layout import Local
from sluice.local.service import Service
from sluice.local.stack import Stack
from sluice.local.supervise import Supervisor

SLEEP = Service("sleeper", (sys.executable, "-c", "import time; time.sleep(600)"), variables={"A": "50% of 'it'"})


@pytest.fixture
def supervisor(tmp_path):
    supervisor = Supervisor(tmp_path / ("long" * 30), tmp_path / "logs")
    (tmp_path / ("long" * 30)).mkdir()
    yield supervisor
    supervisor.shutdown()


def pid(supervisor):
    return supervisor.states()["sleeper"]["pid"]


def wait_for(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


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


def test_a_value_that_the_file_can_not_hold_is_refused(supervisor):
    with pytest.raises(OperationError, match="can't hold the value"):
        supervisor.ensure([Service("x", ("true",), variables={"A": 'a"b'})])


def test_a_taken_port_is_named_with_the_way_out(tmp_path, unused_port):
    stack = Stack(Local(root=tmp_path, home=tmp_path))
    service = Service("kafka", ("true",), port=unused_port)
    with pytest.raises(RefusedError, match=rf"port {unused_port}.*SLUICE_KAFKA_PORT"):
        stack._refuse_taken_ports([service])


@pytest.fixture
def unused_port():
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]
