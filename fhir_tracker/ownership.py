"""Whose a field is when a resource lives here and in an EHR: the EHR's, ours, or to be asked when both changed it.

The defaults follow DESIGN section 2; a connection's option `owners` goes over them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, cast

from fhir_tracker.errors import UsageError
from fhir_tracker.fhir.definitions.registry import resource_types

Owner = Literal["ehr", "ours", "ask"]
Owners = Mapping[str, Mapping[str, Owner]]
OWNERS: Final[tuple[Owner, ...]] = ("ehr", "ours", "ask")
EVERY: Final = "*"

NEVER: Final = frozenset({"resourceType", "id", "meta", "implicitRules"})
"""What each side keeps for itself."""
ADDED_TO: Final = frozenset({"identifier", "note"})
"""Lists to which both sides add; nothing is ever taken out of the other's."""
READ_ONLY: Final = frozenset(
    {
        "Patient",
        "Practitioner",
        "PractitionerRole",
        "Organization",
        "Location",
        "Encounter",
        "Observation",
        "Condition",
        "Coverage",
        "Provenance",
        "AuditEvent",
        "Subscription",
    }
)
"""Types that are never written back: the EHR's own record, and what is about the tracker itself."""

_TASK: Final[Mapping[str, Owner]] = {
    "status": "ask",
    "statusReason": "ask",
    "owner": "ask",
    "output": "ask",
    "executionPeriod": "ask",
}
_APPOINTMENT: Final[Mapping[str, Owner]] = dict.fromkeys(
    (
        "status",
        "cancelationReason",
        "comment",
        "patientInstruction",
        "start",
        "end",
        "minutesDuration",
        "slot",
        "participant",
    ),
    "ask",
)
MADE_HERE: Final[Owners] = {
    EVERY: {EVERY: "ours"},
    "Task": {EVERY: "ours", **_TASK},
    "CarePlan": {EVERY: "ours", "status": "ask"},
    "Communication": {EVERY: "ours", "status": "ask"},
    "Appointment": {EVERY: "ours", **_APPOINTMENT},
}
MIRRORED: Final[Owners] = {
    EVERY: {EVERY: "ehr"},
    "Task": {EVERY: "ehr", **_TASK, "businessStatus": "ask", "lastModified": "ours"},
    "Appointment": {EVERY: "ehr", **_APPOINTMENT},
    "Communication": {EVERY: "ehr", "status": "ask"},
}


def owner_of(type_: str, field: str, *, made_here: bool, owners: Owners | None = None) -> Owner:
    """Who owns the field `field` of a resource of `type_`, made here or mirrored, under a connection's own `owners`."""
    defaults = MADE_HERE if made_here else MIRRORED
    for table in ((owners or {}).get(type_, {}), (owners or {}).get(EVERY, {}), defaults.get(type_, defaults[EVERY])):
        for name in (field, EVERY):
            if name in table:
                return table[name]
    return defaults[EVERY][EVERY]


def checked_owners(owners: object) -> Owners:
    """The option `owners`: type (or *) -> field (or *) -> ehr, ours or ask; UsageError for anything else."""
    if not isinstance(owners, Mapping):
        raise UsageError("owners is an object: type, then field, then ehr, ours or ask.")
    for type_, fields in owners.items():
        if type_ != EVERY and type_ not in resource_types():
            raise UsageError(f"owners names {type_!r}, which is no FHIR R4 type.")
        if not isinstance(fields, Mapping):
            raise UsageError(f"owners of {type_} is an object: field, then ehr, ours or ask.")
        odd = [name for name, owner in fields.items() if owner not in OWNERS or name in NEVER]
        if odd:
            raise UsageError(
                f"owners of {type_}: each field is ehr, ours or ask; {', '.join(map(str, odd))} cannot be."
            )
    return cast(Owners, owners)


def checked_write_back(types: object) -> tuple[str, ...]:
    """The option `write_back`: types that are written to the EHR, each once; UsageError for those that never are."""
    if not isinstance(types, list | tuple):
        raise UsageError("--write-back is a list of types, such as Task,Communication.")
    unknown = [name for name in types if name not in resource_types()]
    if unknown:
        raise UsageError(f"Not a FHIR R4 resource type: {', '.join(map(str, unknown))}.")
    refused = [name for name in types if name in READ_ONLY]
    if refused:
        raise UsageError(f"{', '.join(refused)} belong to the EHR and are never written back.")
    return tuple(dict.fromkeys(types))
