"""The timetable of the backfill DAGs."""

import pendulum
from airflow.timetables.base import TimeRestriction

from sluice.airflow.timetable import IntervalsOnRequest

TABLE = IntervalsOnRequest("@daily", timezone="UTC")
START = pendulum.datetime(2026, 1, 1)


def test_timetable_schedules_no_runs():
    assert TABLE.periodic
    scheduled = TimeRestriction(START, None, catchup=False)
    assert TABLE.next_dagrun_info(last_automated_data_interval=None, restriction=scheduled) is None


def test_timetable_has_the_daily_intervals_of_a_backfill():
    requested = TimeRestriction(START, pendulum.datetime(2026, 1, 3), catchup=True)
    days, last = [], None
    while info := TABLE.next_dagrun_info(last_automated_data_interval=last, restriction=requested):
        last = info.data_interval
        days.append((last.start, last.end))
    assert days == [(START.add(days=day), START.add(days=day + 1)) for day in range(3)]
