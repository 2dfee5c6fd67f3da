"""What a release needs that its file may no longer tell, and where an unfinished stop puts its savepoint."""

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
