"""Versions, conditions on them, and what happens when two clients want the same resource.

https://hl7.org/fhir/R4/http.html#concurrency
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from itertools import pairwise
from typing import Any

import httpx
import pytest

from tests.conformance.stock import task
from tests.conformance.talk import JSON, Corner, created, issue_of


def put(corner: Corner, short: str, headers: dict[str, str] | None = None, **members: Any) -> httpx.Response:
    body = {"resourceType": "Patient", "id": corner.id(short), **members}
    address = f"/Patient/{corner.id(short)}"
    return corner.client.put(address, content=json.dumps(body), headers=JSON | (headers or {}))


@pytest.mark.security("C1")
@pytest.mark.requirement(40)
@pytest.mark.parametrize(
    ("tag", "status"),
    [
        ('W/"2"', 200),
        ('"2"', 200),
        ('W/"1"', 412),
        ('"1"', 412),
        ('W/"3"', 412),
        ('W/"abc"', 412),
        ('W/"02"', 412),
        ("2", 400),
        ('W/2"', 400),
        ("*", 200),
        ('W/"1", W/"2"', 200),
        ('"1", "7"', 412),
        ('W/"1" W/"2"', 400),
        ('w/"2"', 400),
    ],
)
def test_if_match_guards_an_update(corner: Corner, tag: str, status: int) -> None:
    put(corner, "p")
    put(corner, "p", gender="male")
    answer = put(corner, "p", {"If-Match": tag}, gender="female")
    if status != 200:
        issue_of(answer, status)
        assert corner.client.get(f"/Patient/{corner.id('p')}").json()["gender"] == "male"
    else:
        assert (answer.status_code, answer.json()["gender"]) == (200, "female")


@pytest.mark.security("C1")
@pytest.mark.requirement(8, 40)
def test_if_match_guards_a_delete(corner: Corner) -> None:
    put(corner, "p")
    put(corner, "p", gender="male")
    address = f"/Patient/{corner.id('p')}"
    issue_of(corner.client.delete(address, headers={"If-Match": 'W/"1"'}), 412)
    assert corner.client.get(address).status_code == 200
    assert corner.client.delete(address, headers={"If-Match": 'W/"2"'}).status_code == 204


@pytest.mark.requirement(40)
def test_if_match_on_what_never_was_is_412(corner: Corner) -> None:
    issue_of(put(corner, "p", {"If-Match": 'W/"1"'}), 412)
    issue_of(corner.client.get(f"/Patient/{corner.id('p')}"), 404)


@pytest.mark.requirement(12)
def test_a_client_that_has_the_version_gets_304(corner: Corner) -> None:
    answer = put(corner, "p")
    address = f"/Patient/{corner.id('p')}"
    for tag in (answer.headers["etag"], '"1"', '"7", W/"1"', "*"):
        again = corner.client.get(address, headers={"If-None-Match": tag})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", 'W/"1"')
    since = {"If-Modified-Since": answer.headers["last-modified"]}
    assert corner.client.get(address, headers=since).status_code == 304
    for header in ({"If-None-Match": 'W/"9"'}, {"If-Modified-Since": "Mon, 01 Jan 2001 00:00:00 GMT"}):
        assert corner.client.get(address, headers=header).status_code == 200
    assert corner.client.get(address, headers={"If-Modified-Since": "yesterday"}).status_code == 200


@pytest.mark.requirement(7)
def test_an_update_of_what_never_was_creates_it_under_that_id(corner: Corner) -> None:
    answer = put(corner, "p")
    assert answer.status_code == 201
    assert answer.headers["location"].endswith(f"/Patient/{corner.id('p')}/_history/1")
    assert put(corner, "p", gender="male").status_code == 200


@pytest.mark.requirement(7)
@pytest.mark.parametrize("id_", ["other", None, "", 7, ["x"]])
def test_an_update_whose_ids_differ_is_400(corner: Corner, id_: Any) -> None:
    body = {"resourceType": "Patient"} | ({} if id_ is None else {"id": id_})
    address = f"/Patient/{corner.id('p')}"
    issue_of(corner.client.put(address, content=json.dumps(body), headers=JSON), 400)
    issue_of(corner.client.get(address), 404)


@pytest.mark.requirement(7)
@pytest.mark.parametrize("id_", ["a_b", "a b", "ä", "x" * 65, "a/b", "%00", "a%2Fb"])
def test_an_id_that_is_none_in_fhir_is_never_stored(client: httpx.Client, id_: str) -> None:
    body = {"resourceType": "Patient", "id": id_}
    answer = client.put(f"/Patient/{id_}", content=json.dumps(body), headers=JSON)
    assert answer.status_code in (400, 404, 405)
    issue_of(answer, answer.status_code)
    assert issue_of(client.get(f"/Patient/{id_}"), 404)


@pytest.mark.requirement(3)
def test_a_create_ignores_the_id_version_and_time_of_the_body(client: httpx.Client) -> None:
    meta = {"versionId": "77", "lastUpdated": "1999-01-01T00:00:00Z", "profile": ["http://example.org/p"]}
    body = {"resourceType": "Patient", "id": "mine", "meta": meta}
    answer = client.post("/Patient", content=json.dumps(body), headers=JSON)
    made = created(answer)
    assert made["id"] != "mine"
    assert made["meta"]["versionId"] == "1"
    assert made["meta"]["lastUpdated"] > "2020"
    assert made["meta"]["profile"] == ["http://example.org/p"]
    assert parsedate_to_datetime(answer.headers["last-modified"]).tzinfo is not None


@pytest.mark.security("C1")
@pytest.mark.requirement(8)
def test_a_delete_can_be_repeated_and_a_deleted_resource_can_come_back(corner: Corner) -> None:
    put(corner, "p")
    address = f"/Patient/{corner.id('p')}"
    assert [corner.client.delete(address).status_code for _ in range(3)] == [204, 204, 204]
    assert corner.client.delete(f"/Patient/{corner.id('never')}").status_code == 204
    issue_of(corner.client.get(address), 410)
    assert put(corner, "p", gender="other").status_code == 201
    assert corner.client.get(address).json()["meta"]["versionId"] == "3"
    history = corner.client.get(f"{address}/_history").json()
    assert [one["request"]["method"] for one in history["entry"]][1] == "DELETE"
    assert [one["response"]["etag"] for one in history["entry"]] == ['W/"3"', 'W/"2"', 'W/"1"']


@pytest.mark.requirement(42, 45)
def test_of_eight_updates_with_the_same_condition_one_wins(corner: Corner) -> None:
    put(corner, "p")
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: put(corner, "p", {"If-Match": 'W/"1"'}, birthDate=f"200{n}"), range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 7
    (won,) = [answer for answer in answers if answer.status_code == 200]
    assert corner.client.get(f"/Patient/{corner.id('p')}").content == won.content


@pytest.mark.requirement(42, 45)
def test_unconditional_updates_at_once_leave_no_gap_and_times_that_grow(corner: Corner) -> None:
    def write(number: int) -> httpx.Response:
        answer = put(corner, "p", birthDate=f"19{number + 10}")
        while answer.status_code == 503:
            assert int(answer.headers["retry-after"]) > 0
            answer = put(corner, "p", birthDate=f"19{number + 10}")
        return answer

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(write, range(40)))
    assert {answer.status_code for answer in answers} == {200, 201}
    assert [answer.status_code for answer in answers].count(201) == 1
    history = corner.client.get(f"/Patient/{corner.id('p')}/_history?_count=100").json()
    metas = [one["resource"]["meta"] for one in history["entry"]]
    assert [int(meta["versionId"]) for meta in metas] == list(range(40, 0, -1))
    assert all(later["lastUpdated"] > earlier["lastUpdated"] for later, earlier in pairwise(metas))


@pytest.mark.requirement(44)
def test_a_history_is_paged_newest_first(corner: Corner) -> None:
    for year in range(5):
        put(corner, "p", birthDate=f"200{year}")
    page = corner.client.get(f"/Patient/{corner.id('p')}/_history?_count=2").json()
    seen: list[str] = []
    while True:
        seen += [one["resource"]["meta"]["versionId"] for one in page["entry"]]
        following = [one["url"] for one in page["link"] if one["relation"] == "next"]
        if not following:
            break
        page = corner.client.get(following[0]).json()
    assert seen == ["5", "4", "3", "2", "1"]
    issue_of(corner.client.get(f"/Patient/{corner.id('none')}/_history"), 404)


@pytest.mark.requirement(6)
@pytest.mark.parametrize("version", ["0", "9", "abc", "1.0", "-1", "99999999999999999999"])
def test_a_version_that_never_was_is_404(corner: Corner, version: str) -> None:
    put(corner, "p")
    issue_of(corner.client.get(f"/Patient/{corner.id('p')}/_history/{version}"), 404)


@pytest.mark.requirement(43)
def test_a_conditional_create_makes_what_is_not_there_and_finds_what_is(corner: Corner) -> None:
    def create(condition: str) -> httpx.Response:
        body = {"resourceType": "Patient", "identifier": [{"system": "http://example.org/mrn", "value": corner.name}]}
        return corner.client.post("/Patient", content=json.dumps(body), headers=JSON | {"If-None-Exist": condition})

    condition = f"identifier=http://example.org/mrn|{corner.name}"
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(create, [condition] * 6))
    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [201]
    assert len({answer.content for answer in answers}) == 1
    assert {answer.headers["etag"] for answer in answers} == {'W/"1"'}
    assert {answer.headers["location"] for answer in answers} == {answers[0].headers["location"]}
    assert create(f"identifier={corner.name}-other").status_code == 201
    issue_of(create(condition), 412)
    for wrong in ("colour=red", "_count=1", "identifier=", "birthdate=x", "?", "identifier=%FF"):
        issue_of(create(wrong), 400)


@pytest.mark.requirement(132)
def test_of_two_owners_who_claim_a_task_one_gets_it(corner: Corner) -> None:
    task(corner, "t")
    address = f"/Task/{corner.id('t')}"
    body = {"resourceType": "Task", "id": corner.id("t"), "status": "accepted", "intent": "order"}

    def claim(who: str) -> int:
        claimed = body | {"owner": {"reference": f"Practitioner/{who}"}}
        return corner.client.put(address, content=json.dumps(claimed), headers=JSON | {"If-Match": 'W/"1"'}).status_code

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(claim, ["nurse", "coordinator"])) == [200, 412]


@pytest.mark.requirement(124, 125)
def test_a_closed_task_does_not_go_back_to_requested(corner: Corner) -> None:
    task(corner, "t", status="completed")
    body = {"resourceType": "Task", "id": corner.id("t"), "status": "requested", "intent": "order"}
    answer = corner.client.put(f"/Task/{corner.id('t')}", content=json.dumps(body), headers=JSON)
    assert issue_of(answer, 422)["code"] == "business-rule"
    same = corner.client.put(
        f"/Task/{corner.id('t')}", content=json.dumps(body | {"status": "completed"}), headers=JSON
    )
    assert same.status_code == 200
