"""The last notification per notifier and job, and the run of the DAG that made a sample."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "told",
        sa.Column("environment", sa.String(63), primary_key=True),
        sa.Column("listener", sa.String(100), primary_key=True),
        sa.Column("subject", sa.String(20), primary_key=True),
        sa.Column("job", sa.String(255), primary_key=True),
        sa.Column("value", sa.String(255), nullable=False),
        sa.Column("at", INSTANT, nullable=False),
    )
    op.add_column("samples", sa.Column("run", sa.String(255)))
