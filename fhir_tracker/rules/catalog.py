"""Every predicate that a program file may use in `when`; a new one is a file and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fhir_tracker.rules import (
    appointment_missed,
    document_missing,
    due_within,
    flag,
    in_status_for,
    next_contact,
    outreach_failed,
    outreach_reached,
    overdue_by,
    priority,
    stage,
    task,
    unassigned_for,
)
from fhir_tracker.rules.predicate import Predicate

_ALL: Final = (
    task.PREDICATE,
    overdue_by.PREDICATE,
    due_within.PREDICATE,
    unassigned_for.PREDICATE,
    in_status_for.PREDICATE,
    outreach_failed.PREDICATE,
    outreach_reached.PREDICATE,
    next_contact.PREDICATE,
    appointment_missed.PREDICATE,
    document_missing.PREDICATE,
    flag.PREDICATE,
    stage.PREDICATE,
    priority.PREDICATE,
)

PREDICATES: Final[Mapping[str, Predicate]] = {one.name: one for one in _ALL}
