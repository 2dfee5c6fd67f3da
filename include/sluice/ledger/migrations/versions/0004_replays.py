"""Replays and their chunks."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "replays",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("environment", sa.String(63), nullable=False),
        sa.Column("job", sa.String(63), nullable=False),
        sa.Column("holder", sa.String(500), nullable=False),
        sa.Column("release", sa.Integer, nullable=False),
        sa.Column("plan", sa.JSON, nullable=False),
        sa.Column("note", sa.String(1000)),
        sa.Column("started_at", INSTANT, nullable=False),
        sa.Column("ended_at", INSTANT),
        sa.Column("outcome", sa.String(20)),
        sa.Column("records", sa.BigInteger),
        sa.Column("report", sa.JSON),
        sa.Column("promoted_at", INSTANT),
    )
    op.create_index("ix_replays_job", "replays", ["environment", "job", "started_at"])
    op.create_table(
        "replay_chunks",
        sa.Column("replay", sa.String(32), sa.ForeignKey("replays.id"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("taker", sa.String(500)),
        sa.Column("flink_job_id", sa.String(32)),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("records", sa.BigInteger),
        sa.Column("reason", sa.String(4000)),
        sa.Column("began_at", INSTANT),
        sa.Column("ended_at", INSTANT),
    )
