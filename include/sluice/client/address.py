"""A cluster's REST address and login as options of Flink's own REST client."""

from __future__ import annotations

import os
from collections.abc import Mapping
from urllib.parse import urlsplit

from sluice.flink.access import Access

HEADERS = "FLINK_REST_CLIENT_HEADERS"
"""The environment variable from which Flink's REST client reads extra headers, one per line."""
_PORTS = {"http": 80, "https": 443}
_CIPHERS = (
    *("TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256"),
    *("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"),
    *("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
)
_TLS = {
    "security.ssl.rest.enabled": "true",
    "security.ssl.rest.verify-hostname": "true",
    # By default Flink speaks TLS 1.2 only, with cipher suites for RSA certificates only.
    "security.ssl.protocol": "TLSv1.3,TLSv1.2",
    "security.ssl.algorithms": ",".join(_CIPHERS),
}


def rest_options(url: str) -> dict[str, str]:
    """The options with which Flink's REST client connects to an address; the default port is that of the scheme.

    Args:
        url: As `flink.url` in the deployment file, e.g. https://flink.example.org/team.
    """
    address = urlsplit(url)
    host = address.hostname or ""
    options = {
        "rest.address": f"[{host}]" if ":" in host else host,
        "rest.port": str(address.port or _PORTS[address.scheme]),
    }
    if path := address.path.rstrip("/"):
        options["rest.path"] = path
    if address.scheme == "https":
        # Flink takes the host name for certificate verification and SNI from this option.
        options |= {**_TLS, "jobmanager.rpc.address": host, "jobmanager.rpc.port": options["rest.port"]}
    return options


def login_variables(access: Access, variables: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment variables by which the client logs in; arguments would be visible to other users.

    Args:
        access: How to reach the cluster.
        variables: The current environment, whose extra headers are kept.
    """
    login = access.authorization
    if login is None:
        return {}
    own = [line for line in variables.get(HEADERS, "").split("\n") if line]
    return {HEADERS: "\n".join([*own, f"Authorization:{login}"])}
