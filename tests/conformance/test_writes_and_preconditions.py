"""What every write says about the version it made, and the conditions a caller may set on the version before.

https://hl7.org/fhir/R4/http.html#concurrency
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from functools import partial
from itertools import pairwise
from typing import Any

import httpx
import pytest

from tests.conformance.server import own_client
from tests.conformance.talk import JSON, Corner, issue_of

PATCH = {"Content-Type": "application/json-patch+json"}
ACTIVE = '[{"op":"add","path":"/active","value":true}]'


def put(client: httpx.Client, id_: str, headers: dict[str, str] | None = None, **members: Any) -> httpx.Response:
    body = {"resourceType": "Patient", "id": id_, **members}
    return client.put(f"/Patient/{id_}", content=json.dumps(body), headers=JSON | (headers or {}))


@pytest.fixture(scope="module")
def careful(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of a server that requires If-Match."""
    folder = tmp_path_factory.mktemp("careful")
    with own_client(folder, env={"FHIR_TRACKER_REQUIRE_IF_MATCH": "yes"}) as client:
        yield client


@pytest.mark.security("C1")
@pytest.mark.requirement(41)
def test_a_server_that_wants_if_match_answers_400_without_it(careful: httpx.Client) -> None:
    assert put(careful, "a").status_code == 201
    query = "/Patient?identifier=urn:x|1"
    identified = '{"resourceType":"Patient","identifier":[{"system":"urn:x","value":"1"}]}'
    assert careful.put(query, content=identified, headers=JSON).status_code == 201
    for answer in (
        put(careful, "a", gender="male"),
        careful.patch("/Patient/a", content=ACTIVE, headers=PATCH),
        careful.delete("/Patient/a"),
        careful.put(query, content=identified, headers=JSON),
        careful.patch(query, content=ACTIVE, headers=PATCH),
        careful.delete(query),
    ):
        assert "If-Match" in issue_of(answer, 400)["diagnostics"]
    assert put(careful, "a", {"If-Match": 'W/"1"'}, gender="male").status_code == 200
    assert careful.patch("/Patient/a", content=ACTIVE, headers=PATCH | {"If-Match": "*"}).status_code == 200
    issue_of(careful.delete("/Patient/a", headers={"If-Match": 'W/"1"'}), 412)
    assert careful.delete("/Patient/a", headers={"If-Match": 'W/"3"'}).status_code == 204
    assert careful.delete("/Patient/a").status_code == 204
    assert put(careful, "a").status_code == 201


@pytest.mark.requirement(7, 42)
@pytest.mark.parametrize("type_", ["Patient", "Task"])
def test_of_several_writers_of_a_new_id_one_creates_and_the_others_update(corner: Corner, type_: str) -> None:
    for number in range(6):
        id_ = corner.id(f"n{number}")
        task = {"status": "requested", "intent": "order"} if type_ == "Task" else {}
        body = json.dumps({"resourceType": type_, "id": id_, "language": "en", **task})
        with ThreadPoolExecutor(6) as pool:
            path = f"/{type_}/{id_}"
            answers = list(pool.map(lambda _: corner.client.put(path, content=body, headers=JSON), range(6)))  # noqa: B023
        assert sorted(answer.status_code for answer in answers) == [200] * 5 + [201]
        assert sorted(answer.json()["meta"]["versionId"] for answer in answers) == ["1", "2", "3", "4", "5", "6"]
        assert [one.status_code for one in answers if one.json()["meta"]["versionId"] == "1"] == [201]


@pytest.mark.requirement(40)
def test_if_none_match_lets_an_update_only_create(corner: Corner) -> None:
    for number in range(6):
        id_ = corner.id(f"p{number}")
        with ThreadPoolExecutor(6) as pool:
            only = partial(put, corner.client, id_, {"If-None-Match": "*"})
            answers = pool.map(lambda n: only(birthDate=f"200{n}"), range(6))  # noqa: B023 - done before the next round
            assert sorted(answer.status_code for answer in answers) == [201] + [412] * 5
    issue_of(put(corner.client, id_, {"If-None-Match": 'W/"1"'}), 412)
    assert put(corner.client, id_, {"If-None-Match": 'W/"7"'}).status_code == 200
    corner.client.delete(f"/Patient/{id_}")
    assert put(corner.client, id_, {"If-None-Match": "*"}).status_code == 201


@pytest.mark.requirement(40)
def test_if_match_with_a_star_wants_that_there_is_something(corner: Corner) -> None:
    id_ = corner.id("p")
    issue_of(put(corner.client, id_, {"If-Match": "*"}), 412)
    issue_of(corner.client.get(f"/Patient/{id_}"), 404)
    put(corner.client, id_)
    assert put(corner.client, id_, {"If-Match": "*"}, gender="male").status_code == 200
    corner.client.delete(f"/Patient/{id_}")
    issue_of(put(corner.client, id_, {"If-Match": "*"}), 412)
    issue_of(corner.client.delete(f"/Patient/{id_}", headers={"If-Match": "*"}), 412)


@pytest.mark.requirement(40, 8)
@pytest.mark.parametrize("header", ["3", 'W/"1" "2"', "W/1", '"', "x" * 500])
def test_a_malformed_if_match_is_400_on_every_write(corner: Corner, header: str) -> None:
    id_ = corner.id("p")
    put(corner.client, id_)
    for answer in (
        put(corner.client, id_, {"If-Match": header}),
        corner.client.patch(f"/Patient/{id_}", content=ACTIVE, headers=PATCH | {"If-Match": header}),
        corner.client.delete(f"/Patient/{id_}", headers={"If-Match": header}),
    ):
        issue_of(answer, 400)


@pytest.mark.requirement(42, 45)
def test_mixed_writers_with_one_if_match_have_one_winner(corner: Corner) -> None:
    """A patch that comes after the delete finds nothing to change, whatever version it names: 410."""
    id_ = corner.id("p")
    for turn in range(1, 6):
        put(corner.client, id_, gender="other")
        present = corner.client.get(f"/Patient/{id_}").headers["etag"]

        def write(number: int, present: str = present) -> int:
            guarded = {"If-Match": present}
            if number % 3 == 0:
                return put(corner.client, id_, guarded, birthDate=f"200{number}").status_code
            if number % 3 == 1:
                return corner.client.patch(f"/Patient/{id_}", content=ACTIVE, headers=PATCH | guarded).status_code
            return corner.client.delete(f"/Patient/{id_}", headers=guarded).status_code

        with ThreadPoolExecutor(6) as pool:
            codes = list(pool.map(write, range(6)))
        won = [number for number, code in enumerate(codes) if code < 400]
        assert len(won) == 1, (turn, codes)
        lost = [{412, 410} if codes[won[0]] == 204 and number % 3 == 1 else {412} for number in range(6)]
        assert all(code in lost[number] for number, code in enumerate(codes) if number not in won), (turn, codes)
    history = corner.client.get(f"/Patient/{id_}/_history?_count=100").json()["entry"]
    versions = [int(one["response"]["etag"].strip('W/"')) for one in history]
    assert versions == list(range(len(versions), 0, -1))
    times = [one["response"]["lastModified"] for one in history]
    assert all(later > earlier for later, earlier in pairwise(times))


@pytest.mark.requirement(3, 7, 9, 10, 15)
def test_every_write_names_the_version_it_made(corner: Corner) -> None:
    base = str(corner.client.base_url).rstrip("/")
    made = corner.client.post("/Patient", content='{"resourceType":"Patient"}', headers=JSON | {"X-Request-Id": "w-1"})
    id_ = made.json()["id"]
    answers = [
        made,
        put(corner.client, id_, {"X-Request-Id": "w-1"}, gender="male"),
        corner.client.patch(f"/Patient/{id_}", content=ACTIVE, headers=PATCH | {"X-Request-Id": "w-1"}),
    ]
    for version, answer in enumerate(answers, 1):
        meta = answer.json()["meta"]
        assert answer.headers["location"] == f"{base}/Patient/{id_}/_history/{version}"
        assert (answer.headers["etag"], meta["versionId"]) == (f'W/"{version}"', str(version))
        assert parsedate_to_datetime(answer.headers["last-modified"]).isoformat()[:19] == meta["lastUpdated"][:19]
        assert answer.headers["x-request-id"] == "w-1"
        assert corner.client.get(answer.headers["location"]).content == answer.content
    gone = corner.client.delete(f"/Patient/{id_}")
    assert (gone.status_code, gone.headers["etag"], gone.content) == (204, 'W/"4"', b"")
    assert gone.headers["x-request-id"]


@pytest.mark.requirement(2, 8)
@pytest.mark.parametrize("type_", ["AuditEvent", "Provenance"])
def test_the_trail_is_not_written_and_the_refusal_says_why(one_client: httpx.Client, type_: str) -> None:
    text = f'{{"resourceType":"{type_}","id":"x"}}'
    for answer in (
        one_client.post(f"/{type_}", content=text, headers=JSON),
        one_client.put(f"/{type_}/x", content=text, headers=JSON),
        one_client.put(f"/{type_}?_id=x", content=text, headers=JSON),
        one_client.patch(f"/{type_}/x", content="[]", headers=PATCH),
        one_client.delete(f"/{type_}/x"),
        one_client.delete(f"/{type_}?_id=x"),
    ):
        assert "never by a caller" in issue_of(answer, 405)["diagnostics"]


@pytest.mark.requirement(4)
@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        ("{", 400, "invalid"),
        ("[]", 400, "invalid"),
        ('{"resourceType":"Patient","gender":"x"}', 400, "code-invalid"),
        ('{"resourceType":"Patient","colour":"x"}', 400, "structure"),
        ('{"resourceType":"Patient","name":{}}', 400, "structure"),
        ('{"resourceType":"Task","status":"requested","intent":"order"}', 400, "invalid"),
    ],
)
def test_a_body_of_the_wrong_shape_is_400_on_every_write(corner: Corner, content: str, status: int, code: str) -> None:
    id_ = corner.id("p")
    with_id = content.replace('{"resourceType"', f'{{"id":"{id_}","resourceType"')
    for answer in (
        corner.client.post("/Patient", content=content, headers=JSON),
        corner.client.put(f"/Patient/{id_}", content=with_id, headers=JSON),
        corner.client.put(f"/Patient?identifier={corner.name}", content=with_id, headers=JSON),
    ):
        assert issue_of(answer, status)["code"] == code
    issue_of(corner.client.get(f"/Patient/{id_}"), 404)


@pytest.mark.requirement(4)
def test_a_body_over_the_limit_is_413_for_a_patch_as_for_an_update(corner: Corner) -> None:
    id_ = corner.id("p")
    long_names = [{"text": "x" * 900_000}] * 3
    assert put(corner.client, id_, name=long_names).status_code == 201
    long = json.dumps([{"op": "add", "path": f"/name/{number}/family", "value": "x" * 900_000} for number in range(3)])
    issue_of(corner.client.patch(f"/Patient/{id_}", content=long, headers=PATCH), 413)
    copies = [{"op": "copy", "from": "/name/0", "path": "/name/-"}] * 4
    issue_of(corner.client.patch(f"/Patient/{id_}", content=json.dumps(copies), headers=PATCH), 413)
    issue_of(corner.client.patch(f"/Patient/{id_}", content="x" * 6_000_000, headers=PATCH), 413)
    assert corner.client.get(f"/Patient/{id_}").headers["etag"] == 'W/"1"'
