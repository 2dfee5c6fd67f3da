"""A cluster's REST address as Flink's own client takes it."""

from __future__ import annotations

from urllib.parse import urlsplit

_PORTS = {"http": 80, "https": 443}


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
        options["security.ssl.rest.enabled"] = "true"
    return options
