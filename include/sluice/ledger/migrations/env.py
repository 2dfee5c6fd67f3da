"""Alembic's entry point: runs the migrations on the connection that `database.open_database` passes."""

from alembic import context

from sluice.ledger.tables import Base

context.configure(
    connection=context.config.attributes["connection"], target_metadata=Base.metadata, render_as_batch=True
)
with context.begin_transaction():
    context.run_migrations()
