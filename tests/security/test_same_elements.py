"""Of an element that a role hides no answer tells anything, not even whether there is one.

Two stores hold the same resources, in one of them with all that a role hides and in the other without it. Every search
parameter, order, include and condition of the type is asked for with the very values that are hidden.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from fhir_tracker.fhir.definitions.registry import search_parameters
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.model.viewer import open_viewer
from fhir_tracker.roles import built_in
from fhir_tracker.storage.database import Database
from tests.security.test_same_answers import differing
from tests.security.test_same_answers import other_database as other_database
from tests.support.asking import Asker, member

SYSTEM = "https://example.org/codes"
ROLE = "https://fhir-tracker.example/CodeSystem/role"
TEXT = {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">Quibblestone told us</div>'}
PATCH = {"content-type": "application/json-patch+json"}


def ref(text: str) -> Resource:
    return {"reference": text}


def coded(code: str) -> Resource:
    return {"coding": [{"system": SYSTEM, "code": code}], "text": f"{code} of Quibblestone"}


NOTE = [{"text": "Quibblestone was not at home"}]
WHY = {"reasonCode": [coded("why")], "reasonReference": [ref("Condition/c")]}
BODIES: dict[str, Resource] = {
    "Task": {
        "status": "requested", "intent": "order", "for": ref("Patient/p"), "code": coded("call"),
        "performerType": [{"coding": [{"system": ROLE, "code": "front-desk"}]}],
        "restriction": {"repetitions": 2}, "priority": "routine",
    },
    "Appointment": {
        "status": "booked", "participant": [{"actor": ref("Patient/p"), "status": "accepted"}], "start": "2026-04-01T10:00:00Z",
        "end": "2026-04-01T10:30:00Z",
    },
    "Communication": {"status": "completed", "subject": ref("Patient/p"), "sent": "2026-03-01T10:00:00Z"},
    "CarePlan": {"status": "active", "intent": "plan", "subject": ref("Patient/p"), "title": "Ring"},
    "Patient": {"name": [{"family": "Synthetic"}], "birthDate": "1950-01-01"},
}  # fmt: skip
TOLD: dict[str, Resource] = {
    "Task": {
        "note": NOTE, "description": "Ring Quibblestone", "statusReason": coded("late"), "insurance": [ref("Coverage/v")],
        "reasonCode": coded("why"), "reasonReference": ref("Condition/c"),
        "input": [{"type": coded("in"), "valueString": "Quibblestone"}], "output": [{"type": coded("out"), "valueInteger": 4711}],
    },
    "Appointment": {
        **WHY, "description": "A talk with Quibblestone", "comment": "Quibblestone", "supportingInformation": [ref("Condition/c")],
    },
    "Communication": {**WHY, "note": NOTE, "payload": [{"contentString": "Dear Quibblestone"}]},
    "CarePlan": {
        "note": NOTE, "description": "Of Quibblestone", "addresses": [ref("Condition/c")], "supportingInfo": [ref("Condition/c")],
    },
    "Patient": {
        "telecom": [{"system": "phone", "value": "5550147"}, {"system": "email", "value": "q@quibblestone.example"}],
        "address": [{"line": ["4711 Quibblestone Road"], "city": "Quibble", "postalCode": "04711", "state": "MA", "country": "US"}],
        "photo": [{"title": "Quibblestone"}], "contact": [{"name": {"family": "Quibblestone"}}], "maritalStatus": coded("M"),
        "communication": [{"language": {"coding": [{"system": "urn:ietf:bcp:47", "code": "fr"}]}}], "multipleBirthInteger": 2,
        "extension": [{"url": "http://example.org/e", "valueString": "Quibblestone"}],
    },
}  # fmt: skip
OTHERS: list[Resource] = [
    {"resourceType": "Condition", "id": "c", "subject": ref("Patient/q"), "code": coded("ill")},
    {"resourceType": "Patient", "id": "q"},
    {
        "resourceType": "Coverage",
        "id": "v",
        "status": "active",
        "beneficiary": ref("Patient/q"),
        "payor": [ref("Patient/q")],
    },
]
IDS = {type_: type_[:1].lower() for type_ in BODIES} | {"CarePlan": "plan"}


def hidden_by(role: str, type_: str) -> Resource:
    """What of TOLD the role does not see."""
    paths = built_in()[role].hidden.get(type_, frozenset())
    return {
        name: value
        for name, value in TOLD[type_].items()
        if any(name == path or (path.endswith("[x]") and name.startswith(path[:-3])) for path in paths)
    }


def leaves(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if "code" in value and "system" in value:
            yield f"{value['system']}|{value['code']}"
        for one in value.values():
            yield from leaves(one)
    elif isinstance(value, list):
        for one in value:
            yield from leaves(one)
    else:
        yield str(value)


def questions(type_: str, told: Resource) -> Iterator[tuple[Any, ...]]:
    """Requests for a type by whatever may read what is hidden of it."""
    one = f"{type_}/{IDS[type_]}"
    yield from (
        ("GET", f"{one}{rest}") for rest in ("", "/_history", "/_history/1", "?_summary=data", "?_summary=text")
    )
    yield from (
        ("GET", f"{type_}{rest}") for rest in ("", "/_history", "?_summary=count", "?_include=*", "?_include:iterate=*")
    )
    yield from (
        ("GET", path) for path in (f"?_type={type_}", "Patient?_revinclude=*", f"Patient/p/{type_}", "_history")
    )
    yield ("POST", f"{type_}/$validate", {"resourceType": "Parameters", "parameter": []})
    yield ("POST", f"{one}/$validate")
    for name, value in told.items():
        yield ("GET", f"{one}?_elements={name}")
        for step in ({"op": "test", "value": value}, {"op": "remove"}, {"op": "replace", "value": value}):
            yield ("PATCH", one, [{"path": f"/{name}", **step}], PATCH)
        yield ("PATCH", one, [{"op": "copy", "from": f"/{name}", "path": "/language"}], PATCH)
    values = list(dict.fromkeys(leaves(told)))
    for code in sorted(search_parameters(type_)):
        yield from (("GET", f"{type_}?{how}") for how in (f"{code}:missing=true", f"_sort={code}", f"_sort=-{code}"))
        yield from (
            ("GET", path) for path in (f"{type_}?_include={type_}:{code}", f"Patient?_revinclude={type_}:{code}")
        )
        for value in values[:4]:
            asked = f"{code}={quote(value)}"
            yield from (("GET", path) for path in (f"{type_}?{asked}", f"Patient?_has:{type_}:patient:{asked}"))
            yield from (("GET", f"{type_}?{code}:{how}={quote(value)}") for how in ("not", "contains", "text", "exact"))
            yield ("POST", type_, {"resourceType": type_}, {"if-none-exist": asked})
            yield ("PUT", f"{type_}?{asked}", {"resourceType": type_, **BODIES[type_]})
            yield ("DELETE", f"{type_}?{asked}")


@pytest.fixture
def ready_url(prepared_file: Path, tmp_path: Path) -> str:
    """The subject is what a role hides, which no database knows of."""
    shutil.copyfile(prepared_file, tmp_path / "tracker.db")
    return f"sqlite:///{tmp_path / 'tracker.db'}"


@pytest.mark.security("A3", "S43", "M3")
@pytest.mark.requirement(89)
@pytest.mark.parametrize("role", ["front-desk", "clinic-admin", "auditor"])
def test_what_a_role_hides_changes_no_answer(database: Database, other_database: Database, role: str) -> None:
    stores = [Asker(database=each, viewer=open_viewer()) for each in (database, other_database)]
    for store in stores:
        store.put(*OTHERS)
    types = [type_ for type_ in ("Patient", *BODIES) if hidden_by(role, type_)]
    for type_ in dict.fromkeys(["Patient", *BODIES]):
        shown = {"resourceType": type_, "id": IDS[type_], **BODIES[type_]}
        stores[0].put(shown | ({"text": TEXT, **hidden} if (hidden := hidden_by(role, type_)) else {}))
        stores[1].put(shown)
    asked = [one for type_ in types for one in questions(type_, hidden_by(role, type_))]
    assert types
    assert len(differing(stores[0], stores[1], asked[:60])) > 10, "who sees everything is told"
    one, other = (store.as_viewer(member(role)) for store in stores)
    found = differing(one, other, asked)
    assert found == [], f"{len(found)} of {len(asked)}\n" + "\n".join(found[:20])
