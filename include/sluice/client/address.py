"""A cluster's REST address and login as Flink's own client takes them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from urllib.parse import urlsplit

from sluice.flink.access import Access

HEADERS = "FLINK_REST_CLIENT_HEADERS"
"""The environment variable from which Flink's REST client takes headers of its own, one a line."""
_PORTS = {"http": 80, "https": 443}
_CIPHERS = (
    *("TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256"),
    *("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"),
    *("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
)
_TLS = {
    "security.ssl.rest.enabled": "true",
    "security.ssl.rest.verify-hostname": "true",
    # Left to itself, Flink speaks TLS 1.2 alone, and takes no certificates but those of RSA keys.
    "security.ssl.protocol": "TLSv1.3,TLSv1.2",
    "security.ssl.algorithms": ",".join(_CIPHERS),
}


def rest_options(url: str) -> dict[str, str]:
    """The options that lead Flink's REST client to this address; a port that it doesn't name is its scheme's.

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
        # The name that the certificate must be for, and that a proxy goes by: Flink takes it from here.
        options |= {**_TLS, "jobmanager.rpc.address": host, "jobmanager.rpc.port": options["rest.port"]}
    return options


def login_variables(access: Access, variables: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment of a client that is to log in: a command line would be there for everybody to read.

    Args:
        access: The cluster.
        variables: The environment, whose own headers are kept.
    """
    login = access.authorization
    if login is None:
        return {}
    own = [line for line in variables.get(HEADERS, "").split("\n") if line]
    return {HEADERS: "\n".join([*own, f"Authorization:{login}"])}
