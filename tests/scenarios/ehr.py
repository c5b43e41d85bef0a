"""What the practice's EHR sends in the scenarios: synthetic patients and the few resource shapes the stories need.

Every maker takes moments as aware datetimes and remote ids without their type.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from fhir_tracker.fhir.json_types import Resource

NEW_YORK = ZoneInfo("America/New_York")
CLASS_SYSTEM = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
SNOMED = "http://snomed.info/sct"
LOINC = "http://loinc.org"
DISCHARGE_SUMMARY = "18842-5"
PROGRESS_NOTE = "11506-3"
CONSENT = "59284-0"
FOLLOW_UP = "185389009"
REVIEW = "390906007"
HYPERTENSION = "38341003"
DIABETES = "44054006"
ASTHMA = "195967001"
HBA1C = "4548-4"


def local(text: str) -> datetime:
    """`2026-07-02 16:00` on the practice's wall clock in New York, as UTC; the first one when it comes twice."""
    return datetime.fromisoformat(text).replace(tzinfo=NEW_YORK).astimezone(UTC)


def patient(id_: str, *, deceased: datetime | None = None) -> Resource:
    """A synthetic Patient, marked as such."""
    return {
        "resourceType": "Patient",
        "id": id_,
        "meta": {"tag": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "HTEST"}]},
        "name": [{"family": "Synthetic", "given": [id_]}],
        **({"deceasedDateTime": deceased.isoformat()} if deceased else {}),
    }


def stay(id_: str, who: str, end: datetime | None, *, class_: str = "IMP", status: str = "") -> Resource:
    """A hospital stay of three days that ended at `end`; without an end it goes on."""
    start = (end or datetime(2026, 1, 1, tzinfo=UTC)) - timedelta(days=3)
    period = {"start": start.isoformat(), **({"end": end.isoformat()} if end else {})}
    return {
        "resourceType": "Encounter",
        "id": id_,
        "status": status or ("finished" if end else "in-progress"),
        "class": {"system": CLASS_SYSTEM, "code": class_},
        "subject": {"reference": f"Patient/{who}"},
        "period": period,
    }


def visit_encounter(id_: str, who: str, start: datetime, *, appointment: str | None = None) -> Resource:
    """The Encounter of an office visit of half an hour, with the Appointment it came from."""
    booked = {"appointment": [{"reference": f"Appointment/{appointment}"}]} if appointment else {}
    return {
        "resourceType": "Encounter",
        "id": id_,
        "status": "finished",
        "class": {"system": CLASS_SYSTEM, "code": "AMB"},
        "subject": {"reference": f"Patient/{who}"},
        "period": {"start": start.isoformat(), "end": (start + timedelta(minutes=30)).isoformat()},
        **booked,
    }


def visit(id_: str, who: str, start: datetime, *, status: str = "booked", service: str = FOLLOW_UP) -> Resource:
    """An Appointment of twenty minutes."""
    return {
        "resourceType": "Appointment",
        "id": id_,
        "status": status,
        "serviceType": [{"coding": [{"system": SNOMED, "code": service}]}],
        "start": start.isoformat(),
        "end": (start + timedelta(minutes=20)).isoformat(),
        "participant": [{"actor": {"reference": f"Patient/{who}"}, "status": "accepted"}],
    }


def document(id_: str, who: str, date: datetime, *, code: str, encounter: str | None = None) -> Resource:
    """A filed DocumentReference of one LOINC type, of an Encounter when it says so."""
    return {
        "resourceType": "DocumentReference",
        "id": id_,
        "status": "current",
        "type": {"coding": [{"system": LOINC, "code": code}]},
        "subject": {"reference": f"Patient/{who}"},
        "date": date.isoformat(),
        "content": [{"attachment": {"contentType": "text/plain", "title": "Synthetic"}}],
        **({"context": {"encounter": [{"reference": f"Encounter/{encounter}"}]}} if encounter else {}),
    }


def flag(id_: str, who: str, start: datetime, *, code: str = "high-risk", status: str = "active") -> Resource:
    """A Flag the EHR carries."""
    return {
        "resourceType": "Flag",
        "id": id_,
        "status": status,
        "code": {"coding": [{"system": "http://example.org/flags", "code": code}]},
        "subject": {"reference": f"Patient/{who}"},
        "period": {"start": start.isoformat()},
    }


def condition(id_: str, who: str, code: str, *, verification: str = "confirmed") -> Resource:
    """An active problem on the list; what is refuted has no clinical status."""
    system = "http://terminology.hl7.org/CodeSystem/condition"
    wrong = verification in ("refuted", "entered-in-error")
    clinical = {} if wrong else {"clinicalStatus": {"coding": [{"system": f"{system}-clinical", "code": "active"}]}}
    return {
        "resourceType": "Condition",
        "id": id_,
        **clinical,
        "verificationStatus": {"coding": [{"system": f"{system}-ver-status", "code": verification}]},
        "code": {"coding": [{"system": SNOMED, "code": code}]},
        "subject": {"reference": f"Patient/{who}"},
        "onsetDateTime": "2019-05-04",
    }


def result(id_: str, who: str, taken: datetime, *, code: str = HBA1C) -> Resource:
    """A final lab result."""
    return {
        "resourceType": "Observation",
        "id": id_,
        "status": "final",
        "code": {"coding": [{"system": LOINC, "code": code}]},
        "subject": {"reference": f"Patient/{who}"},
        "effectiveDateTime": taken.isoformat(),
        "valueQuantity": {"value": 6.8, "unit": "%", "system": "http://unitsofmeasure.org", "code": "%"},
    }
