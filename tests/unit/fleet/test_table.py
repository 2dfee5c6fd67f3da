"""The fleet as a table in the terminal."""

import io

from rich.console import Console

from sluice.fleet.rows import JobStatus
from sluice.fleet.table import fleet_table


def shown(*rows):
    console = Console(file=io.StringIO(), width=300)
    console.print(fleet_table(rows))
    return console.file.getvalue()


def test_table_shows_settings_that_a_run_gave():
    given = JobStatus("counts", "RUNNING", overrides={"window": "30s", "least": 2})
    assert "window=30s, least=2" in shown(given, JobStatus("other", "RUNNING"))


def test_table_without_overrides_has_no_column_for_them():
    assert "set by a run" not in shown(JobStatus("other", "RUNNING"))
