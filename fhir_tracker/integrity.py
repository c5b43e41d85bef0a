"""What others still refer to is not deleted, so that no reference leads nowhere.

https://hl7.org/fhir/R4/http.html#delete
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fhir_tracker.errors import Conflict
from fhir_tracker.model.viewer import Viewer, worker_viewer
from fhir_tracker.storage import work_items
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.referrers import Referrers, referrers

MOST_NAMED = 5
_SYSTEM = worker_viewer("integrity")


def refusals(tx: Tx, viewer: Viewer, refs: Sequence[str]) -> Mapping[str, Conflict]:
    """`Type/id` -> why it cannot be deleted, for those of `refs` that current resources refer to as the store is now.

    The trail (Provenance, AuditEvent) and the escalations of a Task, which end with it, never stand in the way. Only
    what is in the store when this is asked counts: a reference that another transaction adds at the same moment is not
    seen on PostgreSQL, and one that is added later is not refused; both then lead to what is deleted (410). On SQLite,
    whose writers take turns, nothing comes in between.
    """
    found = referrers(tx, viewer, refs, besides=_escalations(tx, refs))
    return {ref: Conflict(_told(ref, some)) for ref, some in found.items()}


def refuse_referred(tx: Tx, viewer: Viewer, ref: str) -> None:
    """Raise Conflict when `ref` cannot be deleted; see `refusals`."""
    for error in refusals(tx, viewer, [ref]).values():
        raise error


def _escalations(tx: Tx, refs: Sequence[str]) -> set[str]:
    about = (work_items.about(tx, _SYSTEM, ref) for ref in refs if ref.startswith("Task/"))
    return {item.ref for items in about for item in items if item.kind == "escalation"}


def _told(ref: str, some: Referrers) -> str:
    if not some.seen:
        return f"{ref} cannot be deleted: other resources refer to it."
    count = len(some.seen)
    named = ", ".join(some.seen[:MOST_NAMED]) + (" and others" if count > MOST_NAMED else "")
    verb = "resource refers" if count == 1 and not some.more else "resources refer"
    least = "at least " if some.more else ""
    return f"{ref} cannot be deleted: {least}{count} {verb} to it ({named}). Delete or change what refers to it first."
