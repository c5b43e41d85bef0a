"""A history's pages, followed by their links, give every version once and in order, whatever the size of a page.

https://hl7.org/fhir/R4/http.html#history
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from starlette.testclient import TestClient

from fhir_tracker.fhir.body import read_resource
from fhir_tracker.fhir.checks import check
from tests.api.fhir.talk import BASE, JSON, link, outcome, put

VERSIONS = 7


@pytest.fixture
def written(client: TestClient) -> TestClient:
    """One resource: five versions, a deletion, and a version that brought it back."""
    for number in range(5):
        assert put(client, "Basic/b1", text(number)).status_code in (200, 201)
    assert client.delete("/fhir/Basic/b1").status_code == 204
    assert put(client, "Basic/b1", text(6)).status_code == 201
    return client


def text(number: int) -> str:
    return f'{{"resourceType":"Basic","id":"b1","code":{{"text":"v{number}"}},"extension":[{{"url":"http://example.org/u","valueDecimal":{number}.00}}]}}'


def pages(client: TestClient, query: str) -> Iterator[dict[str, Any]]:
    """Each page from the first on."""
    address = f"{BASE}/Basic/b1/_history{query}"
    for _ in range(VERSIONS + 2):
        page = client.get(address).json()
        yield page
        address = link(page, "next")
        if not address:
            return
    raise AssertionError("the pages do not end")


@pytest.mark.requirement(44)
@pytest.mark.parametrize("count", [1, 2, 3, 6, 7, 8, 1000, 5000])
def test_every_version_comes_once_newest_first(written: TestClient, count: int) -> None:
    found = list(pages(written, f"?_count={count}"))
    tags = [entry["response"]["etag"] for page in found for entry in page.get("entry", [])]
    assert tags == [f'W/"{number}"' for number in range(VERSIONS, 0, -1)]
    assert all(page["total"] == VERSIONS for page in found)
    assert all(len(page["entry"]) <= count for page in found)
    assert len(found) == -(-VERSIONS // min(count, VERSIONS))
    assert all(link(page, "self").startswith(f"{BASE}/Basic/b1/_history") for page in found)


def test_each_entry_is_what_reading_the_version_gives(written: TestClient) -> None:
    (page,) = pages(written, "")
    for entry in page["entry"]:
        number = entry["response"]["etag"].strip('W/"')
        read = written.get(f"/fhir/Basic/b1/_history/{number}")
        if entry["request"]["method"] == "DELETE":
            assert "resource" not in entry
            assert read.status_code == 410
        else:
            assert read.json() == entry["resource"]
            assert entry["resource"]["meta"]["lastUpdated"] == entry["response"]["lastModified"]


def test_the_texts_of_the_versions_are_in_it_byte_for_byte(written: TestClient) -> None:
    whole = written.get("/fhir/Basic/b1/_history").content
    for number in (1, 2, 3, 4, 5, 7):
        assert written.get(f"/fhir/Basic/b1/_history/{number}").content in whole


def test_zero_asks_for_the_total_alone(written: TestClient) -> None:
    (page,) = pages(written, "?_count=0")
    assert (page["total"], "entry" in page, link(page, "next")) == (VERSIONS, False, "")


def test_a_page_stays_what_it_is_while_versions_are_added(written: TestClient) -> None:
    first = written.get("/fhir/Basic/b1/_history?_count=3").json()
    assert put(written, "Basic/b1", text(8)).status_code == 200
    second = written.get(link(first, "next")).json()
    assert [entry["response"]["etag"] for entry in second["entry"]] == ['W/"4"', 'W/"3"', 'W/"2"']


def test_the_links_carry_the_size_and_nothing_that_was_not_asked(written: TestClient) -> None:
    page = written.get("/fhir/Basic/b1/_history?_count=2&colour=red&_format=json").json()
    own, following = (parse_qsl(urlsplit(one["url"]).query) for one in page["link"])
    assert own == [("_count", "2")]
    assert [following[0], following[1][0], len(following)] == [("_count", "2"), "_page", 2]


@pytest.mark.parametrize(
    "query",
    [
        "_count=x",
        "_count=-1",
        "_count=1.0",
        "_count=9" + "9" * 20,
        "_page=x",
        "_page=0",
        "_page=-1",
        "_page=9999999999",
    ],
)
def test_a_page_that_cannot_be_is_refused(written: TestClient, query: str) -> None:
    assert outcome(written.get(f"/fhir/Basic/b1/_history?{query}"), 400)["code"] == "invalid"


def test_a_page_link_is_of_one_history_and_not_to_be_changed(written: TestClient) -> None:
    put(written, "Basic/b2", text(1).replace('"b1"', '"b2"'))
    first = link(written.get("/fhir/Basic/b1/_history?_count=2").json(), "next")
    for wrong in (
        first.replace("b1", "b2"),
        first.replace("/b1/", "/"),
        first + "&_since=2020-01-01",
        first[:-1] + ("A" if first[-1] != "A" else "B"),
        first[:-4],
    ):
        assert outcome(written.get(wrong), 400)["code"] == "invalid", wrong
    assert written.get(first.replace("_count=2", "_count=3")).status_code == 200


@pytest.mark.requirement(44)
def test_since_and_at_narrow_a_history(written: TestClient) -> None:
    entries = written.get("/fhir/Basic/b1/_history").json()["entry"]
    third = entries[2]["response"]["lastModified"]
    since = written.get("/fhir/Basic/b1/_history", params={"_since": third}).json()
    assert [one["response"]["etag"] for one in since["entry"]] == ['W/"7"', 'W/"6"', 'W/"5"']
    assert since["total"] == 3
    assert "_since" in link(since, "self")
    at = written.get("/fhir/Basic/b1/_history", params={"_at": third}).json()
    assert 'W/"5"' in [one["response"]["etag"] for one in at["entry"]]
    assert 'W/"1"' not in [one["response"]["etag"] for one in at["entry"]]
    year = third[:4]
    assert written.get("/fhir/Basic/b1/_history", params={"_at": year}).json()["total"] == VERSIONS
    for empty in ({"_since": "2999-01-01"}, {"_at": "1999"}, {"_since": third, "_at": "1999-01"}):
        page = written.get("/fhir/Basic/b1/_history", params=empty).json()
        assert (page["total"], "entry" in page) == (0, False)


@pytest.mark.requirement(44)
def test_the_history_of_a_type_and_of_all_is_newest_first(written: TestClient) -> None:
    put(
        written,
        "Flag/f1",
        '{"resourceType":"Flag","id":"f1","status":"active","code":{"text":"x"},"subject":{"reference":"Patient/p"}}',
    )
    assert put(written, "Basic/b2", text(1).replace('"b1"', '"b2"')).status_code == 201
    of_type = written.get("/fhir/Basic/_history?_count=100").json()
    whole = written.get("/fhir/_history?_count=100").json()
    assert of_type["total"] == VERSIONS + 1
    assert of_type["entry"][0]["fullUrl"] == f"{BASE}/Basic/b2"
    assert of_type["entry"][0]["request"] == {"method": "POST", "url": "Basic"}
    assert {one["fullUrl"].rsplit("/", 2)[1] for one in of_type["entry"]} == {"Basic"}
    assert {one["fullUrl"] for one in whole["entry"]} >= {f"{BASE}/Flag/f1", f"{BASE}/Basic/b1", f"{BASE}/Basic/b2"}
    for page in (of_type, whole):
        times = [one["response"]["lastModified"] for one in page["entry"]]
        assert times == sorted(times, reverse=True)
        assert check(read_resource(json.dumps(page).encode())) == ()
    assert written.get("/fhir/Account/_history").json()["total"] == 0


def test_a_history_can_be_cut_down(written: TestClient) -> None:
    page = written.get("/fhir/Basic/b1/_history?_elements=code").json()
    held = [one["resource"] for one in page["entry"] if "resource" in one]
    assert len(held) == VERSIONS - 1
    assert all("extension" not in one and one["meta"]["tag"][0]["code"] == "SUBSETTED" for one in held)
    counted = written.get("/fhir/Basic/b1/_history?_summary=count").json()
    assert (counted["total"], "entry" in counted) == (VERSIONS, False)


@pytest.mark.parametrize(
    "query", ["_since=yesterday", "_since=2020&_since=2021", "_at=x", "_sort=status", "_summary=x"]
)
def test_a_history_of_what_cannot_be_is_refused(written: TestClient, query: str) -> None:
    for path in ("Basic/b1/_history", "Basic/_history", "_history"):
        assert outcome(written.get(f"/fhir/{path}?{query}"), 400)["code"] == "invalid"


def test_an_unknown_parameter_is_ignored_unless_the_caller_is_strict(written: TestClient) -> None:
    assert written.get("/fhir/_history?colour=red").status_code == 200
    answer = written.get("/fhir/_history?colour=red", headers={"Prefer": "handling=strict"})
    assert outcome(answer, 400)["code"] == "invalid"
    assert written.get("/fhir/_history?_sort=-_lastUpdated", headers={"Prefer": "handling=strict"}).status_code == 200


def test_the_history_of_a_deleted_resource_stays(client: TestClient) -> None:
    put(client, "Basic/b1", text(1))
    client.delete("/fhir/Basic/b1")
    page = client.get("/fhir/Basic/b1/_history", headers=JSON).json()
    assert page["entry"][0]["request"]["method"] == "DELETE"
    assert page["total"] == 2


@pytest.mark.requirement(6)
@pytest.mark.parametrize("digits", [9, 10, 11, 18, 19, 30, 500])
def test_a_version_with_many_digits_never_was(written: TestClient, digits: int) -> None:
    assert outcome(written.get(f"/fhir/Basic/b1/_history/{'9' * digits}"), 404)["code"] == "not-found"
    stale = put(written, "Basic/b1", text(1), If_Match=f'W/"{"9" * digits}"')
    assert outcome(stale, 412)["code"] == "conflict"
