"""Replace secret options by digests in rows from before secrets were redacted.

Which of a job's own settings are secrets is known from its file only: those are redacted where they are shown.
"""

from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa
from alembic import op

from sluice.deployment.secrets import redact_options, redact_release

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

OPTION = "options."
Values = Mapping[str, Any]


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        # Overwrite the deleted content in the database file.
        op.execute("PRAGMA secure_delete = ON")
    _rewrite("releases", "resolved", sa.Integer, redact_release)
    _rewrite("operations", "plan", sa.String(32), _plan)
    _rewrite("approvals", "plan", sa.Integer, _plan)
    _rewrite("replays", "plan", sa.String(32), _replay)


def _rewrite(name: str, column: str, key: Any, change: Callable[[Values], Values]) -> None:
    """Rewrite the rows that contain secrets, one by one."""
    table = sa.table(name, sa.column("id", key), sa.column(column, sa.JSON))
    connection = op.get_bind()
    keys = connection.scalars(sa.select(table.c.id)).all()
    for one in keys:
        is_it = table.c.id == one
        old = connection.scalar(sa.select(table.c[column]).where(is_it))
        if isinstance(old, Mapping) and (new := change(old)) != old:
            connection.execute(sa.update(table).where(is_it).values({column: new}))


def _plan(plan: Values) -> Values:
    if not plan.get("changes"):
        return plan
    return {**plan, "changes": [_change(change) for change in plan["changes"]]}


def _change(change: Values) -> Values:
    if not change["path"].startswith(OPTION):
        return change
    name = change["path"].removeprefix(OPTION)
    known = {side: change[side] for side in ("old", "new") if change[side] is not None}
    return {**change, **{side: redact_options({name: value})[name] for side, value in known.items()}}


def _replay(plan: Values) -> Values:
    return {**plan, "resolved": redact_release(plan["resolved"])} if "resolved" in plan else plan
