"""Permissions of the fleet page, by Airflow's auth manager.

A user who may read the DAG deploy.<job> may see the job. A job without such a DAG, since it isn't declared or its file
was removed, is visible to users who may read redeploy_and_verify, which reports it.
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
    """The user with a login, and the user's permissions.

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
        """The rows that the viewer may see."""
        return [row for row in rows if self._dag(row) in self._readable]

    def refuse_unseen(self, row: FleetRow) -> None:
        """Refuse a viewer who may not see the job.

        Raises:
            HTTPException: 403.
        """
        if not self._may("GET", dag := self._dag(row)):
            raise HTTPException(403, f"you may not read the DAG {dag}")

    def may_see_code(self, job: str) -> bool:
        """Whether the viewer may read the code of the job's DAG."""
        return self._may("GET", f"deploy.{job}", DagAccessEntity.CODE)

    def may_trigger(self, dag: str) -> bool:
        """Whether this DAG exists and the viewer may trigger it."""
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
"""The user with a login; a request without a login gets 401."""
