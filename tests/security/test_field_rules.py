"""Elements that a role hides or fixes: they leave in no answer, answer no question, and are changed by no write."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fhir_tracker.model.grants import grants_of
from fhir_tracker.model.policy import Policy
from fhir_tracker.model.viewer import open_viewer
from fhir_tracker.storage.database import Database
from tests.support.asking import Asker, member, told

SECRET = "SECRET-4711"
HIDDEN = Policy(
    grants=grants_of(["user/*.cruds"]),
    hidden={
        "Task": frozenset({"note", "input.value[x]", "reasonCode"}),
        "Observation": frozenset({"value[x]", "note"}),
        "Patient": frozenset({"telecom", "birthDate"}),
    },
    fixed={"Task": frozenset({"priority", "restriction.period.end"})},
)
ME = member("rn", policy=HIDDEN)
TASK = {
    "resourceType": "Task",
    "id": "one",
    "status": "requested",
    "intent": "order",
    "priority": "routine",
    "for": {"reference": "Patient/ann"},
    "reasonCode": {"text": SECRET},
    "note": [{"text": SECRET}],
    "restriction": {"period": {"end": "2026-04-01T12:00:00Z"}},
    "input": [
        {"type": {"text": "score"}, "valueDecimal": 1},
        {"type": {"text": "seen"}, "valueString": SECRET, "_valueString": {"id": SECRET}},
    ],
    "text": {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{SECRET}</div>'},
    "contained": [
        {"resourceType": "Observation", "id": "o", "status": "final", "code": {"text": "x"}, "valueString": SECRET}
    ],
    "focus": {"reference": "#o"},
}
PATIENT = {
    "resourceType": "Patient",
    "id": "ann",
    "name": [{"family": "Synthetic"}],
    "birthDate": "1950-02-03",
    "_birthDate": {"extension": [{"url": "http://example.org/time", "valueString": SECRET}]},
    "telecom": [{"system": "phone", "value": SECRET}],
}
OBSERVATION = {
    "resourceType": "Observation",
    "id": "weight",
    "status": "final",
    "code": {"text": "weight"},
    "subject": {"reference": "Patient/ann"},
    "valueQuantity": {"value": 70.0, "unit": SECRET},
    "component": [{"code": {"text": "kept"}, "valueString": "shown"}],
}


@pytest.fixture
def asker(database: Database) -> Asker:
    """Who may do everything with every type, but for the fields; three resources are there."""
    whole = Asker(database=database, viewer=open_viewer())
    whole.put(PATIENT, TASK, OBSERVATION)
    return whole.as_viewer(ME)


def whole(asker: Asker, address: str) -> Any:
    return asker.as_viewer(open_viewer()).read(address)


READS = [
    "Task/one",
    "Task/one/_history/1",
    "Task/one/_history",
    "Task/_history",
    "_history",
    "Task",
    "Task?_elements=note,input,reasonCode",
    "Task/one?_elements=note",
    "Task?_summary=text",
    "Task?_summary=data",
    "Task/one?_summary=true",
    "Patient/ann",
    "Patient?_revinclude=Task:patient&_revinclude=Observation:subject",
    "Observation/weight?_elements=value",
    "Observation?_include=Observation:subject",
    "Patient/ann/Task",
    "Patient/ann/*",
    "?_type=Task,Patient,Observation",
]


@pytest.mark.security("A3")
@pytest.mark.parametrize("address", READS)
def test_no_read_shows_what_is_hidden(asker: Asker, address: str) -> None:
    assert SECRET in json.dumps(whole(asker, address.partition("?_elements")[0].partition("?_summary")[0]))
    shown = json.dumps(asker.read(address))
    assert SECRET not in shown
    assert "1950" not in shown
    assert "SUBSETTED" in shown


def test_the_rest_stays_digit_for_digit_and_in_order(asker: Asker) -> None:
    shown = asker.ask("GET", "Observation/weight").body.decode()
    first = '{"resourceType":"Observation","id":"weight","meta":{"versionId":"1"'
    assert shown.startswith(first)
    assert shown.endswith(
        '"status":"final","code":{"text":"weight"},"subject":{"reference":"Patient/ann"},'
        '"component":[{"code":{"text":"kept"},"valueString":"shown"}]}'
    )
    task = asker.read("Task/one")
    assert task["input"] == [{"type": {"text": "score"}}, {"type": {"text": "seen"}}]
    assert "text" not in task
    assert task["contained"] == [{"resourceType": "Observation", "id": "o", "status": "final", "code": {"text": "x"}}]


def test_who_sees_everything_gets_the_stored_bytes(asker: Asker) -> None:
    stored = asker.as_viewer(open_viewer()).ask("GET", "Task/one").body
    free = member("rn", policy=Policy(grants=grants_of(["user/*.cruds"])))
    other = member("rn", policy=Policy(grants=grants_of(["user/*.cruds"]), hidden={"Flag": frozenset({"code"})}))
    for viewer in (free, other):
        assert asker.as_viewer(viewer).ask("GET", "Task/one").body == stored


def test_the_etag_is_that_of_the_whole(asker: Asker) -> None:
    assert asker.ask("GET", "Task/one").headers["ETag"] == 'W/"1"'
    same = asker.ask("GET", "Task/one", headers={"if-none-match": 'W/"1"'})
    assert (same.status, same.body) == (304, b"")


@pytest.mark.security("A3")
def test_entries_of_batches_and_transactions_are_cut_too(asker: Asker) -> None:
    for kind in ("batch", "transaction"):
        entries = [{"request": {"method": "GET", "url": url}} for url in ("Task/one", "Task", "Patient/ann")]
        answer = asker.ask("POST", "", {"resourceType": "Bundle", "type": kind, "entry": entries})
        assert answer.status == 200
        assert b"Synthetic" in answer.body
        assert SECRET.encode() not in answer.body


def test_a_put_of_what_was_read_keeps_what_is_hidden(asker: Asker) -> None:
    read = asker.read("Task/one") | {"description": "Ring her"}
    answer = asker.ask("PUT", "Task/one", read, {"prefer": "return=representation"})
    assert answer.status == 200, told(answer)
    assert SECRET.encode() not in answer.body
    stored = whole(asker, "Task/one")
    assert stored["description"] == "Ring her"
    for name in ("note", "reasonCode", "input", "contained"):
        assert stored[name] == TASK[name]
    assert "SUBSETTED" not in json.dumps(stored)


def test_a_part_asked_for_by_elements_is_still_no_whole(asker: Asker) -> None:
    part = asker.read("Task/one?_elements=status,intent")
    assert asker.ask("PUT", "Task/one", part).status == 422


@pytest.mark.security("A3", "S45")
@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"note": [{"text": "mine"}]}, "Task.note"),
        ({"reasonCode": {"text": "mine"}}, "Task.reasonCode"),
        ({"input": [{"type": {"text": "score"}, "valueDecimal": 2}]}, "Task.input.value[x]"),
        ({"input": []}, "Task.input"),
        ({"input": [{"type": {"text": "score, renamed"}}]}, "Task.input"),
        ({"priority": "urgent"}, "Task.priority"),
        ({"restriction": {"period": {"end": "2027-04-01T12:00:00Z"}}}, "Task.restriction.period.end"),
        ({"restriction": {"period": {"start": "2020-04-01"}}}, "Task.restriction.period.end"),
        ({"contained": []}, "Task.contained"),
    ],
)
def test_a_put_that_touches_hidden_or_fixed_elements_is_refused_by_name(
    asker: Asker, change: dict[str, Any], named: str
) -> None:
    read = asker.read("Task/one") | change
    read = {name: value for name, value in read.items() if value != []}
    if "contained" not in read:
        read.pop("focus")
    answer = asker.ask("PUT", "Task/one", read)
    assert answer.status == 403
    assert named in told(answer)
    assert whole(asker, "Task/one")["meta"]["versionId"] == "1"


@pytest.mark.security("A3")
def test_a_create_with_hidden_or_fixed_elements_is_refused(asker: Asker) -> None:
    plain = {"resourceType": "Task", "status": "requested", "intent": "order", "for": {"reference": "Patient/ann"}}
    assert asker.ask("POST", "Task", plain).status == 201
    for change, named in (({"note": [{"text": "x"}]}, "Task.note"), ({"priority": "stat"}, "Task.priority")):
        answer = asker.ask("POST", "Task", plain | change)
        assert (answer.status, named in told(answer)) == (403, True)


PROBES: list[list[dict[str, Any]]] = [
    [{"op": "test", "path": "/note/0/text", "value": SECRET}],
    [{"op": "test", "path": "/reasonCode/text", "value": SECRET}],
    [{"op": "test", "path": "/input/1/valueString", "value": SECRET}],
    [{"op": "copy", "from": "/note/0/text", "path": "/description"}],
    [{"op": "move", "from": "/reasonCode/text", "path": "/description"}],
    [{"op": "remove", "path": "/note"}],
    [{"op": "remove", "path": "/input/1/valueString"}],
    [{"op": "replace", "path": "/reasonCode/text", "value": "x"}],
    [{"op": "copy", "from": "/contained/0/valueString", "path": "/description"}],
    [{"op": "copy", "from": "/text/div", "path": "/description"}],
]


@pytest.mark.security("A3")
@pytest.mark.parametrize("operations", PROBES)
def test_json_patch_finds_nothing_hidden(asker: Asker, operations: list[dict[str, Any]]) -> None:
    right = asker.ask("PATCH", "Task/one", operations, {"content-type": "application/json-patch+json"})
    guess = json.loads(json.dumps(operations).replace(SECRET, "another"))
    wrong = asker.ask("PATCH", "Task/one", guess, {"content-type": "application/json-patch+json"})
    assert right.status == wrong.status == 422
    assert SECRET.encode() not in right.body
    assert whole(asker, "Task/one")["meta"]["versionId"] == "1"


@pytest.mark.security("A3")
def test_fhirpath_patch_finds_nothing_hidden(asker: Asker) -> None:
    for path in ("Task.note", f"Task.note.where(text = '{SECRET}')", f"Task.input.where(value = '{SECRET}')"):
        parts = [{"name": "type", "valueCode": "delete"}, {"name": "path", "valueString": path}]
        body = {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": parts}]}
        asker.ask("PATCH", "Task/one", body)
        assert whole(asker, "Task/one")["note"] == TASK["note"]
        assert whole(asker, "Task/one")["input"] == TASK["input"]


def test_a_patch_of_what_is_shown_keeps_the_rest(asker: Asker) -> None:
    patch = [{"op": "add", "path": "/description", "value": "Ring her"}]
    answer = asker.ask("PATCH", "Task/one", patch, {"content-type": "application/json-patch+json"})
    assert answer.status == 200, told(answer)
    assert SECRET.encode() not in answer.body
    stored = whole(asker, "Task/one")
    assert (stored["description"], stored["note"], stored["input"]) == ("Ring her", TASK["note"], TASK["input"])


@pytest.mark.parametrize("name", ["note", "reasonCode"])
def test_a_patch_that_adds_what_is_hidden_is_refused(asker: Asker, name: str) -> None:
    patch = [{"op": "add", "path": f"/{name}", "value": [{"text": "x"}] if name == "note" else {"text": "x"}}]
    answer = asker.ask("PATCH", "Task/one", patch, {"content-type": "application/json-patch+json"})
    assert (answer.status, f"Task.{name}" in told(answer)) == (403, True)


@pytest.mark.security("S43", "A3")
@pytest.mark.parametrize(
    "address",
    [
        "Patient?birthdate=1950-02-03",
        "Patient?birthdate:missing=false",
        "Patient?telecom=SECRET-4711",
        "Patient?phone=SECRET-4711",
        "Patient?_sort=birthdate",
        "Observation?value-quantity=gt1",
        "Observation?code-value-quantity=x$gt1",
        "Observation?subject.birthdate=1950-02-03",
        "Patient?_has:Observation:subject:value-quantity=gt1",
        "Task?patient.telecom=SECRET-4711",
    ],
)
def test_no_search_and_no_order_tells_of_hidden_elements(asker: Asker, address: str) -> None:
    answer = asker.ask("GET", address)
    assert answer.status == 403, answer.body[:300]


_COPIES = ("%subject.telecom.value.first()", "%subject.birthDate.toString()")


def _applied(expression: str) -> dict[str, Any]:
    """$apply of a definition of one's own, whose expression copies something of the subject."""
    dynamic = {"path": "description", "expression": {"language": "text/fhirpath", "expression": expression}}
    action = {"title": "x", "definitionCanonical": "#a"}
    activity = {
        "resourceType": "ActivityDefinition",
        "id": "a",
        "status": "active",
        "kind": "Task",
        "dynamicValue": [dynamic],
    }
    plan = {"resourceType": "PlanDefinition", "status": "active", "contained": [activity], "action": [action]}
    parts = [{"name": "planDefinition", "resource": plan}, {"name": "subject", "valueString": "Patient/ann"}]
    return {"resourceType": "Parameters", "parameter": parts}


@pytest.mark.security("A3")
def test_no_expression_of_a_definition_copies_what_is_hidden(asker: Asker) -> None:
    whole_answer = asker.as_viewer(open_viewer()).ask("POST", "PlanDefinition/$apply", _applied(_COPIES[0]))
    assert SECRET.encode() in whole_answer.body, "without rules it is copied"
    for expression in _COPIES:
        answer = asker.ask("POST", "PlanDefinition/$apply", _applied(expression))
        assert answer.status in (200, 422), told(answer)
        assert SECRET.encode() not in answer.body
        assert b"1950" not in answer.body


@pytest.mark.security("A3")
def test_no_validation_of_what_is_stored_tells_of_what_is_hidden(asker: Asker) -> None:
    answer = asker.ask("GET", "Task/one/$validate")
    assert answer.status == 200
    assert SECRET.encode() not in answer.body
    assert "valueString" not in answer.body.decode()
