"""What queues and banners show of a Patient.

https://hl7.org/fhir/R4/patient.html
"""

from __future__ import annotations

from dataclasses import dataclass

from fhir_tracker.fhir.codeable import first_code, text_of
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.reading import at, objects_at, text_at
from fhir_tracker.model.zones import zone_of_patient


@dataclass(frozen=True, kw_only=True)
class PatientSummary:
    """One patient in a line: `patient` is the local Patient id, `birth_date` a FHIR date, `mrn` the record number,
    `flags` the codes of the active risk flags, `zone` the time zone of the home.
    """

    patient: str
    name: str
    birth_date: str | None = None
    gender: str | None = None
    mrn: str | None = None
    phone: str | None = None
    language: str | None = None
    deceased: bool = False
    connection: str | None = None
    flags: tuple[str, ...] = ()
    zone: str | None = None


def summary_of(resource: Resource, connection: str | None) -> PatientSummary:
    """The summary of a Patient resource; a nameless one is shown by its id."""
    return PatientSummary(
        patient=str(resource.get("id")),
        name=name_of(resource) or str(resource.get("id")),
        birth_date=text_at(resource, "birthDate"),
        gender=text_at(resource, "gender"),
        mrn=record_number(resource),
        phone=_phone(resource),
        language=_language(resource),
        deceased=resource.get("deceasedBoolean") is True or "deceasedDateTime" in resource,
        connection=connection,
        zone=zone_of_patient(resource),
    )


def name_of(resource: Resource) -> str:
    """The official name of a Patient or Practitioner, else the first: given names, then family."""
    names = sorted(objects_at(resource, "name"), key=lambda one: one.get("use") != "official")
    if not names:
        return ""
    given = names[0].get("given")
    parts = [part for part in given if isinstance(part, str)] if isinstance(given, list) else []
    family = text_at(names[0], "family")
    return " ".join([*parts, *([family] if family else [])]) or text_at(names[0], "text") or ""


def record_number(resource: Resource) -> str | None:
    """The identifier typed MR, else the first with a value."""
    rows = [row for row in objects_at(resource, "identifier") if text_at(row, "value")]
    medical = [row for row in rows if first_code(row.get("type")) == "MR"]
    return text_at([*medical, *rows], 0, "value")


def _phone(resource: Resource) -> str | None:
    phones = [
        one for one in objects_at(resource, "telecom") if one.get("system") == "phone" and one.get("use") != "old"
    ]
    return text_at(phones, 0, "value")


def _language(resource: Resource) -> str | None:
    return text_of(at(resource, "communication", 0, "language")) or None
