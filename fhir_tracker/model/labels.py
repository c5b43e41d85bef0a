"""Security labels that restrict what they are on: confidentiality, sensitivity, and those of a practice's own systems.

https://hl7.org/fhir/R4/security-labels.html https://terminology.hl7.org/CodeSystem-v3-Confidentiality.html
https://terminology.hl7.org/ValueSet-v3-InformationSensitivityPolicy.html
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from fhir_tracker.errors import Incorrect
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.reading import objects_at

CONFIDENTIALITY: Final = frozenset("ULMNRV")
SENSITIVITY: Final = frozenset(
    "ETH GDIS HIV MST PREGNANT SCA SDV SEX SPI BH COGN DVD EMOTDIS MH PSY PSYTHPN SUD ETHUD OPIOIDUD STD TBOO VIO IDS"
    " SICKLE DEMO DOB GENDER LIVARG MARST PATLOC RACE REL B EMPL LOCIS SSP ADOL CEL DIA DRGIS EMP PDS PHY PRS"
    " COMPT ACOCOMPT CDSSCOMPT CTCOMPT FMCOMPT HRCOMPT LRCOMPT PACOMPT RESCOMPT RMGTCOMPT SEV 42CFRPart2 HMARKT VIP".split()
)
DEFAULT: Final = ("R", "V", "42CFRPart2", "ETH", "ETHUD", "HIV", "OPIOIDUD", "PSYTHPN", "SUD")
"""Restricted and very restricted, and what US law opens to those alone whom the patient or a special duty names."""
_SYSTEMS: Final = {
    "http://terminology.hl7.org/CodeSystem/v3-Confidentiality": CONFIDENTIALITY,
    "http://hl7.org/fhir/v3/Confidentiality": CONFIDENTIALITY,
    "urn:oid:2.16.840.1.113883.5.25": CONFIDENTIALITY,
    "http://terminology.hl7.org/CodeSystem/v3-ActCode": SENSITIVITY,
    "http://hl7.org/fhir/v3/ActCode": SENSITIVITY,
    "urn:oid:2.16.840.1.113883.5.4": SENSITIVITY,
}
"""Each system under the names that it has had."""
MOST: Final = 100
_LONGEST: Final = 500


def are_labels(resource: Resource) -> bool:
    """Whether a resource has any security label."""
    meta = resource.get("meta")
    return isinstance(meta, dict) and bool(meta.get("security"))


def restricts(resource: Resource, restricting: Iterable[str]) -> bool:
    """Whether one of a resource's labels is among those that restrict.

    A code without `SYSTEM|` is one of HL7's; a label that names no system is taken for one of those.
    """
    meta = resource.get("meta")
    found = objects_at(meta, "security") if isinstance(meta, dict) else []
    wanted = frozenset(restricting)
    return any(_names(one) & wanted for one in found)


def _names(label: Resource) -> frozenset[str]:
    """The ways in which a setting may name a label."""
    system, code = label.get("system", ""), label.get("code")
    if not isinstance(code, str) or not isinstance(system, str):
        return frozenset()
    system = system.strip().rstrip("/")
    return frozenset({f"{system}|{code.strip()}"} | ({code.strip()} if not system or system in _SYSTEMS else set()))


def read_labels(texts: Iterable[str]) -> tuple[str, ...]:
    """What somebody wrote as the labels that restrict, sorted; raises Incorrect for one that can be on nothing."""
    found = sorted({text.strip() for text in texts})
    if len(found) > MOST or any(len(one) > _LONGEST for one in found):
        raise Incorrect(f"At most {MOST} labels of {_LONGEST} characters can restrict.")
    for one in found:
        system, bar, code = one.rpartition("|")
        if not code or not one.isprintable() or " " in one or (bar and ":" not in system):
            raise Incorrect(f'"{one}" is no label: write a code of HL7\'s such as R or HIV, or SYSTEM|CODE.')
        if not bar and code not in CONFIDENTIALITY | SENSITIVITY:
            raise Incorrect(
                f'"{code}" is neither in v3-Confidentiality nor a sensitivity in v3-ActCode; one of another system is '
                "written SYSTEM|CODE."
            )
    return tuple(found)
