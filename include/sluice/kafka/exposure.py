"""Warn of a Kafka login that is sent over the network without encryption."""

from __future__ import annotations

from collections.abc import Mapping

from sluice.settings import is_this_machine


def exposed_kafka_login(config: Mapping[str, str]) -> str | None:
    """A warning that the login is sent unencrypted to another machine, with the remedy; None: it isn't.

    Args:
        config: librdkafka's configuration.
    """
    if config.get("security.protocol", "").upper() != "SASL_PLAINTEXT":
        return None
    servers = [server.strip() for server in config.get("bootstrap.servers", "").split(",")]
    others = [server for server in servers if not is_this_machine(server.rpartition(":")[0] or server)]
    if not others:
        return None
    return (
        f"the connection to Kafka at {', '.join(others)} sends its login without encryption (SASL_PLAINTEXT), so that "
        "others on the network can read it; use a listener with SASL_SSL, and change the login"
    )
