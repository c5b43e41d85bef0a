"""How the open work of a program stands: by version, status and kind, and item by item for those who move it."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select

from fhir_tracker.model.viewer import Viewer
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.scope import row_scope
from fhir_tracker.storage.work_tables import work_item


@dataclass(frozen=True, kw_only=True)
class Standing:
    """So many open items of one version, kind (`plan` or `task`), status (of a plan: its stage) and task code."""

    version: int
    kind: str
    status: str
    code: str
    count: int


def of_program(tx: Tx, viewer: Viewer, program: str, but: int) -> list[Standing]:
    """The open plans and tasks of all versions of a program but one."""
    columns = (work_item.c.program_version, work_item.c.kind, work_item.c.status, work_item.c.code)
    chosen = select(*columns, func.count().label("count")).where(
        work_item.c.program == program,
        work_item.c.open,
        work_item.c.program_version != but,
        work_item.c.kind.in_(("plan", "task")),
        row_scope(viewer, work_item),
    )
    rows = tx.rows(chosen.group_by(*columns).order_by(*columns))
    return [
        Standing(
            version=row["program_version"], kind=row["kind"], status=row["status"], code=row["code"], count=row["count"]
        )
        for row in rows
    ]


def next_items(
    tx: Tx, viewer: Viewer, program: str, but: int, kind: str, after: int, limit: int, only: int | None = None
) -> list[tuple[int, str]]:
    """Key and reference of the next open items of a kind, of every version but one, or of `only` one."""
    chosen = select(work_item.c.k, work_item.c.ref).where(
        work_item.c.program == program,
        work_item.c.open,
        work_item.c.program_version != but,
        work_item.c.kind == kind,
        work_item.c.k > after,
        row_scope(viewer, work_item),
    )
    if only is not None:
        chosen = chosen.where(work_item.c.program_version == only)
    return [(row["k"], row["ref"]) for row in tx.rows(chosen.order_by(work_item.c.k).limit(limit))]
