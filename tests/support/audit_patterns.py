"""What IHE Basic Audit Log Patterns asks of AuditEvents, as a table, and as definitions that HL7's validator judges by.

Made from the pages of the profiles: https://profiles.ihe.net/ITI/BALP/content.html
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATTERN = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit."
DICOM = "http://dicom.nema.org/resources/ontology/DCM"
PARTICIPATION = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
CUSTODIAN = ("http://terminology.hl7.org/CodeSystem/provenance-participant-type", "custodian")
INTERACTION = "http://hl7.org/fhir/restful-interaction"
ENTITY = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
ROLE = "http://terminology.hl7.org/CodeSystem/object-role"
REQUEST = ("https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType", "XrequestId")
Code = tuple[str, str]
SOURCE, DESTINATION, APPLICATION = ((DICOM, code) for code in ("110153", "110152", "110150"))
RECIPIENT = (PARTICIPATION, "IRCP")


@dataclass(frozen=True, kw_only=True)
class Pattern:
    """One act: its interactions, its letter, and the types of client, server and user; `entity` is `data` or `query`."""

    interactions: tuple[str, ...]
    action: str
    client: Code
    server: Code
    user: tuple[Code, ...]
    entity: str = "data"


_AUTHORS = tuple((PARTICIPATION, code) for code in ("AUT", "INF", "CST"))
PATTERNS: Mapping[str, Pattern] = {
    "Create": Pattern(interactions=("create",), action="C", client=SOURCE, server=DESTINATION, user=_AUTHORS),
    "Read": Pattern(interactions=("read", "vread"), action="R", client=DESTINATION, server=SOURCE, user=(RECIPIENT,)),
    "Update": Pattern(interactions=("update", "patch"), action="U", client=SOURCE, server=DESTINATION, user=_AUTHORS),
    "Delete": Pattern(interactions=("delete",), action="D", client=APPLICATION, server=CUSTODIAN, user=_AUTHORS),
    "Query": Pattern(
        interactions=("search", "search-type", "search-system"), action="E", client=SOURCE, server=DESTINATION,
        user=(RECIPIENT,), entity="query",
    ),
}  # fmt: skip
Element = dict[str, Any]


def write_definitions(folder: Path) -> None:
    """A StructureDefinition of each pattern, with and without a patient, and the value sets they need."""
    for name, pattern in PATTERNS.items():
        _write(folder, _values(f"{name}-kinds", [(INTERACTION, one) for one in pattern.interactions]))
        _write(folder, _values(f"{name}-users", pattern.user))
        for full, with_patient in ((name, False), (f"Patient{name}", True)):
            _write(folder, _definition(full, name, pattern, with_patient=with_patient))
    _write(folder, _values("objects", [(ROLE, one) for one in ("3", "4", "20")]))
    kinds = {
        "resourceType": "CodeSystem",
        "id": "entities",
        "url": REQUEST[0],
        "status": "active",
        "content": "complete",
    }
    _write(folder, {**kinds, "caseSensitive": True, "concept": [{"code": REQUEST[1]}]})


def _write(folder: Path, resource: Element) -> None:
    (folder / f"{resource['id']}.json").write_text(json.dumps(resource))


def _value_set(name: str) -> str:
    return f"http://localhost/ValueSet/{name}"


def _values(name: str, codes: object) -> Element:
    include: dict[str, list[Element]] = {}
    for system, code in codes:  # type: ignore[attr-defined]
        include.setdefault(system, []).append({"code": code})
    composed = [{"system": system, "concept": concepts} for system, concepts in include.items()]
    told = {"resourceType": "ValueSet", "id": name, "url": _value_set(name), "status": "active"}
    return {**told, "compose": {"include": composed}}


def _definition(full: str, name: str, pattern: Pattern, *, with_patient: bool) -> Element:
    return {
        "resourceType": "StructureDefinition", "id": full, "url": PATTERN + full, "name": full, "status": "active",
        "fhirVersion": "4.0.1", "kind": "resource", "abstract": False, "type": "AuditEvent", "derivation": "constraint",
        "baseDefinition": "http://hl7.org/fhir/StructureDefinition/AuditEvent",
        "differential": {"element": [
            _element("AuditEvent"), *_event(name, pattern), *_agents(name, pattern), *_entities(pattern, with_patient=with_patient),
        ]},
    }  # fmt: skip


def _element(path: str, slice_: str = "", **said: Any) -> Element:
    """An element; `slice_` names the slice of the first element below AuditEvent."""
    parts = path.split(".")
    id_ = ".".join([parts[0], f"{parts[1]}:{slice_}", *parts[2:]]) if slice_ else path
    named = {"sliceName": slice_} if slice_ and len(parts) == 2 else {}
    return {"id": id_, "path": path, **named, **said}


def _sliced(path: str, by: str, least: int) -> Element:
    slicing = {"discriminator": [{"type": "value", "path": by}], "rules": "open"}
    return _element(path, min=least, slicing=slicing)


def _coding(code: Code) -> Element:
    return {"system": code[0], "code": code[1]}


def _bound(name: str) -> Element:
    return {"strength": "required", "valueSet": _value_set(name)}


def _event(name: str, pattern: Pattern) -> Iterator[Element]:
    yield _element(
        "AuditEvent.type",
        patternCoding=_coding(("http://terminology.hl7.org/CodeSystem/audit-event-type", "rest")),
    )
    yield _sliced("AuditEvent.subtype", "$this", 1)
    yield _element("AuditEvent.subtype", "kind", min=1, max="1", binding=_bound(f"{name}-kinds"))
    yield _element("AuditEvent.action", min=1, patternCode=pattern.action)
    yield _element("AuditEvent.outcome", min=1, patternCode="0")


def _agents(name: str, pattern: Pattern) -> Iterator[Element]:
    yield _sliced("AuditEvent.agent", "type", 2)
    for end, code in (("client", pattern.client), ("server", pattern.server)):
        yield _element("AuditEvent.agent", end, min=1, max="1")
        yield _element("AuditEvent.agent.type", end, min=1, patternCodeableConcept={"coding": [_coding(code)]})
        yield _element("AuditEvent.agent.who", end, min=1)
        yield _element("AuditEvent.agent.media", end, max="0")
        yield _element("AuditEvent.agent.network", end, min=1)
    yield _element("AuditEvent.agent", "user", min=0, max="1")
    yield _element("AuditEvent.agent.type", "user", min=1, binding=_bound(f"{name}-users"))
    yield _element("AuditEvent.agent.who", "user", min=1)
    yield _element("AuditEvent.agent.requestor", "user", patternBoolean=True)
    yield _element("AuditEvent.agent.media", "user", max="0")
    yield _element("AuditEvent.agent.network", "user", max="0")


def _entities(pattern: Pattern, *, with_patient: bool) -> Iterator[Element]:
    yield _sliced("AuditEvent.entity", "type", 1)
    yield _element("AuditEvent.entity", "transaction", min=0, max="1")
    yield _element("AuditEvent.entity.what", "transaction", min=1)
    yield _element("AuditEvent.entity.what.identifier", "transaction", min=1)
    yield _element("AuditEvent.entity.what.identifier.value", "transaction", min=1)
    yield _element("AuditEvent.entity.type", "transaction", min=1, patternCoding=_coding(REQUEST))
    if pattern.entity == "query":
        yield from _query()
    else:
        yield _element("AuditEvent.entity", "data", min=1, max="1")
        yield _element("AuditEvent.entity.what", "data", min=1)
        yield _element("AuditEvent.entity.type", "data", min=1, patternCoding=_coding((ENTITY, "2")))
        yield _element("AuditEvent.entity.role", "data", min=1, binding=_bound("objects"))
    if with_patient:
        target = {"code": "Reference", "targetProfile": ["http://hl7.org/fhir/StructureDefinition/Patient"]}
        yield _element("AuditEvent.entity", "patient", min=1, max="1")
        yield _element("AuditEvent.entity.what", "patient", min=1, type=[target])
        yield _element("AuditEvent.entity.type", "patient", min=1, patternCoding=_coding((ENTITY, "1")))
        yield _element("AuditEvent.entity.role", "patient", min=1, patternCoding=_coding((ROLE, "1")))


def _query() -> Iterator[Element]:
    yield _element("AuditEvent.entity", "query", min=1, max="1")
    yield _element("AuditEvent.entity.what", "query", max="0")
    yield _element("AuditEvent.entity.type", "query", min=1, patternCoding=_coding((ENTITY, "2")))
    yield _element("AuditEvent.entity.role", "query", min=1, patternCoding=_coding((ROLE, "24")))
    yield _element("AuditEvent.entity.lifecycle", "query", max="0")
    yield _element("AuditEvent.entity.query", "query", min=1)
    yield _element("AuditEvent.entity.detail", "query", max="0")
