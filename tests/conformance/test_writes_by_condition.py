"""Updates, patches, deletes and creates whose resource is named by a search.

https://hl7.org/fhir/R4/http.html#cond-update
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.conformance.talk import JSON, Corner, created, issue_of

SYSTEM = "http://example.org/mrn"
PATCH = {"Content-Type": "application/json-patch+json"}
MALE = '[{"op":"add","path":"/gender","value":"male"}]'


def query(corner: Corner, short: str = "") -> str:
    return f"/Patient?identifier={SYSTEM}|{corner.name}{short}"


def body(corner: Corner, **members: Any) -> str:
    identifier = [{"system": SYSTEM, "value": corner.name}]
    return json.dumps({"resourceType": "Patient", "identifier": identifier, **members})


def put(corner: Corner, headers: dict[str, str] | None = None, **members: Any) -> httpx.Response:
    return corner.client.put(query(corner), content=body(corner, **members), headers=JSON | (headers or {}))


def two(corner: Corner) -> None:
    for short in ("a", "b"):
        corner.put("Patient", short, identifier=[{"system": SYSTEM, "value": corner.name}])


@pytest.mark.requirement(43)
def test_a_conditional_update_creates_what_is_not_there_and_updates_what_is(corner: Corner) -> None:
    first = put(corner)
    made = created(first)
    assert first.status_code == 201
    assert first.headers["location"].endswith(f"/Patient/{made['id']}/_history/1")
    again = put(corner, gender="male")
    assert (again.status_code, again.json()["id"], again.headers["etag"]) == (200, made["id"], 'W/"2"')
    named = put(corner, id=made["id"], gender="female")
    assert (named.status_code, named.json()["gender"], named.headers["etag"]) == (200, "female", 'W/"3"')


@pytest.mark.requirement(43)
def test_a_conditional_update_that_finds_nothing_takes_the_id_of_the_body_when_it_is_free(corner: Corner) -> None:
    free = corner.id("free")
    made = put(corner, id=free)
    assert (made.status_code, made.json()["id"]) == (201, free)
    other = corner.put("Patient", "other")
    taken = corner.client.put(query(corner, "x"), content=body(corner, id=other["id"]), headers=JSON)
    issue_of(taken, 409)
    assert corner.client.get(f"/Patient/{other['id']}").headers["etag"] == 'W/"1"'


@pytest.mark.requirement(43)
@pytest.mark.parametrize("id_", ["another", "a b", "", 7, ["x"]])
def test_a_conditional_update_whose_body_has_another_id_is_400(corner: Corner, id_: Any) -> None:
    put(corner)
    issue_of(put(corner, id=id_), 400)


@pytest.mark.requirement(43)
def test_several_matches_are_412_for_every_conditional_write(corner: Corner) -> None:
    two(corner)
    answers = [
        put(corner),
        corner.client.patch(query(corner), content=MALE, headers=PATCH),
        corner.client.delete(query(corner)),
        corner.client.post(
            "/Patient", content=body(corner), headers=JSON | {"If-None-Exist": query(corner).partition("?")[2]}
        ),
    ]
    for answer in answers:
        assert issue_of(answer, 412)["code"] == "multiple-matches"
    for short in ("a", "b"):
        assert corner.client.get(f"/Patient/{corner.id(short)}").headers["etag"] == 'W/"1"'


@pytest.mark.requirement(8, 43)
def test_a_conditional_delete_deletes_the_one_and_can_be_repeated(corner: Corner) -> None:
    made = created(put(corner))
    assert [corner.client.delete(query(corner)).status_code for _ in range(2)] == [204, 204]
    issue_of(corner.client.get(f"/Patient/{made['id']}"), 410)


@pytest.mark.requirement(9, 43)
def test_a_conditional_patch_changes_the_one_and_is_404_without_it(corner: Corner) -> None:
    issue_of(corner.client.patch(query(corner), content=MALE, headers=PATCH), 404)
    made = created(put(corner))
    answer = corner.client.patch(query(corner), content=MALE, headers=PATCH)
    assert (answer.status_code, answer.json()["gender"], answer.headers["etag"]) == (200, "male", 'W/"2"')
    assert answer.headers["location"].endswith(f"/Patient/{made['id']}/_history/2")


@pytest.mark.requirement(43)
@pytest.mark.parametrize(
    "condition",
    [
        "",
        "?",
        "?colour=red",
        "?identifier=",
        "?_count=1",
        "?_sort=birthdate",
        "?_format=json",
        "?birthdate=x",
        "?_include=Patient:organization&gender=male",
        "?gender:nothing=male",
    ],
)
def test_a_condition_that_selects_nothing_in_particular_is_400(one_client: httpx.Client, condition: str) -> None:
    text = '{"resourceType":"Patient"}'
    issue_of(one_client.put(f"/Patient{condition}", content=text, headers=JSON), 400)
    issue_of(one_client.delete(f"/Patient{condition}"), 400)
    issue_of(one_client.patch(f"/Patient{condition}", content=MALE, headers=PATCH), 400)


@pytest.mark.requirement(43)
def test_the_condition_of_a_create_may_be_written_with_its_address(corner: Corner) -> None:
    base = str(corner.client.base_url).rstrip("/")
    plain = query(corner).partition("?")[2]
    written = [plain, f"?{plain}", f"Patient?{plain}", f"{base}/Patient?{plain}", plain.replace("|", "%7C")]
    answers = [
        corner.client.post("/Patient", content=body(corner), headers=JSON | {"If-None-Exist": one}) for one in written
    ]
    assert [answer.status_code for answer in answers] == [201, 200, 200, 200, 200]
    assert len({answer.content for answer in answers}) == 1
    assert len({answer.headers["location"] for answer in answers}) == 1


@pytest.mark.requirement(43)
def test_conditional_updates_at_once_make_one_resource(corner: Corner) -> None:
    def write(number: int) -> httpx.Response:
        answer = put(corner, birthDate=f"200{number}")
        while answer.status_code == 503:
            answer = put(corner, birthDate=f"200{number}")
        return answer

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(write, range(6)))
    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [201]
    assert sorted(answer.headers["etag"] for answer in answers) == [f'W/"{number}"' for number in range(1, 7)]
    assert len({answer.json()["id"] for answer in answers}) == 1


@pytest.mark.requirement(40, 43)
def test_if_match_guards_conditional_writes_too(corner: Corner) -> None:
    issue_of(put(corner, {"If-Match": 'W/"1"'}), 412)
    issue_of(corner.client.delete(query(corner), headers={"If-Match": 'W/"1"'}), 412)
    made = created(put(corner))
    issue_of(put(corner, {"If-Match": 'W/"2"'}), 412)
    issue_of(put(corner, {"If-None-Match": "*"}), 412)
    issue_of(corner.client.patch(query(corner), content=MALE, headers=PATCH | {"If-Match": '"9"'}), 412)
    issue_of(corner.client.delete(query(corner), headers={"If-Match": '"9"'}), 412)
    assert put(corner, {"If-Match": 'W/"1"'}, gender="male").status_code == 200
    assert corner.client.patch(query(corner), content=MALE, headers=PATCH | {"If-Match": '"2"'}).status_code == 200
    assert corner.client.delete(query(corner), headers={"If-Match": "*"}).status_code == 204
    assert corner.client.get(f"/Patient/{made['id']}/_history").json()["total"] == 4


@pytest.mark.requirement(10, 43)
def test_conditional_writes_return_what_is_preferred(corner: Corner) -> None:
    minimal = put(corner, {"Prefer": "return=minimal"})
    assert (minimal.status_code, minimal.content) == (201, b"")
    told = put(corner, {"Prefer": "return=OperationOutcome"})
    assert told.json()["resourceType"] == "OperationOutcome"
    patched = corner.client.patch(query(corner), content=MALE, headers=PATCH | {"Prefer": "return=minimal"})
    assert (patched.status_code, patched.content, patched.headers["etag"]) == (200, b"", 'W/"3"')


@pytest.mark.requirement(43, 125)
def test_work_found_by_a_condition_moves_by_its_rules(corner: Corner) -> None:
    task = {"resourceType": "Task", "status": "requested", "intent": "order", "identifier": [{"value": uuid4().hex}]}
    address = f"/Task?identifier={task['identifier'][0]['value']}"  # type: ignore[index]

    def write(status: str) -> httpx.Response:
        return corner.client.put(address, content=json.dumps(task | {"status": status}), headers=JSON)

    assert [write("requested").status_code, write("completed").status_code] == [201, 200]
    assert issue_of(write("requested"), 422)["code"] == "business-rule"
