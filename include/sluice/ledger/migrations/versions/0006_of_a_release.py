"""What a rollback needs when the job's file has changed, and the savepoint directory of a stop in progress."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("releases", sa.Column("meanings", sa.JSON))
    op.add_column("releases", sa.Column("health", sa.JSON))
    op.add_column("placements", sa.Column("savepoint_directory", sa.String(2000)))
