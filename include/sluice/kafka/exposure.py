"""Whether a login at the brokers can be read by others on the network."""

from __future__ import annotations

from collections.abc import Mapping

from sluice.settings import is_this_machine


def exposed_kafka_login(config: Mapping[str, str]) -> str | None:
    """That the brokers' login goes unencrypted to another machine, and what to do; None: it doesn't.

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
        f"the connection to Kafka at {', '.join(others)} has a login and no encryption (SASL_PLAINTEXT): others on the "
        "network can read what is sent; give the brokers a listener of SASL_SSL, and change the login"
    )
