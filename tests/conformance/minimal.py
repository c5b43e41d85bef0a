"""The smallest resource of each type that FHIR R4 allows, made from the official definitions."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from fhir_tracker.fhir.definitions.registry import Element, elements, is_complex, value_set

_VALUES: dict[str, Any] = {
    "base64Binary": "AAAA",
    "boolean": True,
    "canonical": "http://example.org/canonical",
    "code": "x",
    "date": "2026-01-01",
    "dateTime": "2026-01-01T10:00:00Z",
    "decimal": 1.0,
    "id": "x1",
    "instant": "2026-01-01T10:00:00Z",
    "integer": 1,
    "markdown": "words",
    "oid": "urn:oid:1.2.3",
    "positiveInt": 1,
    "string": "words",
    "time": "10:00:00",
    "unsignedInt": 1,
    "uri": "http://example.org/x",
    "url": "http://example.org/x",
    "uuid": "urn:uuid:00000000-0000-4000-8000-000000000000",
}
_FILLED: dict[str, dict[str, Any]] = {
    "CodeableConcept": {"text": "words"},
    "Coding": {"system": "http://example.org/codes", "code": "x"},
    "Identifier": {"system": "http://example.org/ids", "value": "x"},
    "Quantity": {"value": 1},
    "Period": {"start": "2026-01-01"},
    "Attachment": {"title": "words"},
    "Timing": {"event": ["2026-01-01"]},
    "Dosage": {"text": "words"},
    "Signature": {},
}
_WORDS = {"text": "words"}
_DEMANDED: dict[str, dict[str, Any]] = {
    "AllergyIntolerance": {
        "clinicalStatus": {
            "coding": [
                {"system": "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical", "code": "active"}
            ]
        }
    },
    "Appointment": {
        "status": "proposed",
        "participant": [{"actor": {"reference": "Patient/x1"}, "status": "accepted"}],
    },
    "AppointmentResponse": {"actor": {"reference": "Patient/x1"}},
    "CapabilityStatement": {
        "kind": "instance",
        "implementation": {"description": "words"},
        "rest": [{"mode": "server"}],
    },
    "Consent": {"policyRule": _WORDS},
    "EventDefinition": {"trigger": [{"type": "named-event", "name": "words"}]},
    "ImmunizationRecommendation": {
        "recommendation": [{"forecastStatus": _WORDS, "targetDisease": _WORDS}],
    },
    "InsurancePlan": {"name": "words"},
    "Linkage": {
        "item": [
            {"type": "source", "resource": {"reference": "Patient/x1"}},
            {"type": "alternate", "resource": {"reference": "Patient/x2"}},
        ]
    },
    "Organization": {"name": "words"},
    "StructureDefinition": {
        "kind": "resource",
        "abstract": False,
        "type": "Basic",
        "baseDefinition": "http://hl7.org/fhir/StructureDefinition/Basic",
        "derivation": "constraint",
        "differential": {"element": [{"id": "Basic", "path": "Basic"}]},
    },
    "TerminologyCapabilities": {"kind": "instance", "implementation": {"description": "words"}},
}
"""What the invariants of a type ask for besides its required elements."""


def minimal(type_: str) -> dict[str, Any]:
    """A resource with every required element and nothing else; new on each call."""
    return {"resourceType": type_, **_members(type_), **deepcopy(_DEMANDED.get(type_, {}))}


def _members(type_: str) -> dict[str, Any]:
    return {
        _member(element): _value(element) if not element.many else [_value(element)]
        for element in elements(type_).values()
        if element.required
    }


def _member(element: Element) -> str:
    leaf = element.types[0]
    return element.name.removesuffix("[x]") + leaf[0].upper() + leaf[1:] if element.is_choice else element.name


def _value(element: Element) -> Any:
    leaf = element.types[0]
    systems = value_set(element.codes) if element.codes else {}
    system, code = next(((one, sorted(codes)[0]) for one, codes in sorted(systems.items())), ("", ""))
    if leaf in _VALUES:
        return code if leaf == "code" and code else _VALUES[leaf]
    if leaf == "Reference":
        return {"reference": f"{min(element.targets, default='Basic')}/x1"}
    if leaf in ("Coding", "CodeableConcept") and code:
        coding = {"system": system, "code": code}
        return {"coding": [coding]} if leaf == "CodeableConcept" else coding
    if leaf == "Resource":
        return {"resourceType": "Basic", "code": {"text": "words"}}
    assert is_complex(leaf), leaf
    return _members(leaf) or dict(_FILLED.get(leaf, {"id": "x1"}))
