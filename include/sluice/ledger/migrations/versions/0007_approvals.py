"""Approval requests for plans that lose state, with their answers."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "approvals",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("environment", sa.String(63), nullable=False),
        sa.Column("job", sa.String(63), nullable=False, index=True),
        sa.Column("waiting_job", sa.String(63)),
        sa.Column("asker", sa.String(500), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("plan", sa.JSON, nullable=False),
        sa.Column("why", sa.String(4000), nullable=False),
        sa.Column("link", sa.String(2000)),
        sa.Column("asked_at", INSTANT, nullable=False),
        sa.Column("until", INSTANT, nullable=False),
        sa.Column("answer", sa.String(20)),
        sa.Column("answered_by", sa.String(500)),
        sa.Column("answered_at", INSTANT),
        sa.UniqueConstraint("environment", "waiting_job"),
    )
    op.add_column("operations", sa.Column("approved_by", sa.String(500)))
    op.add_column("operations", sa.Column("approved_at", INSTANT))
