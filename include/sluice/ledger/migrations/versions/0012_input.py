"""Rates of malformed and late records in samples."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("malformed_per_s", "late_per_s"):
        op.add_column("samples", sa.Column(name, sa.Float))
