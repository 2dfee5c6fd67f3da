"""Indexes that answer the fleet page's queries over all jobs."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_samples_curves", "samples", ["environment", "at", "job", "consumer_lag", "watermark_lag_ms"])
    # The new index has the same first columns.
    op.drop_index("ix_samples_at", "samples")
    op.create_index("ix_operations_newest", "operations", ["environment", "job", "started_at", "kind", "outcome"])
    # No query selects a job over all environments.
    op.drop_index("ix_operations_job", "operations")
