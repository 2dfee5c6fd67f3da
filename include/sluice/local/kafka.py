"""One Kafka broker that is its own controller (KRaft), from Maven's jars."""

from __future__ import annotations

import subprocess
import uuid
from base64 import urlsafe_b64encode

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from sluice.errors import OperationError
from sluice.local.layout import HOST, Local
from sluice.local.service import Service, configured_by


def prepare(local: Local) -> Service:
    """Write the broker's configuration and format its storage, once."""
    directory = local.home / "kafka"
    directory.mkdir(parents=True, exist_ok=True)
    properties = directory / "server.properties"
    properties.write_text(_properties(local), encoding="utf-8")
    classpath = f"{local.jars / 'kafka'}/*"
    if not (directory / "data" / "meta.properties").exists():
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        done = subprocess.run(
            # One argument with its value: an id may begin with a hyphen.
            [
                "java",
                "-cp",
                classpath,
                "kafka.tools.StorageTool",
                "format",
                f"--cluster-id={cluster}",
                "-c",
                str(properties),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise OperationError(f"Kafka's storage can't be formatted: {done.stderr.strip() or done.stdout.strip()}")
    return Service(
        name="kafka",
        command=(
            *("java", "-Xmx512m", "-XX:+UseG1GC", *local.java_options.split()),
            *("-cp", classpath, "kafka.Kafka", str(properties)),
        ),
        is_ready=lambda: _answers(local.kafka_servers),
        ports={
            "SLUICE_KAFKA_PORT": local.kafka_port,
            "SLUICE_KAFKA_CONTROLLER_PORT": local.kafka_controller_port,
        },
        variables=configured_by(properties),
    )


def _answers(servers: str) -> bool:
    try:
        AdminClient({"bootstrap.servers": servers, "log_level": "0"}).list_topics(timeout=1)
    except KafkaException:
        return False
    return True


def _properties(local: Local) -> str:
    values = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@{HOST}:{local.kafka_controller_port}",
        "listeners": f"PLAINTEXT://{HOST}:{local.kafka_port},CONTROLLER://{HOST}:{local.kafka_controller_port}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{local.kafka_port}",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": local.home / "kafka" / "data",
        # Jobs declare their topics: a misspelt name must not create one.
        "auto.create.topics.enable": "false",
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 5,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "transaction.state.log.num.partitions": 5,
        "group.initial.rebalance.delay.ms": 0,
    }
    return "".join(f"{name}={value}\n" for name, value in values.items())
