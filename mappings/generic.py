"""The mapping for any server that keeps to FHIR R4: ids and references become local, all else stays as it was sent."""

from __future__ import annotations

from fhir_tracker.fhir.json_types import Resource
from mappings.base import Mapping, Source, localised

WANTED = (
    "Patient",
    "Practitioner",
    "PractitionerRole",
    "Organization",
    "Location",
    "Encounter",
    "Condition",
    "CareTeam",
    "CarePlan",
    "Goal",
    "ServiceRequest",
    "Appointment",
    "DocumentReference",
    "Observation",
    "Communication",
    "Flag",
    "QuestionnaireResponse",
    "Coverage",
    "Task",
)


class GenericMapping:
    """FHIR R4 as it is written."""

    wanted = WANTED

    def to_tracker(self, resource: Resource, source: Source) -> Resource:
        """Local id, local references and `meta.source`; every other member unchanged."""
        return localised(resource, source)


mapping: Mapping = GenericMapping()
