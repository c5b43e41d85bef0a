"""Every predicate that a program file may use in `when`; a new one is a file and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fhir_tracker.rules import (
    absent,
    appointment,
    appointment_missed,
    authorization,
    document_missing,
    due_within,
    escalated,
    exception,
    flag,
    handed_over,
    hold,
    in_hospital,
    in_status_for,
    monitoring_incomplete,
    next_contact,
    no_show_chain,
    observation,
    open_work,
    outreach,
    outreach_failed,
    outreach_reached,
    overdue_by,
    owner,
    patient,
    plan_for,
    priority,
    reason,
    seen,
    stage,
    task,
    unassigned_for,
    untouched_for,
)
from fhir_tracker.rules.predicate import Predicate

_ALL: Final = (
    task.PREDICATE,
    overdue_by.PREDICATE,
    due_within.PREDICATE,
    unassigned_for.PREDICATE,
    in_status_for.PREDICATE,
    untouched_for.PREDICATE,
    handed_over.PREDICATE,
    owner.PREDICATE,
    hold.PREDICATE,
    reason.PREDICATE,
    escalated.PREDICATE,
    outreach_failed.PREDICATE,
    outreach_reached.PREDICATE,
    outreach.PREDICATE,
    next_contact.PREDICATE,
    appointment_missed.PREDICATE,
    no_show_chain.PREDICATE,
    appointment.PREDICATE,
    document_missing.PREDICATE,
    absent.PREDICATE,
    seen.PREDICATE,
    observation.PREDICATE,
    monitoring_incomplete.PREDICATE,
    flag.PREDICATE,
    exception.PREDICATE,
    patient.PREDICATE,
    in_hospital.PREDICATE,
    authorization.PREDICATE,
    stage.PREDICATE,
    plan_for.PREDICATE,
    open_work.PREDICATE,
    priority.PREDICATE,
)

PREDICATES: Final[Mapping[str, Predicate]] = {one.name: one for one in _ALL}
