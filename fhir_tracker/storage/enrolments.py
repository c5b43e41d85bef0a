"""Enrolments: one plan for a program, a patient and what brought them in, made once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, update

from fhir_tracker.model.viewer import Viewer
from fhir_tracker.storage import many
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.records import from_row
from fhir_tracker.storage.scope import row_scope
from fhir_tracker.storage.slices import slices
from fhir_tracker.storage.types import microseconds
from fhir_tracker.storage.work_tables import enrolment


@dataclass(frozen=True, kw_only=True)
class Enrolment:
    """`trigger` is an event's reference, or empty; `plan` `CarePlan/<id>` once it is made."""

    program: str
    patient: str
    trigger: str
    plan: str | None
    at: datetime


def reserve(tx: Tx, program: str, patient: str, trigger: str, at: datetime) -> bool:
    """Take the place of this enrolment; False when it was taken before, and then no plan may be made."""
    row = {"program": program, "patient": patient, "trigger": trigger, "at": at}
    return tx.changed(tx.insert(enrolment).values(row).on_conflict_do_nothing()) == 1


def attach(tx: Tx, program: str, patient: str, trigger: str, plan: str) -> None:
    """Remember the plan that was made for a reserved enrolment."""
    is_it = (enrolment.c.program == program, enrolment.c.patient == patient, enrolment.c.trigger == trigger)
    tx.execute(update(enrolment).where(*is_it).values(plan=plan))


def reserve_many(tx: Tx, wanted: Sequence[Enrolment]) -> set[str]:
    """Take the places of these enrolments, each with the plan that is to be made; the plans whose place was free.

    No other may be made. One statement for many.
    """
    rows = [(one.program, one.patient, one.trigger, one.plan, microseconds(one.at)) for one in wanted]
    columns = ("program", "patient", "trigger", "plan", "at")
    return many.add_new(tx, enrolment, columns, rows, columns[:3], "plan")


def of_patient(tx: Tx, viewer: Viewer, patient: str) -> list[Enrolment]:
    """A patient's enrolments, oldest first."""
    chosen = select(enrolment).where(enrolment.c.patient == patient, row_scope(viewer, enrolment))
    return [from_row(Enrolment, row) for row in tx.rows(chosen.order_by(enrolment.c.at, enrolment.c.program))]


def of_patients(tx: Tx, viewer: Viewer, patients: Sequence[str]) -> list[Enrolment]:
    """The enrolments of all of these."""
    found: list[Enrolment] = []
    for some in slices(patients):
        chosen = select(enrolment).where(enrolment.c.patient.in_(some), row_scope(viewer, enrolment))
        found += [from_row(Enrolment, row) for row in tx.rows(chosen)]
    return found


def of_plan(tx: Tx, viewer: Viewer, plan: str) -> Enrolment | None:
    """The enrolment that a plan was made for, or None."""
    row = tx.first(select(enrolment).where(enrolment.c.plan == plan, row_scope(viewer, enrolment)))
    return from_row(Enrolment, row) if row else None
