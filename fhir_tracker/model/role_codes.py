"""Which role of the tracker a code of PractitionerRole stands for: a table of data, which a setting can add to.

https://hl7.org/fhir/R4/valueset-practitioner-role.html
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from fhir_tracker.fhir.codeable import codings
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.reading import objects_at
from fhir_tracker.model.viewer import ROLES
from fhir_tracker.model.vocabulary import ROLE_SYSTEM

_HL7: Final = "http://terminology.hl7.org/CodeSystem/practitioner-role"
_SNOMED: Final = "http://snomed.info/sct"
_NUCC: Final = "http://nucc.org/provider-taxonomy"

ROLE_CODES: Final[Mapping[str, str]] = {
    f"{_HL7}|doctor": "provider",
    f"{_HL7}|nurse": "rn",
    f"{_SNOMED}|309343006": "provider",
    f"{_SNOMED}|158965000": "provider",
    f"{_SNOMED}|224535009": "rn",
    f"{_SNOMED}|106292003": "rn",
    f"{_SNOMED}|224571005": "provider",
    f"{_NUCC}|207Q00000X": "provider",
    f"{_NUCC}|207R00000X": "provider",
    f"{_NUCC}|208D00000X": "provider",
    f"{_NUCC}|208000000X": "provider",
    f"{_NUCC}|363L00000X": "provider",
    f"{_NUCC}|363LF0000X": "provider",
    f"{_NUCC}|363A00000X": "provider",
    f"{_NUCC}|163W00000X": "rn",
    f"{_NUCC}|163WC0400X": "rn",
    f"{_NUCC}|171M00000X": "care-coordinator",
}
"""`system|code` -> role. The roles' own codes, in any system, stand for themselves."""


def roles_of(practitioner_role: Resource, further: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """The roles that a PractitionerRole gives, sorted; `further` codes go before the table."""
    found = (
        role
        for concept in objects_at(practitioner_role, "code")
        for system, code in codings(concept)
        if (role := _role(system, code, further or {}))
    )
    return tuple(sorted(set(found)))


def _role(system: str | None, code: str, further: Mapping[str, str]) -> str | None:
    full = f"{system or ''}|{code}"
    if full in further:
        return further[full]
    if system == ROLE_SYSTEM or code in ROLES:
        return code
    return ROLE_CODES.get(full)


def known_codes(further: Iterable[str] = ()) -> frozenset[str]:
    """Every `system|code` that stands for a role."""
    return frozenset({*ROLE_CODES, *further})
