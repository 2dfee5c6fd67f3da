"""Samples of each sweep."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "samples",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("environment", sa.String(63), nullable=False),
        sa.Column("job", sa.String(255), nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.Column("flink_job_id", sa.String(32)),
        sa.Column("release", sa.Integer),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("verdict", sa.String(20), nullable=False),
        sa.Column("reasons", sa.JSON, nullable=False),
        sa.Column("consumer_lag", sa.BigInteger),
        sa.Column("lag_per_s", sa.Float),
        sa.Column("watermark_lag_ms", sa.BigInteger),
        sa.Column("records_in_per_s", sa.Float),
        sa.Column("records_out_per_s", sa.Float),
        sa.Column("dead_letters_per_min", sa.Float),
        sa.Column("checkpoint_age_ms", sa.BigInteger),
        sa.Column("checkpoint_duration_ms", sa.BigInteger),
        sa.Column("checkpoint_bytes", sa.BigInteger),
        sa.Column("restarts", sa.Integer),
        sa.Column("recent_restarts", sa.Integer),
        sa.Column("drift", sa.Boolean),
        sa.Column("readings", sa.JSON),
    )
    op.create_index("ix_samples_job", "samples", ["environment", "job", "at"])
    op.create_index("ix_samples_at", "samples", ["environment", "at"])
