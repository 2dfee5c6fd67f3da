"""Base class of triggers: plain arguments, which Airflow stores, and the project that they name."""

from __future__ import annotations

import inspect
from typing import Any

from airflow.triggers.base import BaseTrigger
from asgiref.sync import sync_to_async

from sluice.airflow.projects import project_of
from sluice.clock import MACHINE, Clock
from sluice.project import Project


class ProjectTrigger(BaseTrigger):
    """Base of the triggers that read a project. A subclass keeps each argument as an attribute of the same name.

    Args:
        root: The project's directory; None: SLUICE_ROOT, or the working directory's.
        environment: Which file of deployments/ applies; None: SLUICE_ENVIRONMENT. That file names the brokers and the
            cluster, so that Airflow stores no secrets among the trigger's arguments.

    Attributes:
        clock: The clock of triggers that wait without reading the whole project; Airflow doesn't store it.
    """

    def __init__(self, *, root: str | None, environment: str | None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.root = root
        self.environment = environment
        self.clock: Clock = MACHINE
        self._project: Project | None = None

    async def project(self) -> Project:
        """The project, read once: a killed trigger has little time to cancel its Flink job."""
        if self._project is None:
            self._project = await sync_to_async(project_of)(self.root, self.environment)
        return self._project

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class and arguments."""
        kind = type(self)
        names = list(inspect.signature(kind).parameters)
        return f"{kind.__module__}.{kind.__name__}", {name: getattr(self, name) for name in names}
