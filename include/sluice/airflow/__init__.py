"""Sluice in Airflow: operators, triggers, links, and the DAGs made of them. The only code that imports Airflow.

Your own DAGs may import the names in `__all__` from here; each is loaded at its first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sluice.airflow.assets import event_time_asset, job_asset, topic_asset
    from sluice.airflow.backfill import BackfillOperator, backfill_group
    from sluice.airflow.deploy import DeployOperator, ResumeOperator, RollBackToOperator, SuspendOperator
    from sluice.airflow.deploy_tasks import deploy_group
    from sluice.airflow.gates import GateOperator, gate_group
    from sluice.airflow.savepoint import SavepointOperator

_MODULES = {
    "BackfillOperator": "backfill",
    "DeployOperator": "deploy",
    "GateOperator": "gates",
    "ResumeOperator": "deploy",
    "RollBackToOperator": "deploy",
    "SavepointOperator": "savepoint",
    "SuspendOperator": "deploy",
    "backfill_group": "backfill",
    "deploy_group": "deploy_tasks",
    "event_time_asset": "assets",
    "gate_group": "gates",
    "job_asset": "assets",
    "topic_asset": "assets",
}
__all__ = [
    "BackfillOperator",
    "DeployOperator",
    "GateOperator",
    "ResumeOperator",
    "RollBackToOperator",
    "SavepointOperator",
    "SuspendOperator",
    "backfill_group",
    "deploy_group",
    "event_time_asset",
    "gate_group",
    "job_asset",
    "topic_asset",
]


def __getattr__(name: str) -> Any:
    """Import a public name from its module at its first use."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
