"""A vendor's dialect from what is known of the vendor: codes, ways to ask, and what is written there; pure."""

from __future__ import annotations

from collections.abc import Mapping as Words
from dataclasses import dataclass, field

from fhir_tracker.errors import Incorrect
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.model.program import CANONICAL
from mappings.base import Hint, Source, delocalised, localised, meta_of, named
from mappings.tables import NOTHING, Tables, shipped
from mappings.translation import into_ours, into_theirs, recoded
from mappings.usable import refuse_unusable

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
    "DiagnosticReport",
    "AllergyIntolerance",
    "MedicationRequest",
    "DetectedIssue",
    "ClaimResponse",
    "Communication",
    "Flag",
    "QuestionnaireResponse",
    "Coverage",
    "Task",
)
"""Every type that rules and work have a use for, those that others refer to first; a server that does not search one is not asked."""
OF_THE_PRACTICE = ("Practitioner", "PractitionerRole", "Organization", "Location")
_OWN_EXTENSION = f"{CANONICAL}/StructureDefinition/"


@dataclass(frozen=True, kw_only=True)
class VendorMapping:
    """A `Mapping`. `closed`: only the types in `writes` have a place there, and extensions of ours have none.

    `drops` are the members of meta that the vendor adds beyond R4 and keeps for itself.
    """

    name: str
    wanted: tuple[str, ...] = WANTED
    codes: Tables = NOTHING
    strategy_hints: Words[str, Hint] = field(default_factory=dict)
    writes: Words[str, str] = field(default_factory=dict)
    budget: str | None = None
    closed: bool = False
    drops: frozenset[str] = frozenset()

    def to_tracker(self, resource: Resource, source: Source) -> Resource:
        """Local id, local references, `meta.source`, and codes as the tracker has them; every other member unchanged."""
        named(resource)
        refuse_unusable(resource)
        if self.drops & meta_of(resource).keys():
            kept = {name: value for name, value in resource["meta"].items() if name not in self.drops}
            resource = {**resource, "meta": kept}
        try:
            return localised(into_ours(resource, self._tables(source)), source)
        except RecursionError:
            raise Incorrect("It is nested too deeply.") from None

    def to_ehr(self, resource: Resource, source: Source) -> Resource | None:
        """The codes and references the EHR sent, without what the tracker added; None for a type it has no place for."""
        if self.closed and self.writes.get(resource["resourceType"], "none") == "none":
            return None
        foreign = delocalised(into_theirs(resource, self._tables(source)), source)
        return _without_own_extensions(foreign) if self.closed else foreign

    def recoded(self, resource: Resource, source: Source, *, status: bool = False) -> Resource:
        """A resource that is here already with its codings, and with `status` its status, as the tables have them now."""
        return recoded(resource, self._tables(source), status=status)

    def _tables(self, source: Source) -> tuple[Tables, ...]:
        return (source.tables, self.codes, shipped("standard"))


def _without_own_extensions(resource: Resource) -> Resource:
    held = resource.get("extension")
    if not isinstance(held, list):
        return resource
    kept = [one for one in held if not (isinstance(one, dict) and str(one.get("url")).startswith(_OWN_EXTENSION))]
    if len(kept) == len(held):
        return resource
    rest = {name: value for name, value in resource.items() if name != "extension"}
    return rest | ({"extension": kept} if kept else {})


def each(types: tuple[str, ...], hint: Hint) -> dict[str, Hint]:
    """The same hint for several types."""
    return dict.fromkeys(types, hint)
