"""read, vread and history over HTTP.

https://hl7.org/fhir/R4/http.html#read
"""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from api.context import Access
from tests.api.conftest import Serve
from tests.api.fhir.talk import BASE, ids_in, link, outcome, post, put

TEXT = '{"resourceType":"Basic","id":"b1","code":{"text":"x"},"extension":[{"url":"http://x/y","valueDecimal":1.00}]}'


def test_a_stranger_is_told_to_log_in(serve: Serve) -> None:
    answer = serve(Access.LOCKED).get("/fhir/Patient/p1")
    assert answer.status_code == 401
    assert outcome(answer)["code"] == "login"
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.requirement(5)
def test_a_read_gives_the_stored_text_with_its_version(client: TestClient) -> None:
    put(client, "Basic/b1", TEXT)
    answer = client.get("/fhir/Basic/b1")
    assert answer.status_code == 200
    assert answer.headers["etag"] == 'W/"1"'
    assert answer.headers["last-modified"].endswith("GMT")
    assert answer.headers["content-type"] == "application/fhir+json; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    assert '"valueDecimal":1.00}' in answer.text


@pytest.mark.requirement(5)
def test_an_unknown_id_is_404_and_a_deleted_one_410(client: TestClient) -> None:
    assert outcome(client.get("/fhir/Basic/none"), 404)["code"] == "not-found"
    put(client, "Basic/b1", TEXT)
    client.delete("/fhir/Basic/b1")
    assert outcome(client.get("/fhir/Basic/b1"), 410)["code"] == "deleted"


@pytest.mark.requirement(6)
def test_each_version_stays_readable_and_the_deletion_is_410(client: TestClient) -> None:
    put(client, "Basic/b1", TEXT)
    put(client, "Basic/b1", TEXT.replace('"x"', '"y"'))
    client.delete("/fhir/Basic/b1")
    first = client.get("/fhir/Basic/b1/_history/1")
    assert first.json()["code"]["text"] == "x"
    assert first.headers["etag"] == 'W/"1"'
    assert client.get("/fhir/Basic/b1/_history/2").json()["code"]["text"] == "y"
    assert client.get("/fhir/Basic/b1/_history/3").status_code == 410
    for wrong in ("4", "0", "x", "-1", "9" * 30):
        assert client.get(f"/fhir/Basic/b1/_history/{wrong}").status_code == 404


@pytest.mark.requirement(12)
def test_a_caller_who_has_the_version_gets_304(client: TestClient) -> None:
    stored = put(client, "Basic/b1", TEXT)
    for tag in ('W/"1"', '"1"', '"7", W/"1"', "*"):
        answer = client.get("/fhir/Basic/b1", headers={"If-None-Match": tag})
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["etag"] == 'W/"1"'
    assert client.get("/fhir/Basic/b1", headers={"If-None-Match": 'W/"2"'}).status_code == 200
    since = {"If-Modified-Since": stored.headers["last-modified"]}
    assert client.get("/fhir/Basic/b1", headers=since).status_code == 304
    assert client.get("/fhir/Basic/b1", headers={"If-Modified-Since": "yesterday"}).status_code == 200


@pytest.mark.requirement(13)
@pytest.mark.parametrize("path", ["metadata", "Basic/b1", "Basic/b1/_history", "Basic/b1/_history/1", "Basic"])
def test_head_answers_as_get_without_a_body(client: TestClient, path: str) -> None:
    put(client, "Basic/b1", TEXT)
    got, head = client.get(f"/fhir/{path}"), client.head(f"/fhir/{path}")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == got.headers["content-length"]


@pytest.mark.requirement(44)
def test_history_is_newest_first_with_deletions_and_pages(client: TestClient) -> None:
    for word in "abc":
        put(client, "Basic/b1", TEXT.replace('"x"', f'"{word}"'))
    client.delete("/fhir/Basic/b1")
    page = client.get("/fhir/Basic/b1/_history?_count=3").json()
    assert (page["resourceType"], page["type"], page["total"]) == ("Bundle", "history", 4)
    assert [entry["request"]["method"] for entry in page["entry"]] == ["DELETE", "PUT", "PUT"]
    assert "resource" not in page["entry"][0]
    assert page["entry"][1]["resource"]["code"]["text"] == "c"
    assert page["entry"][1]["response"]["etag"] == 'W/"3"'
    assert page["entry"][1]["response"]["lastModified"].endswith("Z")
    assert page["entry"][0]["fullUrl"] == f"{BASE}/Basic/b1"
    rest = client.get(link(page, "next")).json()
    assert [entry["resource"]["code"]["text"] for entry in rest["entry"]] == ["a"]
    assert link(rest, "next") == ""


def test_history_of_what_never_was_is_404_and_a_bad_page_400(client: TestClient) -> None:
    assert client.get("/fhir/Basic/none/_history").status_code == 404
    put(client, "Basic/b1", TEXT)
    for query in ("_count=x", "_count=-1", "_page=x", "_page=0"):
        assert client.get(f"/fhir/Basic/b1/_history?{query}").status_code == 400
    assert client.get("/fhir/Basic/b1/_history?_count=0").json()["total"] == 1


@pytest.mark.requirement(2)
def test_what_is_not_there_says_so_as_an_outcome(client: TestClient) -> None:
    assert outcome(client.get("/fhir/Nope"), 404)["code"] == "not-supported"
    assert outcome(client.get("/fhir/Nope/1"), 404)["code"] == "not-supported"
    for path in ("patient", "Basic/b1/x", "Basic/b1/_history/1/2", "_history/1", "Basic/a%2Fb%2Fc%2Fd", "x" * 3000):
        assert outcome(client.get(f"/fhir/{path}"), 404)
    assert outcome(client.get("/fhir/Basic/" + "a" * 65), 404)
    assert outcome(client.get("/fhir/Basic/%00"), 404)


@pytest.mark.requirement(2)
@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "Patient/_history", "GET, HEAD"),
        ("DELETE", "_history", "GET, HEAD"),
        ("OPTIONS", "Patient/p1", "GET, PUT, PATCH, DELETE, HEAD"),
        ("POST", "Patient/p1", "GET, PUT, PATCH, DELETE, HEAD"),
        ("PUT", "Patient/p1/Task", "GET, HEAD"),
        ("POST", "Patient/p1/_history", "GET, HEAD"),
        ("GET", "Patient/_search", "POST"),
        ("POST", "metadata", "GET, HEAD"),
        ("BREW", "Patient", "GET, POST, PUT, PATCH, DELETE, HEAD"),
        ("PUT", "", "GET, POST, HEAD"),
    ],
)
def test_a_method_that_an_address_has_not_is_405(client: TestClient, method: str, path: str, allowed: str) -> None:
    answer = client.request(method, f"/fhir/{path}")
    assert outcome(answer, 405)["code"] == "not-supported"
    assert answer.headers["allow"] == allowed


@pytest.mark.requirement(11)
@pytest.mark.parametrize(
    ("accept", "query", "status"),
    [
        ("application/fhir+json", "", 200),
        ("application/json", "", 200),
        ("text/html, */*;q=0.1", "", 200),
        ("application/fhir+json; fhirVersion=4.0", "", 200),
        ("application/fhir+json; fhirVersion=5.0", "", 406),
        ("application/fhir+xml", "", 406),
        ("application/fhir+json;q=0", "", 406),
        ("text/html", "_format=json", 200),
        ("application/json", "_format=application/fhir%2Bjson", 200),
        ("application/json", "_format=xml", 406),
    ],
)
def test_only_json_is_served(client: TestClient, accept: str, query: str, status: int) -> None:
    put(client, "Basic/b1", TEXT)
    for path in ("Basic/b1", "Basic", "metadata"):
        answer = client.get(f"/fhir/{path}?{query}", headers={"Accept": accept})
        assert answer.status_code == status
        assert answer.headers["content-type"].startswith("application/fhir+json")


@pytest.mark.requirement(15)
def test_a_harmless_request_id_comes_back_and_another_is_replaced(client: TestClient) -> None:
    assert client.get("/fhir/metadata", headers={"X-Request-Id": "abc-1.2_3"}).headers["x-request-id"] == "abc-1.2_3"
    for odd in ("a b", "x" * 65, "<script>", "-x", ""):
        given = client.get("/fhir/metadata", headers={"X-Request-Id": odd}).headers["x-request-id"]
        assert given != odd
        assert len(given) == 16


def test_a_created_resource_is_found_by_search_and_by_read_alike(client: TestClient) -> None:
    made = post(client, "Basic", '{"resourceType":"Basic","code":{"text":"x"}}').json()["id"]
    assert ids_in(client.get("/fhir/Basic").json()) == [made]
