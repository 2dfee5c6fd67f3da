"""The cluster on which a job, or a chunk of a replay, was started."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("placements", sa.Column("cluster", sa.JSON(none_as_null=True), nullable=True))
    op.add_column("replay_chunks", sa.Column("cluster", sa.JSON(none_as_null=True), nullable=True))
