"""What was filed in another patient's record and names an encounter, appointment or order of this one's.

It satisfies nothing here; it is told where somebody asks why a document or result is missing, and nobody learns by it whose
record it is in, or what it says, who may not see that record.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from fhir_tracker.model.facts import Facts
from fhir_tracker.model.viewer import Viewer, worker_viewer
from fhir_tracker.model.work import Event
from fhir_tracker.rules.closing import FILED
from fhir_tracker.storage import events
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.referrers import referrers

_NAMED: Final = frozenset({"Encounter", "Appointment", "ServiceRequest"})
_MOST_NAMED: Final = 100
"""Of how many of the patient's latest encounters, appointments and orders it is asked who names them."""
_MOST_TOLD: Final = 20
_READER = worker_viewer("misfiled")


def with_misfiled(tx: Tx, viewer: Viewer, facts: Facts) -> Facts:
    """The same facts with what others' records hold of this patient's, as far as this viewer may know of it."""
    return replace(facts, misfiled=tuple(_found(tx, viewer, facts))) if facts.item.patient else facts


def _found(tx: Tx, viewer: Viewer, facts: Facts) -> Iterator[Event]:
    named = [one.ref for one in sorted(facts.events, key=lambda one: one.order) if one.type in _NAMED][-_MOST_NAMED:]
    mine = {one.ref for one in facts.events}
    refs = {ref for some in referrers(tx, _READER, named).values() for ref in some.seen}
    told = 0
    for ref in sorted(one for one in refs - mine if one.partition("/")[0] in FILED):
        one = events.find(tx, _READER, ref)
        if one is None or one.patient == facts.item.patient:
            continue
        seen = events.find(tx, viewer, ref) is not None
        yield one if seen else _hidden(one, mine)
        told += 1
        if told == _MOST_TOLD:
            return


def _hidden(one: Event, mine: set[str]) -> Event:
    """Only what kind of thing it is and what of this patient's it names."""
    return replace(one, ref=one.type, patient="", detail={}, about=tuple(ref for ref in one.about if ref in mine))
