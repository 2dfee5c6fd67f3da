"""What the scripts of the tests use of Airflow and Sluice, imported once for all of them."""

import gc
from importlib import import_module

from sqlalchemy.orm import configure_mappers

from tests.support.ledgers import skip_syncs

for name in ("approve", "assets", "backfill", "dags", "operators", "savepoint", "sweep", "timetable", "triggers"):
    import_module(f"sluice.airflow.{name}")
for name in ("fleet.needs", "fleet.status", "ledger.ledger", "operation.driver", "plan.planner", "replay.run"):
    import_module(f"sluice.{name}")
import_module("airflow.sdk.execution_time.task_runner")
configure_mappers()
skip_syncs()
# The forked processes collect no garbage of this one, which would copy its memory.
gc.freeze()
