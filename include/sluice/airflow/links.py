"""Links from a task to its job in the Flink UI."""

from __future__ import annotations

from airflow.sdk import BaseOperator, BaseOperatorLink
from airflow.sdk.execution_time.xcom import XCom

JOB_URL = "flink_job_url"
"""The key of the XCom with the address of the task's job in the Flink UI."""


class FlinkJobLink(BaseOperatorLink):
    """The job in the Flink UI."""

    name = "Flink UI"
    xcom_key = JOB_URL

    def get_link(self, operator: BaseOperator, *, ti_key) -> str:  # type: ignore[no-untyped-def]  # noqa: ARG002
        """The address that the task has pushed; empty before that."""
        return str(XCom.get_value(key=JOB_URL, ti_key=ti_key) or "")


def job_url(flink_url: str, flink_job_id: str) -> str:
    """A job's page in the Flink UI."""
    return f"{flink_url}/#/job/running/{flink_job_id}/overview"
