"""What Airflow asks a provider package for."""

from __future__ import annotations

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """The entry point `apache_airflow_provider`."""
    return {
        "package-name": "sluice",
        "name": "Sluice",
        "description": "Deploys, watches and upgrades PyFlink streaming jobs.",
        "integrations": [],
        "extra-links": ["sluice.airflow.links.FlinkJobLink"],
    }
