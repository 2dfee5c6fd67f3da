"""The provider information that Airflow reads: the connection type `flink` and the task links."""

from __future__ import annotations

from typing import Any

_TEXT = {"type": ["string", "null"]}
_FLINK = {
    "connection-type": "flink",
    "hook-class-name": "sluice.airflow.hook.FlinkHook",
    "hook-name": "Flink",
    "ui-field-behaviour": {
        "hidden-fields": ["extra"],
        "relabeling": {"schema": "Schema (http or https)", "login": "User", "password": "Password"},
        "placeholders": {"host": "flink.example.org", "port": "80, or 443 with https", "schema": "http"},
    },
    "conn-fields": {
        "path": {
            "label": "Path",
            "schema": _TEXT,
            "description": "Path at which a proxy serves the REST API: /team",
        },
        "token": {
            "label": "Bearer token",
            "schema": {**_TEXT, "format": "password"},
            "description": "Instead of user and password",
        },
        "verify": {
            "label": "Verify the certificate",
            "schema": {"type": ["boolean", "null"], "default": True},
            "description": "Off: an attacker on the network can read and change all requests",
        },
        "ca_bundle": {
            "label": "CA bundle",
            "schema": _TEXT,
            "description": "Path of a PEM file, on every machine that deploys. Empty: their own trust store",
        },
        "client_certificate": {
            "label": "Client certificate",
            "schema": _TEXT,
            "description": "Path of a PEM file, if the cluster requires one",
        },
        "client_key": {
            "label": "Client key",
            "schema": _TEXT,
            "description": "Path of the PEM file of its key, without a password",
        },
    },
}
"""The connection type `flink` and its form; `sluice.flink.connection` explains the fields."""


def get_provider_info() -> dict[str, Any]:
    """The entry point `apache_airflow_provider`."""
    return {
        "package-name": "sluice",
        "name": "Sluice",
        "description": "Deploys, watches and upgrades PyFlink streaming jobs.",
        "integrations": [],
        "connection-types": [_FLINK],
        "extra-links": ["sluice.airflow.links.FlinkJobLink"],
    }
