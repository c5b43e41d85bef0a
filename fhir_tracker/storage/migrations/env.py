"""Alembic's entry: runs on the connection and in the transaction that `storage.schema` hands over."""

from __future__ import annotations

from alembic import context

context.configure(connection=context.config.attributes["connection"], transactional_ddl=True, render_as_batch=False)
context.run_migrations()
