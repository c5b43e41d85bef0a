"""What a record says of itself in the words of whoever wrote it, as safe markup for a page; our own narratives repeat the page."""

from __future__ import annotations

from collections.abc import Iterable

from api.staff.hidden import shown_resource
from api.staff.shapes import Narrative
from fhir_tracker.fhir.body import read_resource
from fhir_tracker.fhir.reading import text_at
from fhir_tracker.fhir.safe_markup import safe_markup
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.storage import resources
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.resources import Stored

_MOST = 5
_LONGEST = 1 << 24
_TITLES = {"CarePlan": "The plan", "Patient": "The patient", "Task": "The task"}


def narratives_of(tx: Tx, viewer: Viewer, refs: Iterable[str]) -> tuple[Narrative, ...]:
    """The narratives of what came from an EHR, as far as the viewer may see them."""
    found = resources.find_many(tx, viewer, list(refs))
    written = (_narrative(one, viewer) for one in found.values() if one.connection)
    return tuple(one for one in written if one is not None)[:_MOST]


def _narrative(stored: Stored, viewer: Viewer) -> Narrative | None:
    resource = shown_resource(read_resource(stored.body.encode(), max_bytes=_LONGEST), viewer.sight)
    if text_at(resource, "text", "status") == "empty":
        return None
    markup = safe_markup(text_at(resource, "text", "div") or "")
    return Narrative(title=_TITLES.get(stored.type, stored.type), safe_markup=markup) if markup else None
