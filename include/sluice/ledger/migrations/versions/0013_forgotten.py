"""When a job whose file was removed was forgotten."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("placements", sa.Column("forgotten_at", sa.DateTime(timezone=True)))
