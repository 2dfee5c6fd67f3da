"""The timetable of the backfills; in a process of its own, as the DAGs."""

from tests.support.own_process import run_script

SCRIPT = """
from datetime import datetime, UTC
import pendulum
from airflow.timetables.base import TimeRestriction
from sluice.airflow.timetable import IntervalsOnRequest
table = IntervalsOnRequest("@daily", timezone="UTC")
assert table.periodic
start, end = pendulum.datetime(2026, 1, 1), pendulum.datetime(2026, 1, 3)
scheduled = TimeRestriction(start, None, catchup=False)
never = table.next_dagrun_info(last_automated_data_interval=None, restriction=scheduled)
assert never is None, never
days, last = [], None
while info := table.next_dagrun_info(
    last_automated_data_interval=last, restriction=TimeRestriction(start, end, catchup=True)
):
    last = info.data_interval
    days.append((str(last.start), str(last.end)))
print(days)
"""


def test_timetable_has_intervals_for_a_backfill_and_schedules_no_runs(tmp_path):
    done = run_script(SCRIPT, tmp_path)
    assert done.stdout.count("00:00:00") == 6
