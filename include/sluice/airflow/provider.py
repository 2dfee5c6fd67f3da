"""What Airflow asks a provider package for."""

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
        "path": {"label": "Path", "schema": _TEXT, "description": "Where a proxy has it: /team"},
        "token": {
            "label": "Bearer token",
            "schema": {**_TEXT, "format": "password"},
            "description": "Instead of user and password",
        },
        "verify": {
            "label": "Verify the certificate",
            "schema": {"type": ["boolean", "null"], "default": True},
            "description": "Off: whoever is in between can read and change everything",
        },
        "ca_bundle": {
            "label": "CA bundle",
            "schema": _TEXT,
            "description": "Path of a PEM file, on every machine that deploys. Empty: what those trust",
        },
        "client_certificate": {
            "label": "Client certificate",
            "schema": _TEXT,
            "description": "Path of a PEM file, where the cluster wants to see one",
        },
        "client_key": {
            "label": "Client key",
            "schema": _TEXT,
            "description": "Path of its key as PEM, without a password",
        },
    },
}
"""The connection type `flink`, and the form for it. What its fields mean: `sluice.flink.connection`."""


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
