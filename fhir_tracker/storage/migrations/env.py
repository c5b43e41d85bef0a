"""Alembic's entry: runs on the connection and in the transaction that `storage.schema` hands over."""

from __future__ import annotations

from alembic import context

from fhir_tracker import failpoints


def _step_done(*_: object, **__: object) -> None:
    failpoints.reached("migration-step")


context.configure(
    connection=context.config.attributes["connection"],
    transactional_ddl=True,
    render_as_batch=False,
    on_version_apply=_step_done,
)
context.run_migrations()
