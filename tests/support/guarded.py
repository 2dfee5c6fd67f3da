"""A Kafka broker of a test's own that wants a password at one address and speaks TLS at another."""

import subprocess
import time
import uuid
from base64 import urlsafe_b64encode
from contextlib import contextmanager

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from sluice.local.layout import HOST
from tests.support.certificates import self_signed
from tests.support.stacks import ROOT, free_ports

USER, PASSWORD = "sluice", "right"
_PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule"


@contextmanager
def guarded_broker(directory, secret=PASSWORD):
    """The broker's addresses: the one for which a password is needed, and the one with TLS; and its certificate."""
    password, tls, controller = free_ports(3)
    key, certificate = self_signed()
    settings = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@{HOST}:{controller}",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PASSWORD",
        "listeners": f"PASSWORD://{HOST}:{password},TLS://{HOST}:{tls},CONTROLLER://{HOST}:{controller}",
        "advertised.listeners": f"PASSWORD://{HOST}:{password},TLS://{HOST}:{tls}",
        "listener.security.protocol.map": "PASSWORD:SASL_PLAINTEXT,TLS:SSL,CONTROLLER:PLAINTEXT",
        "sasl.enabled.mechanisms": "PLAIN",
        "sasl.mechanism.inter.broker.protocol": "PLAIN",
        "listener.name.password.plain.sasl.jaas.config": f'{_PLAIN} required username="{USER}" '
        f'password="{secret}" user_{USER}="{secret}";',
        "ssl.keystore.type": "PEM",
        "ssl.keystore.key": key.replace("\n", "\\n"),
        "ssl.keystore.certificate.chain": certificate.replace("\n", "\\n"),
        "log.dirs": directory / "data",
        "auto.create.topics.enable": "false",
        **{
            f"{name}.{setting}": 1
            for name in ("offsets.topic", "transaction.state.log")
            for setting in ("replication.factor", "num.partitions")
        },
        "transaction.state.log.min.isr": 1,
        "group.initial.rebalance.delay.ms": 0,
    }
    properties = directory / "server.properties"
    properties.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    java = ["java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp", f"{ROOT / '.sluice' / 'jars' / 'kafka'}/*"]
    cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    tool = [*java, "kafka.tools.StorageTool", "format", f"--cluster-id={cluster}", "-c", str(properties)]
    subprocess.run(tool, check=True, capture_output=True)
    (directory / "ca.pem").write_text(certificate)
    with (directory / "log").open("w") as log:
        broker = subprocess.Popen([*java, "kafka.Kafka", str(properties)], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 60
        while not _answers(login(f"{HOST}:{password}", secret)):
            assert broker.poll() is None, (directory / "log").read_text()[-2000:]
            assert time.monotonic() < deadline, "the broker does not start"
        yield f"{HOST}:{password}", f"{HOST}:{tls}", directory / "ca.pem"
    finally:
        broker.kill()
        broker.wait()


def login(servers, password):
    """How to reach the address for which a password is needed."""
    return {
        "bootstrap.servers": servers,
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.username": USER,
        "sasl.password": password,
    }


def _answers(config):
    try:
        AdminClient({**config, "log_level": "0"}).list_topics(timeout=1)
    except KafkaException:
        return False
    return True
