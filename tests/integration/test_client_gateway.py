"""The client accepts commands only from its parent, and has none of the parent's secrets."""

import socket
import sys
from pathlib import Path

import psutil
import pytest
from py4j.java_gateway import GatewayParameters, JavaGateway
from py4j.protocol import Py4JError

from sluice.client import archive
from sluice.client.class_path import CACHE
from sluice.client.process import ClientProcess
from sluice.errors import ConfigError
from sluice.flink.access import Access
from sluice.local.flink import gather_jars
from tests.integration.test_orphaned_client import java_below
from tests.support.stacks import ROOT, local_stack

PLANTED = ("AIRFLOW__CORE__FERNET_KEY", "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "AIRFLOW_CONN_KAFKA", "SLUICE_LEDGER")
LOGIN = {"FLINK_REST_CLIENT_HEADERS": "Authorization:Bearer one"}


@pytest.fixture(scope="module")
def lib(tmp_path_factory):
    return gather_jars(local_stack(tmp_path_factory.mktemp("jars")))


@pytest.fixture(scope="module")
def running(lib, tmp_path_factory):
    """A client with its JVM, ready for orders, started by a process whose environment has secrets."""
    with pytest.MonkeyPatch.context() as planting:
        for name in PLANTED:
            planting.setenv(name, f"planted-{name}")
        directory = tmp_path_factory.mktemp("client")
        own = {CACHE: str(ROOT / ".sluice" / "client"), "FLINK_LIB_DIR": str(lib), "TMPDIR": str(directory)}
        variables = {**own, **LOGIN}
        with (
            archive.cluster() as url,
            ClientProcess(Path(sys.executable), directory / "log", variables=variables) as process,
        ):
            process.prepare(archive.sample_order(Access(url)), timeout=180)
            yield process, directory


def processes(running):
    process, _ = running
    python = psutil.Process(process.pid)
    java = java_below(python)
    assert java
    return [python, java]


def ports(process):
    listening = [each.laddr for each in process.net_connections("tcp") if each.status == psutil.CONN_LISTEN]
    assert {address.ip.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}
    return [address.port for address in listening]


@pytest.mark.parametrize("token", [None, "", "another"])
def test_jvm_gateway_accepts_no_command_without_the_token(running, token):
    for port in ports(processes(running)[1]):
        gateway = JavaGateway(gateway_parameters=GatewayParameters(port=port, auth_token=token))
        with pytest.raises(Py4JError):
            gateway.jvm.java.lang.System.getenv()


@pytest.mark.parametrize("token", [b"", b"another"])
def test_callback_server_accepts_no_command_without_the_token(running, token):
    for port in ports(processes(running)[0]):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            try:
                if token:
                    connection.sendall(b"A\n" + token + b"\ne\n")
                # Py4J's request to drop an object, which a server that takes it answers with a y.
                connection.sendall(b"g\nnothing\ne\n")
                answer = connection.recv(100)
            except ConnectionError:
                answer = b""
            assert b"y" not in answer


def test_client_and_its_jvm_do_not_inherit_the_parents_secrets(running):
    for process in processes(running):
        variables = process.environ()
        assert not [name for name, value in variables.items() if "planted" in value]
        assert variables["FLINK_REST_CLIENT_HEADERS"] == LOGIN["FLINK_REST_CLIENT_HEADERS"]


def test_jars_of_an_earlier_sluice_are_refused_with_the_next_step(lib, tmp_path):
    earlier = tmp_path / "lib"
    earlier.mkdir()
    for jar in lib.glob("*.jar"):
        if not jar.name.startswith("flink-strict-json"):
            (earlier / jar.name).symlink_to(jar.resolve())
    variables = {"FLINK_LIB_DIR": str(earlier)}
    with ClientProcess(Path(sys.executable), tmp_path / "log", variables=variables) as process:
        with pytest.raises(
            ConfigError, match=r"has no flink-strict-json jar of this version of Sluice.*run make client"
        ):
            process.prepare(archive.sample_order(Access("http://127.0.0.1:1")), timeout=180)
