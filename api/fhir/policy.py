"""Which types the API lets callers write: the tracker's own always, the EHR's in open mode, the trail never."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from api.context import Access
from fhir_tracker.fhir.definitions.registry import resource_types


class Owner(StrEnum):
    """Who is the source of truth for a type."""

    EHR = "ehr"
    SHARED = "shared"
    TRACKER = "tracker"
    PROGRAM = "program"
    TRAIL = "trail"


OWNERS: Mapping[Owner, frozenset[str]] = {
    Owner.EHR: frozenset(
        "Patient Practitioner PractitionerRole Organization Location Encounter Observation Condition ServiceRequest "
        "DocumentReference Coverage Appointment Schedule Slot".split()
    ),
    Owner.SHARED: frozenset("CarePlan CareTeam ChargeItem Goal EpisodeOfCare".split()),
    Owner.TRACKER: frozenset("Task Communication Flag QuestionnaireResponse Subscription MeasureReport".split()),
    Owner.PROGRAM: frozenset(
        "Questionnaire PlanDefinition ActivityDefinition CodeSystem ValueSet SearchParameter Measure".split()
    ),
    Owner.TRAIL: frozenset("Provenance AuditEvent".split()),
}
_OWNER_OF = {type_: owner for owner, types in OWNERS.items() for type_ in types}
_WHY_NOT = {
    Owner.EHR: "comes from the EHR: change it there and it changes here",
    Owner.PROGRAM: "is made from the published programs: publish a new version of the program",
    Owner.TRAIL: "is written by the tracker itself and never by a caller",
}


def owner_of(type_: str) -> Owner:
    """The owner of a type; what the design does not name is mirrored from EHRs."""
    return _OWNER_OF.get(type_, Owner.EHR)


def is_writable(type_: str, access: Access) -> bool:
    """Whether callers may create, update and delete this type."""
    owner = owner_of(type_)
    return owner is not Owner.TRAIL and (access is Access.OPEN or owner in (Owner.SHARED, Owner.TRACKER))


def why_read_only(type_: str) -> str:
    """One sentence for a caller who tried to write it."""
    return f"{type_} {_WHY_NOT.get(owner_of(type_), 'is read-only')}."


def all_types() -> tuple[str, ...]:
    """Every resource type, by name."""
    return tuple(sorted(resource_types()))
