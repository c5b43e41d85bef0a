"""Which place of work has a calendar of its own: a room belongs to the ward, the house or the organization it is part of.

https://hl7.org/fhir/R4/location-definitions.html#Location.partOf
"""

from __future__ import annotations

from typing import Final

from fhir_tracker.fhir.body import read_stored
from fhir_tracker.fhir.reading import text_at
from fhir_tracker.model.program import Calendar
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.storage import resources
from fhir_tracker.storage.database import Tx

MOST_LEVELS: Final = 10
"""How far up it is looked; what is deeper, or part of itself, counts as a place of its own."""
_TYPES: Final = ("Location", "Organization")
_READER = worker_viewer("sites")


def within_site(tx: Tx, calendar: Calendar, place: str | None) -> str | None:
    """`place`, or what it is part of that has a calendar of its own; `place` itself where nothing above it has."""
    if place is None or not calendar.sites:
        return place
    seen: list[str] = []
    now: str | None = place
    while now is not None and now not in seen and len(seen) <= MOST_LEVELS:
        if calendar.of(now).site:
            return now
        seen.append(now)
        now = _above(tx, now)
    return place


def _above(tx: Tx, place: str) -> str | None:
    type_, _, id_ = place.partition("/")
    stored = resources.find(tx, _READER, type_, id_) if type_ in _TYPES and id_ else None
    if stored is None or stored.deleted:
        return None
    return text_at(read_stored(stored.body), "partOf", "reference")
