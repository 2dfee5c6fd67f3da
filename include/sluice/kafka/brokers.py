"""Connections to the brokers: librdkafka's configuration for Sluice, the Java client's for the jobs."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from functools import lru_cache

from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from sluice.errors import ConfigError, UnreachableError

TIMEOUT = 10.0
"""Seconds to wait for a broker's answer."""

_RECENT = 60.0
"""Seconds for which a failed connection counts as the reason why the brokers don't answer."""
_REASONS = (KafkaError._AUTHENTICATION, KafkaError._SSL, KafkaError._RESOLVE, KafkaError._TRANSPORT)
_Config = tuple[tuple[str, str], ...]
_latest: dict[str, tuple[_Config, AdminClient]] = {}
"""The last client, with its configuration, by the brokers' addresses."""
_failures: dict[_Config, tuple[float, str]] = {}
"""Monotonic time and message of the last failed connection, by configuration."""

_SAME = (
    "bootstrap.servers",
    "security.protocol",
    "ssl.key.password",
    "client.dns.lookup",
    "sasl.kerberos.service.name",
)
_SECURITY = "org.apache.flink.kafka.shaded.org.apache.kafka.common.security"
"""The package into which flink-sql-connector-kafka relocates the Java client."""
_LOGIN = {
    "PLAIN": f"{_SECURITY}.plain.PlainLoginModule",
    "SCRAM-SHA-256": f"{_SECURITY}.scram.ScramLoginModule",
    "SCRAM-SHA-512": f"{_SECURITY}.scram.ScramLoginModule",
}
_JAVA_ONLY = ("ssl.truststore.", "sasl.jaas.", "sasl.login.", "sasl.client.")
_LIBRDKAFKA_ONLY = ("group.id", "client.id", "log_level", "debug", "statistics.interval.ms", "socket.timeout.ms")


def connect(config: Mapping[str, str]) -> AdminClient:
    """An admin client, one per process and configuration. It connects at the first request.

    Raises:
        ConfigError: the configuration has no brokers, or librdkafka rejects it.
    """
    # A forked process lacks its parent's threads, so that it needs a new client.
    key = tuple(sorted(librdkafka(config).items()))
    admin = _admin(os.getpid(), key)
    _latest[config["bootstrap.servers"]] = (key, admin)
    return admin


def group_member(config: Mapping[str, str], group: str) -> Consumer:
    """A consumer that reads and sets the offsets of a group, without subscribing. The caller closes it.

    Raises:
        ConfigError: as `connect`.
    """
    try:
        return Consumer({**librdkafka(config), "group.id": group, "enable.auto.commit": "false"})
    except KafkaException as error:
        raise _refused(error) from error


def librdkafka(config: Mapping[str, str]) -> dict[str, str]:
    """The configuration of a client, with the settings that all of Sluice's clients have.

    Raises:
        ConfigError: the configuration has no brokers.
    """
    if not config.get("bootstrap.servers"):
        raise ConfigError(
            "no brokers are configured: bootstrap.servers is missing",
            remedy="set kafka.config in the deployment file, or the extra of the Airflow connection",
        )
    # librdkafka rejects settings that only the Java client knows.
    ours = {name: value for name, value in config.items() if not name.startswith(_JAVA_ONLY)}
    return {"log_level": "2", "socket.timeout.ms": str(int(TIMEOUT * 1000)), **ours}


@lru_cache(maxsize=16)
def _admin(_process: int, config: _Config) -> AdminClient:
    try:
        return AdminClient({**dict(config), "error_cb": lambda error: _remember_failure(config, error)})
    except KafkaException as error:
        raise _refused(error) from error


def _refused(error: KafkaException) -> ConfigError:
    return ConfigError(f"the Kafka configuration is invalid: {error.args[0].str()}")


def unreachable(servers: str, error: KafkaException) -> UnreachableError:
    """The error for a Kafka failure, with the last failure of the connections: a timeout alone has no reason."""
    cause = error.args[0]
    reason = _recent_failure(servers)
    return UnreachableError(
        f"Kafka at {servers}: {cause.str()} ({cause.name()}){f': {reason}' if reason else ''}",
        remedy="start the broker, or correct bootstrap.servers and the credentials",
    )


def _remember_failure(config: _Config, error: KafkaError) -> None:
    """Remember why a connection failed; other errors (all brokers down, say) name no reason."""
    if error.code() in _REASONS:
        _failures[config] = (time.monotonic(), error.str())


def _recent_failure(servers: str) -> str | None:
    if servers not in _latest:
        return None
    config, admin = _latest[servers]
    admin.poll(0.1)  # runs error_cb for errors that have arrived
    at, words = _failures.get(config, (0.0, ""))
    return words if words and time.monotonic() - at < _RECENT else None


def java_properties(config: Mapping[str, str]) -> dict[str, str]:
    """Translate librdkafka's configuration to the Java client's, for the connector.

    Raises:
        ConfigError: a setting can't be translated; jobs must connect with the same settings as Sluice.
    """
    given = {name: value for name, value in config.items() if name not in _LIBRDKAFKA_ONLY}
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
    # Settings in the Java client's spelling are meant for the jobs alone.
    for name in list(given):
        if name.startswith(_JAVA_ONLY):
            result[name] = given.pop(name)
    if given:
        raise ConfigError(
            f"Kafka setting {', '.join(sorted(given))} can't be translated to a setting of the Java client",
            remedy="remove it from the connection, or set the Java client's own setting",
        )
    return result


def _jaas(mechanism: str, user: str, password: str) -> str:
    try:
        module = _LOGIN[mechanism]
    except KeyError:
        raise ConfigError(
            f"sasl.mechanism {mechanism}: expected one of {', '.join(_LOGIN)}",
            remedy="set sasl.jaas.config for the jobs",
        ) from None

    def quoted(text: str) -> str:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    return f"{module} required username={quoted(user)} password={quoted(password)};"
