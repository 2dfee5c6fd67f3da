"""Reaching the brokers: librdkafka's configuration here, Java's for the jobs."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from functools import lru_cache

from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from sluice.errors import ConfigError, UnreachableError

TIMEOUT = 10.0
"""Seconds that a broker has for an answer."""

_RECENT = 60.0
"""Seconds for which a connection's failure says why the brokers don't answer."""
_REASONS = (KafkaError._AUTHENTICATION, KafkaError._SSL, KafkaError._RESOLVE, KafkaError._TRANSPORT)
_Config = tuple[tuple[str, str], ...]
_latest: dict[str, tuple[_Config, AdminClient]] = {}
"""By the brokers' addresses who has asked them last."""
_failures: dict[_Config, tuple[float, str]] = {}
"""When, and for what, a connection has last failed."""

_SAME = (
    "bootstrap.servers",
    "security.protocol",
    "ssl.key.password",
    "client.dns.lookup",
    "sasl.kerberos.service.name",
)
_SECURITY = "org.apache.flink.kafka.shaded.org.apache.kafka.common.security"
"""Where flink-sql-connector-kafka has the classes of the Java client."""
_LOGIN = {
    "PLAIN": f"{_SECURITY}.plain.PlainLoginModule",
    "SCRAM-SHA-256": f"{_SECURITY}.scram.ScramLoginModule",
    "SCRAM-SHA-512": f"{_SECURITY}.scram.ScramLoginModule",
}
_JAVA_ALONE = ("ssl.truststore.", "sasl.jaas.", "sasl.login.", "sasl.client.")
_OURS_ALONE = ("group.id", "client.id", "log_level", "debug", "statistics.interval.ms", "socket.timeout.ms")


def connect(config: Mapping[str, str]) -> AdminClient:
    """An admin client, one per process and configuration; it connects when it is first asked something.

    Raises:
        ConfigError: no brokers are named, or librdkafka refuses the configuration.
    """
    # A fork has none of its parent's threads: it gets a client of its own.
    key = tuple(sorted(librdkafka(config).items()))
    admin = _admin(os.getpid(), key)
    _latest[config["bootstrap.servers"]] = (key, admin)
    return admin


def group_member(config: Mapping[str, str], group: str) -> Consumer:
    """A consumer of a group that only asks and sets its offsets: it subscribes to nothing. The caller closes it.

    Raises:
        ConfigError: as `connect`.
    """
    try:
        return Consumer({**librdkafka(config), "group.id": group, "enable.auto.commit": "false"})
    except KafkaException as error:
        raise _refused(error) from error


def librdkafka(config: Mapping[str, str]) -> dict[str, str]:
    """The configuration of a client, with what every one of ours has.

    Raises:
        ConfigError: no brokers are named.
    """
    if not config.get("bootstrap.servers"):
        raise ConfigError(
            "no brokers are configured: bootstrap.servers is missing",
            remedy="set kafka.config in the deployment file, or the extra of the Airflow connection",
        )
    # librdkafka refuses what only the jobs' client knows.
    ours = {name: value for name, value in config.items() if not name.startswith(_JAVA_ALONE)}
    return {"log_level": "2", "socket.timeout.ms": str(int(TIMEOUT * 1000)), **ours}


@lru_cache(maxsize=16)
def _admin(_process: int, config: _Config) -> AdminClient:
    try:
        return AdminClient({**dict(config), "error_cb": lambda error: _note(config, error)})
    except KafkaException as error:
        raise _refused(error) from error


def _refused(error: KafkaException) -> ConfigError:
    return ConfigError(f"the Kafka configuration is refused: {error.args[0].str()}")


def unreachable(servers: str, error: KafkaException) -> UnreachableError:
    """A Kafka failure as our error, with what the connections have last failed for: a timeout alone says nothing."""
    cause = error.args[0]
    told = _told(servers)
    return UnreachableError(
        f"Kafka at {servers}: {cause.str()} ({cause.name()}){f': {told}' if told else ''}",
        remedy="start the broker, or correct bootstrap.servers and the credentials",
    )


def _note(config: _Config, error: KafkaError) -> None:
    """Keep why a connection failed; that all of them have is no reason."""
    if error.code() in _REASONS:
        _failures[config] = (time.monotonic(), error.str())


def _told(servers: str) -> str | None:
    if servers not in _latest:
        return None
    config, admin = _latest[servers]
    admin.poll(0.1)  # has the errors that have come in noted
    at, words = _failures.get(config, (0.0, ""))
    return words if words and time.monotonic() - at < _RECENT else None


def java_properties(config: Mapping[str, str]) -> dict[str, str]:
    """Librdkafka's configuration as the Java client spells it, for the connector.

    Raises:
        ConfigError: a setting that has no counterpart here: a job must not connect otherwise than we do.
    """
    given = {name: value for name, value in config.items() if name not in _OURS_ALONE}
    result = {name: given.pop(name) for name in _SAME if name in given}
    mechanism = given.pop("sasl.mechanism", given.pop("sasl.mechanisms", None))
    user, password = given.pop("sasl.username", None), given.pop("sasl.password", None)
    if mechanism:
        result["sasl.mechanism"] = mechanism
    if user is not None and password is not None and "sasl.jaas.config" not in given:
        result["sasl.jaas.config"] = _jaas(mechanism or "PLAIN", user, password)
    for kind, ours in (("truststore", "ssl.ca.location"), ("keystore", "ssl.keystore.location")):
        if ours in given:
            result[f"ssl.{kind}.location"] = given.pop(ours)
            result[f"ssl.{kind}.type"] = "PEM"
    # What is spelled as Java spells it passes: the connection may carry settings for the jobs alone.
    for name in list(given):
        if name.startswith(_JAVA_ALONE):
            result[name] = given.pop(name)
    if given:
        raise ConfigError(
            f"Kafka setting {', '.join(sorted(given))} has no known counterpart in the Java client",
            remedy="take it out of the connection, or give the Java client's own setting",
        )
    return result


def _jaas(mechanism: str, user: str, password: str) -> str:
    try:
        module = _LOGIN[mechanism]
    except KeyError:
        raise ConfigError(
            f"sasl.mechanism {mechanism}: expected one of {', '.join(_LOGIN)}",
            remedy="give sasl.jaas.config for the jobs yourself",
        ) from None

    def quoted(text: str) -> str:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    return f"{module} required username={quoted(user)} password={quoted(password)};"
