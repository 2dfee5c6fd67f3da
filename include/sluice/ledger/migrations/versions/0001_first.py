"""Releases, operations, journal and placements."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "releases",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("environment", sa.String(63), nullable=False),
        sa.Column("job", sa.String(63), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("artifact", sa.String(64), nullable=False),
        sa.Column("module", sa.String(255), nullable=False),
        sa.Column("resolved", sa.JSON, nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("healthy_at", INSTANT),
        sa.UniqueConstraint("environment", "job", "number"),
    )
    op.create_table(
        "operations",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("environment", sa.String(63), nullable=False),
        sa.Column("job", sa.String(63), nullable=False),
        sa.Column("active_job", sa.String(63)),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("holder", sa.String(500), nullable=False),
        sa.Column("token", sa.Integer, nullable=False),
        sa.Column("lease_until", INSTANT, nullable=False),
        sa.Column("release", sa.Integer, nullable=False),
        sa.Column("started_at", INSTANT, nullable=False),
        sa.Column("ended_at", INSTANT),
        sa.Column("outcome", sa.String(20)),
        sa.Column("reason", sa.String(4000)),
        sa.UniqueConstraint("environment", "active_job"),
    )
    op.create_index("ix_operations_job", "operations", ["job"])
    op.create_table(
        "journal",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("operation", sa.String(32), sa.ForeignKey("operations.id"), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("stage", sa.String(40), nullable=False),
        sa.Column("event", sa.String(40), nullable=False),
        sa.Column("data", sa.JSON, nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.UniqueConstraint("operation", "number"),
    )
    op.create_table(
        "running",
        sa.Column("environment", sa.String(63), primary_key=True),
        sa.Column("job", sa.String(63), primary_key=True),
        sa.Column("release", sa.Integer, nullable=False),
        sa.Column("flink_job_id", sa.String(32), nullable=False),
        sa.Column("restored_from", sa.String(2000)),
        sa.Column("had_checkpoint", sa.Boolean, nullable=False),
        sa.Column("since", INSTANT, nullable=False),
    )
