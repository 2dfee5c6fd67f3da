"""A timetable for what people ask for: it has data intervals for Airflow's backfills, and no runs of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.timetables.interval import CronDataIntervalTimetable

if TYPE_CHECKING:
    from airflow.timetables.base import DagRunInfo, DataInterval, TimeRestriction


class IntervalsOnRequest(CronDataIntervalTimetable):
    """The data intervals of a cron expression, in UTC; a run for one of them only where a backfill asks for it.

    Airflow refuses to backfill a DAG that has no periodic schedule, and runs one that has it.
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
