"""Who may see what: the page asks Airflow's auth manager for what Airflow itself would ask.

A job is its DAG deploy.<job>: whoever may read that may see the job. What has no such DAG, a job of the cluster that
nobody declares, or one whose file is gone, is shown to whoever may read redeploy_and_verify, which reports it.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Annotated

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.base_auth_manager import ResourceMethod
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import GetUserDep
from airflow.models.dag import DagModel
from fastapi import Depends, HTTPException

from sluice.fleet.page.fleet import UNMANAGED
from sluice.fleet.page.models import FleetRow

SWEEP = "redeploy_and_verify"


class Viewer:
    """Whoever is logged in.

    Args:
        user: Airflow's user.
    """

    def __init__(self, user: BaseUser) -> None:
        self._user = user

    @cached_property
    def _readable(self) -> set[str]:
        return get_auth_manager().get_authorized_dag_ids(user=self._user, method="GET")

    def may_see(self, job: str) -> bool:
        """Whether the viewer may read the job's DAG."""
        return f"deploy.{job}" in self._readable

    def visible(self, rows: Iterable[FleetRow]) -> list[FleetRow]:
        """Those of the rows that the viewer may see."""
        return [row for row in rows if self._dag(row) in self._readable]

    def refuse_unseen(self, row: FleetRow) -> None:
        """Raise if the viewer may not see the job.

        Raises:
            HTTPException: 403.
        """
        if not self._may("GET", dag := self._dag(row)):
            raise HTTPException(403, f"you may not read the DAG {dag}")

    def may_see_code(self, job: str) -> bool:
        """Whether the viewer may read the code of the job's DAG."""
        return self._may("GET", f"deploy.{job}", DagAccessEntity.CODE)

    def may_trigger(self, dag: str) -> bool:
        """Whether there is such a DAG, and the viewer may start a run of it."""
        return dag in self._readable and self._may("POST", dag, DagAccessEntity.RUN)

    def _dag(self, row: FleetRow) -> str:
        return SWEEP if row.state in UNMANAGED else f"deploy.{row.job}"

    def _may(self, method: ResourceMethod, dag: str, entity: DagAccessEntity | None = None) -> bool:
        details = DagDetails(id=dag, team_name=DagModel.get_team_name(dag))
        return bool(
            get_auth_manager().is_authorized_dag(method=method, access_entity=entity, details=details, user=self._user)
        )


def _viewer(user: GetUserDep) -> Viewer:
    return Viewer(user)


ViewerDep = Annotated[Viewer, Depends(_viewer)]
"""Whoever is logged in; a request without a login is refused with 401."""
