"""What Airflow's own processes load: the timetable of the backfill DAGs."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

from sluice.airflow.timetable import IntervalsOnRequest


class SluicePlugin(AirflowPlugin):
    """The entry point `airflow.plugins`."""

    name = "sluice"
    timetables = [IntervalsOnRequest]  # noqa: RUF012 - as Airflow wants it
