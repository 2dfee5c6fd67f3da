"""A timetable that has data intervals for Airflow's backfills, and schedules no runs of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.timetables.interval import CronDataIntervalTimetable

if TYPE_CHECKING:
    from airflow.timetables.base import DagRunInfo, DataInterval, TimeRestriction


class IntervalsOnRequest(CronDataIntervalTimetable):
    """The data intervals of a cron expression, in UTC; only a backfill creates runs for them.

    Airflow refuses to backfill a DAG without a periodic schedule, and would schedule a DAG with one.
    """

    can_be_scheduled = False

    def next_dagrun_info(
        self, *, last_automated_data_interval: DataInterval | None, restriction: TimeRestriction
    ) -> DagRunInfo | None:
        """The next interval of a backfill, which catches up; None for the scheduler: the DAG has `catchup=False`."""
        if not restriction.catchup:
            return None
        return super().next_dagrun_info(
            last_automated_data_interval=last_automated_data_interval, restriction=restriction
        )
