"""Patient summaries: what a queue row and a page heading show of a patient."""

from __future__ import annotations

import json
from collections.abc import Sequence

from sqlalchemy import delete, update

from fhir_tracker.fhir.folding import fold
from fhir_tracker.model.patient import PatientSummary as PatientSummary
from fhir_tracker.model.told import shown_summary
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.storage.bulks import SUMMARY
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.keyed import Keyed
from fhir_tracker.storage.records import to_row
from fhir_tracker.storage.slices import slices
from fhir_tracker.storage.work_tables import patient_summary

_ROWS = Keyed(PatientSummary, patient_summary, order="patient")


def add(tx: Tx, summary: PatientSummary) -> None:
    """Write the summary of a patient who has none."""
    row = to_row(summary) | {
        "folded": fold(f"{summary.name} {summary.mrn or ''}"),
        "flags": json.dumps(list(summary.flags), ensure_ascii=False),
    }
    tx.added.add(SUMMARY, tuple(row[name] for name in SUMMARY.columns))


def save(tx: Tx, summary: PatientSummary) -> None:
    """Write the summary in place of what was there; the flags stay as `set_flags` left them."""
    row: dict[str, object] = to_row(summary) | {"folded": fold(f"{summary.name} {summary.mrn or ''}")}
    kept = {name: value for name, value in row.items() if name != "flags"}
    tx.execute(tx.insert(patient_summary).values(row).on_conflict_do_update(index_elements=["patient"], set_=kept))


def set_flags(tx: Tx, patient: str, flags: Sequence[str]) -> None:
    """Replace the patient's active risk flags."""
    tx.execute(update(patient_summary).where(patient_summary.c.patient == patient).values(flags=tuple(sorted(flags))))


def drop(tx: Tx, patient: str) -> None:
    """Take the summary away; nothing happens when there is none."""
    tx.execute(delete(patient_summary).where(patient_summary.c.patient == patient))


def find(tx: Tx, viewer: Viewer, patient: str) -> PatientSummary | None:
    """One patient's summary, or None."""
    return find_many(tx, viewer, [patient]).get(patient)


def find_many(tx: Tx, viewer: Viewer, patients: Sequence[str]) -> dict[str, PatientSummary]:
    """Patient id -> summary, for those there are."""
    found = {one.patient: one for some in slices(patients) for one in _ROWS.read(tx, viewer, "patient", some)}
    is_whole = viewer.sight.is_whole("r") and not viewer.sight.hides
    return found if is_whole else {name: shown_summary(one, viewer.sight) for name, one in found.items()}
