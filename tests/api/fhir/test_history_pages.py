"""A history's pages, followed by their links, give every version once and in order, whatever the size of a page.

https://hl7.org/fhir/R4/http.html#history
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from starlette.testclient import TestClient

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
    return f'{{"resourceType":"Basic","id":"b1","code":{{"text":"v{number}"}},"extension":[{{"url":"u","valueDecimal":{number}.00}}]}}'


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
    pairs = [parse_qsl(urlsplit(one["url"]).query) for one in page["link"]]
    assert pairs == [[("_count", "2")], [("_count", "2"), ("_page", "6")]]


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


@pytest.mark.parametrize("page", ["1", "99", "9" * 9])
def test_a_page_before_the_first_or_after_the_last_version_is_empty_or_the_newest(
    written: TestClient, page: str
) -> None:
    found = written.get(f"/fhir/Basic/b1/_history?_page={page}").json()
    assert found["total"] == VERSIONS
    assert len(found.get("entry", [])) == (0 if page == "1" else VERSIONS)
    assert link(found, "next") == ""


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
