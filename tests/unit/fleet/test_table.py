"""The fleet as a table."""

import io

from rich.console import Console

from sluice.fleet.rows import JobStatus
from sluice.fleet.table import fleet_table


def shown(*rows):
    console = Console(file=io.StringIO(), width=300)
    console.print(fleet_table(rows))
    return console.file.getvalue()


def test_settings_that_a_run_gave_are_shown():
    given = JobStatus("counts", "RUNNING", overrides={"window": "30s", "least": 2})
    assert "window=30s, least=2" in shown(given, JobStatus("other", "RUNNING"))


def test_there_is_no_column_for_them_where_nobody_gave_any():
    assert "set by a run" not in shown(JobStatus("other", "RUNNING"))
