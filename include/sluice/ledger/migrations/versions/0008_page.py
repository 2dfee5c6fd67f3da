"""What the fleet page asks of all jobs at once, answered from indexes alone."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_samples_curves", "samples", ["environment", "at", "job", "consumer_lag", "watermark_lag_ms"])
    # It begins as this one does.
    op.drop_index("ix_samples_at", "samples")
    op.create_index("ix_operations_newest", "operations", ["environment", "job", "started_at", "kind", "outcome"])
    # Nothing looks for a job of all environments.
    op.drop_index("ix_operations_job", "operations")
