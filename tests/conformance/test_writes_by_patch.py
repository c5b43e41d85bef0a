"""JSON Patch and FHIRPath Patch on stored resources: what they change, what they may not, and what they leave true.

https://hl7.org/fhir/R4/http.html#patch
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.conformance.stock import task
from tests.conformance.talk import JSON, Corner, issue_of

PATCH = {"Content-Type": "application/json-patch+json"}
DIV = '<div xmlns="http://www.w3.org/1999/xhtml"><p>Requested by the clinic</p></div>'


def op(kind: str, path: str, value: Any = None, **members: Any) -> dict[str, Any]:
    return {"op": kind, "path": path, "value": value} | {name.rstrip("_"): one for name, one in members.items()}


def patch(corner: Corner, ref: str, *operations: Any, **headers: str) -> httpx.Response:
    given = {name.replace("_", "-"): text for name, text in headers.items()}
    return corner.client.patch(f"/{ref}", content=json.dumps(operations), headers=PATCH | given)


def step(kind: str, path: str, **parts: Any) -> dict[str, Any]:
    named = [{"name": name, **value} for name, value in parts.items()]
    return {
        "name": "operation",
        "part": [{"name": "type", "valueCode": kind}, {"name": "path", "valueString": path}, *named],
    }


def fhirpath_patch(corner: Corner, ref: str, *steps: dict[str, Any], **headers: str) -> httpx.Response:
    given = {name.replace("_", "-"): text for name, text in headers.items()}
    content = json.dumps({"resourceType": "Parameters", "parameter": list(steps)})
    return corner.client.patch(f"/{ref}", content=content, headers=JSON | given)


def patient(corner: Corner, **members: Any) -> str:
    return f"Patient/{corner.put('Patient', 'p', **members)['id']}"


@pytest.mark.requirement(9, 10)
def test_a_json_patch_makes_the_next_version(corner: Corner) -> None:
    ref = patient(corner, name=[{"given": ["a", "b"]}])
    answer = patch(
        corner,
        ref,
        op("test", "/name/0/given/1", "b"),
        op("replace", "/name/0/given/0", "c"),
        op("add", "/name/0/given/-", "d"),
        op("move", "/name/0/given/0", from_="/name/0/given/2"),
        op("copy", "/name/0/text", from_="/name/0/given/1"),
        op("add", "/birthDate", "2001-02-03"),
        op("remove", "/meta/tag"),
    )
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert found["name"] == [{"given": ["d", "c", "b"], "text": "c"}]
    assert (answer.headers["etag"], found["meta"]["versionId"]) == ('W/"2"', "2")
    assert "tag" not in found["meta"]
    assert answer.headers["location"].endswith(f"/{ref}/_history/2")
    assert answer.headers["last-modified"]
    assert corner.client.get(f"/{ref}").content == answer.content
    assert corner.client.get(f"/Patient?_id={corner.id('p')}&birthdate=2001-02-03").json()["total"] == 1


@pytest.mark.requirement(9)
def test_a_fhirpath_patch_makes_the_next_version(corner: Corner) -> None:
    ref = patient(corner, name=[{"family": "a", "use": "old"}, {"family": "b"}], deceasedBoolean=False)
    answer = fhirpath_patch(
        corner,
        ref,
        step("replace", "Patient.name.where(use = 'old').family", value={"valueString": "c"}),
        step("replace", "Patient.deceased", value={"valueDateTime": "2020"}),
        step("move", "Patient.name", source={"valueInteger": 1}, destination={"valueInteger": 0}),
        step("insert", "Patient.name", index={"valueInteger": 2}, value={"valueHumanName": {"text": "d"}}),
        step("add", "Patient", name={"valueString": "gender"}, value={"valueCode": "other"}),
        step("delete", "Patient.meta.tag"),
        step("delete", "Patient.photo"),
    )
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert found["name"] == [{"family": "b"}, {"family": "c", "use": "old"}, {"text": "d"}]
    assert (found["deceasedDateTime"], found["gender"], found["meta"]["versionId"]) == ("2020", "other", "2")
    assert "deceasedBoolean" not in found


@pytest.mark.requirement(9)
def test_digits_that_a_patch_does_not_touch_stay_as_they_were(corner: Corner) -> None:
    text = (
        f'{{"resourceType":"Observation","id":"{corner.id("o")}","status":"final","code":{{"text":"w"}},'
        '"valueQuantity":{"value":1.00},"component":[{"code":{"text":"x"},"valueQuantity":{"value":1.50e3}}]}'
    )
    corner.client.put(f"/Observation/{corner.id('o')}", content=text, headers=JSON)
    by_json = patch(
        corner, f"Observation/{corner.id('o')}", op("test", "/valueQuantity/value", 1), op("add", "/status", "amended")
    )
    value = '{"name":"value","valueDecimal":2.500}'
    by_path = corner.client.patch(
        f"/Observation/{corner.id('o')}",
        content='{"resourceType":"Parameters","parameter":[{"name":"operation","part":[{"name":"type","valueCode":'
        '"replace"},{"name":"path","valueString":"Observation.component[0].value.value"},' + value + "]}]}",
        headers=JSON,
    )
    assert '"valueQuantity":{"value":1.00}' in by_json.text
    assert '"value":1.50e3' in by_json.text
    assert by_path.status_code == 200, by_path.text
    assert '"value":2.500' in by_path.text
    assert '"value":1.00' in by_path.text


@pytest.mark.requirement(9, 11)
@pytest.mark.parametrize(
    ("content_type", "content"),
    [
        ("application/xml-patch+xml", "<diff/>"),
        ("application/fhir+xml", "<Parameters/>"),
        ("application/merge-patch+json", "{}"),
        ("text/plain", "[]"),
        ("application/json", "[]"),
        ("application/fhir+json", ' [{"op":"remove","path":"/active"}]'),
        ("", "[]"),
    ],
)
def test_another_kind_of_patch_is_415_and_hears_which_there_are(
    corner: Corner, content_type: str, content: str
) -> None:
    ref = patient(corner)
    answer = corner.client.patch(f"/{ref}", content=content, headers={"Content-Type": content_type})
    issue_of(answer, 415)
    assert answer.headers["accept-patch"] == "application/json-patch+json, application/fhir+json"


@pytest.mark.requirement(4, 9)
@pytest.mark.parametrize(
    ("operations", "status"),
    [
        ({"op": "add"}, 400),
        ([{"op": "add", "path": "/active"}], 400),
        ([{"op": "nothing", "path": "/active"}], 400),
        ([{"op": "remove", "path": "active"}], 400),
        ([{"op": "remove", "path": "/name"}], 422),
        ([{"op": "test", "path": "/active", "value": False}], 422),
        ([{"op": "replace", "path": "/gender", "value": "male"}], 422),
        ([{"op": "add", "path": "/gender", "value": "x-male"}], 422),
        ([{"op": "add", "path": "/colour", "value": "red"}], 422),
        ([{"op": "add", "path": "/name", "value": []}], 422),
        ([{"op": "replace", "path": "", "value": "text"}], 422),
        ([{"op": "replace", "path": "/id", "value": "other"}], 422),
        ([{"op": "remove", "path": "/id"}], 422),
        ([{"op": "replace", "path": "/resourceType", "value": "Person"}], 422),
        ([{"op": "replace", "path": "/meta/versionId", "value": "9"}], 422),
        ([{"op": "replace", "path": "/meta/lastUpdated", "value": "2001-01-01T00:00:00Z"}], 422),
        ([{"op": "test", "path": "/active", "value": True}] * 501, 413),
    ],
)
def test_what_a_patch_may_not_do_leaves_the_resource_as_it_was(corner: Corner, operations: Any, status: int) -> None:
    ref = patient(corner, active=True)
    before = corner.client.get(f"/{ref}")
    given = (
        [{"op": "replace", "path": "/active", "value": True}, *operations]
        if isinstance(operations, list)
        else operations
    )
    answer = corner.client.patch(f"/{ref}", content=json.dumps(given), headers=PATCH)
    issue_of(answer, status)
    assert corner.client.get(f"/{ref}").content == before.content


@pytest.mark.requirement(4, 9)
def test_a_refusal_counts_the_operation_that_failed(corner: Corner) -> None:
    ref = patient(corner, active=True)
    told = issue_of(patch(corner, ref, op("test", "/active", True), op("test", "/active", False)), 422)
    assert "Operation 1 (test)" in told["diagnostics"]
    told = issue_of(
        fhirpath_patch(
            corner, ref, step("delete", "Patient.photo"), step("replace", "Patient.gender", value={"valueCode": "male"})
        ),
        422,
    )
    assert "Operation 1 (replace)" in told["diagnostics"]


@pytest.mark.requirement(4, 9)
@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "null",
        '{"resourceType":"Patient"}',
        '{"resourceType":"Parameters","parameter":[{"name":"other"}]}',
        '{"resourceType":"Parameters","parameter":[]}',
        '{"resourceType":"Parameters","colour":1}',
        '{"a":1,"a":2}',
    ],
)
def test_a_body_that_is_no_patch_is_400(corner: Corner, content: str) -> None:
    issue_of(corner.client.patch(f"/{patient(corner)}", content=content, headers=JSON), 400)


@pytest.mark.requirement(5, 9)
def test_only_what_is_there_can_be_patched(corner: Corner) -> None:
    issue_of(patch(corner, f"Patient/{corner.id('never')}", op("add", "/active", True)), 404)
    ref = patient(corner)
    corner.client.delete(f"/{ref}")
    issue_of(patch(corner, ref, op("add", "/active", True)), 410)
    issue_of(patch(corner, "Nothing/1", op("add", "/active", True)), 404)
    issue_of(patch(corner, "AuditEvent/1", op("add", "/active", True)), 405)


@pytest.mark.requirement(9, 40)
def test_if_match_guards_a_patch(corner: Corner) -> None:
    ref = patient(corner)
    assert patch(corner, ref, op("add", "/active", True), If_Match='W/"1"').status_code == 200
    issue_of(patch(corner, ref, op("add", "/active", False), If_Match='W/"1"'), 412)
    issue_of(fhirpath_patch(corner, ref, step("delete", "Patient.active"), If_Match='"1"'), 412)
    issue_of(patch(corner, ref, op("add", "/active", False), If_Match="2"), 400)
    assert patch(corner, ref, op("add", "/active", False), If_Match='"1", "2"').status_code == 200
    assert patch(corner, ref, op("add", "/active", True), If_Match="*").status_code == 200


@pytest.mark.requirement(9, 10)
def test_a_patch_returns_what_is_preferred(corner: Corner) -> None:
    ref = patient(corner)
    minimal = patch(corner, ref, op("add", "/active", True), Prefer="return=minimal")
    assert (minimal.status_code, minimal.content, minimal.headers["etag"]) == (200, b"", 'W/"2"')
    told = patch(corner, ref, op("add", "/active", True), Prefer="return=OperationOutcome")
    assert told.json()["resourceType"] == "OperationOutcome"


@pytest.mark.requirement(9, 42, 45)
def test_patches_at_once_all_count(corner: Corner) -> None:
    ref = patient(corner, name=[{"given": ["first"]}])

    def add(number: int) -> int:
        answer = patch(corner, ref, op("add", "/name/0/given/-", f"n{number}"))
        while answer.status_code == 503:
            answer = patch(corner, ref, op("add", "/name/0/given/-", f"n{number}"))
        return answer.status_code

    with ThreadPoolExecutor(6) as pool:
        assert set(pool.map(add, range(12))) == {200}
    given = corner.client.get(f"/{ref}").json()["name"][0]["given"]
    assert sorted(given) == sorted(["first", *(f"n{number}" for number in range(12))])


@pytest.mark.requirement(9, 42)
def test_of_eight_patches_with_one_if_match_one_wins(corner: Corner) -> None:
    ref = patient(corner)
    with ThreadPoolExecutor(8) as pool:
        answers = pool.map(lambda n: patch(corner, ref, op("add", "/birthDate", f"200{n}"), If_Match='W/"1"'), range(8))
        assert sorted(answer.status_code for answer in answers) == [200] + [412] * 7


@pytest.mark.requirement(9, 124, 125)
def test_work_is_moved_by_a_patch_as_by_an_update(corner: Corner) -> None:
    task(corner, "t")
    ref = f"Task/{corner.id('t')}"
    assert patch(corner, ref, op("replace", "/status", "completed")).json()["status"] == "completed"
    told = issue_of(patch(corner, ref, op("replace", "/status", "requested")), 422)
    assert told["code"] == "business-rule"
    told = issue_of(fhirpath_patch(corner, ref, step("replace", "Task.status", value={"valueCode": "requested"})), 422)
    assert told["code"] == "business-rule"


@pytest.mark.requirement(9, 129)
def test_a_patched_task_says_when_it_was_modified(corner: Corner) -> None:
    task(corner, "t", authoredOn="2020-01-01T00:00:00Z", lastModified="2020-01-01T00:00:00Z")
    found = patch(corner, f"Task/{corner.id('t')}", op("replace", "/status", "accepted"))
    assert found.status_code == 200, found.text
    assert corner.client.get(f"/Provenance?target=Task/{corner.id('t')}").json()["total"] == 2


@pytest.mark.requirement(9)
def test_a_generated_text_is_made_anew_when_it_would_no_longer_be_true(corner: Corner) -> None:
    task(corner, "t", text={"status": "generated", "div": DIV}, code={"text": "Call <b>Ann</b>"})
    ref = f"Task/{corner.id('t')}"
    told = patch(corner, ref, op("replace", "/status", "accepted")).json()["text"]
    assert told["status"] == "generated"
    assert "accepted" in told["div"]
    assert "Requested by" not in told["div"]
    assert "Call &lt;b&gt;Ann&lt;/b&gt;" in told["div"]
    assert patch(corner, ref, op("replace", "/text/div", DIV)).json()["text"]["div"] == DIV
    assert patch(corner, ref, op("replace", "/text/status", "additional")).json()["text"]["div"] == DIV
    assert patch(corner, ref, op("replace", "/status", "in-progress")).json()["text"]["div"] == DIV


@pytest.mark.requirement(9)
def test_references_to_this_server_are_kept_in_one_form(corner: Corner) -> None:
    task(corner, "t")
    base = str(corner.client.base_url).rstrip("/")
    answer = patch(corner, f"Task/{corner.id('t')}", op("add", "/owner", {"reference": f"{base}/Practitioner/p1"}))
    assert answer.json()["owner"] == {"reference": "Practitioner/p1"}
    assert corner.names("Task?owner=Practitioner/p1") == "t"


@pytest.mark.requirement(9, 15)
def test_a_patch_is_in_the_history_and_the_capability_statement(corner: Corner) -> None:
    ref = patient(corner)
    answer = patch(corner, ref, op("add", "/active", True), X_Request_Id="r-1")
    assert answer.headers["x-request-id"] == "r-1"
    history = corner.client.get(f"/{ref}/_history").json()
    assert [one["response"]["etag"] for one in history["entry"]] == ['W/"2"', 'W/"1"']
    statement = corner.client.get("/metadata").json()
    row = next(one for one in statement["rest"][0]["resource"] if one["type"] == "Patient")
    assert {"code": "patch"} in row["interaction"]
    assert statement["patchFormat"] == ["application/json-patch+json", "application/fhir+json"]
