"""What each operator of a release computes: its state is restored only if that is unchanged."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("releases", sa.Column("operators", sa.JSON))
