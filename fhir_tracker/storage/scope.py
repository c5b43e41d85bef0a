"""Who may see a row: the one function that turns a viewer into a condition on a table."""

from __future__ import annotations

from sqlalchemy import ColumnElement, FromClause, false, true

from fhir_tracker.model.viewer import Viewer


def row_scope(viewer: Viewer, table: FromClause) -> ColumnElement[bool]:
    """The condition under which `viewer` sees a row of `table` (or an alias of it).

    A viewer locked to a patient sees only rows of that patient, and none of a table that has no patient column.
    """
    if viewer.patient is None:
        return true()
    if "patient" not in table.c:
        return false()
    column: ColumnElement[str] = table.c.patient
    return column == viewer.patient


def row_scope_text(viewer: Viewer, alias: str) -> tuple[str, tuple[str, ...]]:
    """The same for a statement kept as text, over `resource` under this alias: what to add to its WHERE, and the values."""
    return ("", ()) if viewer.patient is None else (f" AND {alias}.patient = %s", (viewer.patient,))
