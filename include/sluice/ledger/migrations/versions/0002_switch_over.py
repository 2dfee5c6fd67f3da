"""Phases of a placement, results of an operation, and savepoints."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.rename_table("running", "placements")
    op.add_column("placements", sa.Column("phase", sa.String(20), nullable=False, server_default="running"))
    op.add_column("placements", sa.Column("stop_mode", sa.String(20)))
    op.add_column("placements", sa.Column("trigger_id", sa.String(32)))
    op.add_column("placements", sa.Column("state_path", sa.String(2000)))
    op.add_column("placements", sa.Column("positions", sa.JSON))
    op.add_column("placements", sa.Column("carried_over", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("releases", sa.Column("overrides", sa.JSON, nullable=False, server_default="{}"))
    op.add_column("releases", sa.Column("graph", sa.String(64)))
    op.add_column("operations", sa.Column("former_release", sa.Integer))
    op.add_column("operations", sa.Column("mode", sa.String(20)))
    op.add_column("operations", sa.Column("note", sa.String(1000)))
    op.add_column("operations", sa.Column("plan", sa.JSON))
    op.add_column("operations", sa.Column("flink_job_id", sa.String(32)))
    op.add_column("operations", sa.Column("savepoint", sa.String(2000)))
    op.add_column("operations", sa.Column("restored_from", sa.String(2000)))
    op.add_column("operations", sa.Column("downtime_ms", sa.Integer))
    op.create_table(
        "savepoints",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("environment", sa.String(63), nullable=False),
        sa.Column("job", sa.String(63), nullable=False),
        sa.Column("path", sa.String(2000), nullable=False),
        sa.Column("release", sa.Integer, nullable=False),
        sa.Column("flink_job_id", sa.String(32), nullable=False),
        sa.Column("operation", sa.String(32), nullable=False),
        sa.Column("taken_at", INSTANT, nullable=False),
        sa.Column("deleted_at", INSTANT),
    )
    op.create_index("ix_savepoints_job", "savepoints", ["job"])
