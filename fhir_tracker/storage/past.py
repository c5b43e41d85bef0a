"""What was known of patients at earlier moments: every version of their resources, and who had work of a program."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import case, or_, select

from fhir_tracker.model.viewer import Viewer
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.records import from_row
from fhir_tracker.storage.resources import Op
from fhir_tracker.storage.scope import row_scope
from fhir_tracker.storage.tables import resource, resource_version
from fhir_tracker.storage.work_tables import work_item


@dataclass(frozen=True, kw_only=True)
class PastResource:
    """One version as it was: `body` is None for a deletion; `who` wrote it, `connection` whose it is."""

    type: str
    id: str
    patient: str | None
    connection: str | None
    version: int
    updated_at: datetime
    op: Op
    who: str
    body: str | None


def of_patients(
    tx: Tx, viewer: Viewer, patients: Sequence[str], types: Collection[str], until: datetime
) -> dict[str, list[PastResource]]:
    """Patient -> every version of their resources of these types up to `until`, oldest first. One query."""
    is_current = (resource.c.version == resource_version.c.version) & ~resource.c.deleted
    body = case((is_current, resource.c.body), else_=resource_version.c.body).label("body")
    own = [resource.c[name] for name in ("type", "id", "patient", "connection")]
    told = [resource_version.c[name] for name in ("version", "updated_at", "op", "who")]
    joined = resource_version.join(resource, resource.c.k == resource_version.c.k)
    chosen = select(*own, *told, body).select_from(joined)
    chosen = chosen.where(
        resource.c.patient.in_(patients),
        resource.c.type.in_(sorted(types)),
        resource_version.c.updated_at <= until,
        row_scope(viewer, resource, types=sorted(types)),
        row_scope(viewer, resource_version, types=sorted(types)),
    )
    found: dict[str, list[PastResource]] = {one: [] for one in patients}
    order = (resource_version.c.updated_at, resource_version.c.k, resource_version.c.version)
    for row in tx.rows(chosen.order_by(*order)):
        found[row["patient"]].append(from_row(PastResource, row))
    return found


def with_work(tx: Tx, viewer: Viewer, program: str, since: datetime, after: str, limit: int) -> list[str]:
    """The next patients, by id, who had work of a program that was open at `since` or later."""
    lasted = or_(work_item.c.open, work_item.c.status_since >= since)
    chosen = (
        select(work_item.c.patient)
        .distinct()
        .where(work_item.c.program == program, work_item.c.patient > after, lasted, row_scope(viewer, work_item))
    )
    return [row["patient"] for row in tx.rows(chosen.order_by(work_item.c.patient).limit(limit))]
