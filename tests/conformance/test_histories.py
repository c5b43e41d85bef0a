"""The history of one resource, of a type and of everything, as other clients write.

https://hl7.org/fhir/R4/http.html#history
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from fhir_tracker.fhir.body import read_resource
from fhir_tracker.fhir.checks import check
from tests.conformance.talk import Body, Corner, issue_of, link_of

PAGES = 60


def walk(client: httpx.Client, address: str) -> Iterator[Body]:
    """Each page of a history, by its links."""
    for _ in range(PAGES):
        answer = client.get(address)
        assert answer.status_code == 200, answer.text[:300]
        page: Body = answer.json()
        yield page
        address = link_of(page, "next")
        if not address:
            return
    raise AssertionError("the pages do not end")


def entries(client: httpx.Client, address: str) -> list[Body]:
    return [one for page in walk(client, address) for one in page.get("entry", [])]


def tags(found: list[Body]) -> list[tuple[str, str]]:
    return [(one["fullUrl"].rpartition("/fhir/")[2], one["response"]["etag"]) for one in found]


def marked(corner: Corner) -> str:
    """Three resources with five versions, the last a deletion; the instant of the second version."""
    corner.put("Flag", "f", status="active", code={"text": "x"}, subject={"reference": "Patient/p"})
    second = corner.put("Patient", "p", gender="male")
    corner.put("Patient", "p", gender="female")
    corner.put("Basic", "b", code={"text": "x"})
    assert corner.client.delete(f"/Patient/{corner.id('p')}").status_code == 204
    return str(second["meta"]["lastUpdated"])


def own(corner: Corner, found: list[Body]) -> list[tuple[str, str]]:
    return [(ref, tag) for ref, tag in tags(found) if f"/{corner.name}-" in ref]


@pytest.mark.requirement(44)
def test_the_history_of_everything_names_each_version_with_deletions(corner: Corner) -> None:
    since = marked(corner)
    found = entries(corner.client, f"/_history?_since={since}&_count=2")
    assert own(corner, found) == [
        (f"Patient/{corner.id('p')}", 'W/"3"'),
        (f"Basic/{corner.id('b')}", 'W/"1"'),
        (f"Patient/{corner.id('p')}", 'W/"2"'),
        (f"Patient/{corner.id('p')}", 'W/"1"'),
    ]
    gone = next(one for one in found if one["fullUrl"].endswith(f"Patient/{corner.id('p')}"))
    assert "resource" not in gone
    assert gone["request"] == {"method": "DELETE", "url": f"Patient/{corner.id('p')}"}
    assert gone["response"]["status"].startswith("204")
    times = [one["response"]["lastModified"] for one in found]
    assert times == sorted(times, reverse=True)


@pytest.mark.requirement(44)
def test_the_history_of_a_type_holds_that_type_alone(corner: Corner) -> None:
    since = marked(corner)
    found = entries(corner.client, f"/Patient/_history?_since={since}")
    assert [tag for _, tag in own(corner, found)] == ['W/"3"', 'W/"2"', 'W/"1"']
    assert {one["fullUrl"].split("/")[-2] for one in found} == {"Patient"}
    of_one = entries(corner.client, f"/Patient/{corner.id('p')}/_history")
    assert [one["response"] for one in of_one] == [
        one["response"] for one in found if one["fullUrl"].endswith(corner.id("p"))
    ]


@pytest.mark.requirement(44)
def test_a_history_is_a_valid_bundle_whose_links_say_what_was_used(corner: Corner) -> None:
    since = marked(corner)
    for path in ("_history", "Patient/_history", f"Patient/{corner.id('p')}/_history"):
        answer = corner.client.get(f"/{path}?_since={since}&_count=1&colour=red&_format=json")
        bundle = answer.json()
        assert check(read_resource(answer.content)) == ()
        assert (bundle["type"], len(bundle["entry"])) == ("history", 1)
        used = parse_qs(urlsplit(link_of(bundle, "self")).query)
        assert used == {"_since": [since], "_count": ["1"]}
        assert urlsplit(link_of(bundle, "self")).path == f"/fhir/{path}"
        assert bundle["total"] >= 3


@pytest.mark.requirement(44)
def test_at_a_moment_each_resource_has_the_version_that_was_current_then(corner: Corner) -> None:
    first = corner.put("Basic", "b", code={"text": "1"})["meta"]["lastUpdated"]
    second = corner.put("Basic", "b", code={"text": "2"})["meta"]["lastUpdated"]
    corner.put("Basic", "b", code={"text": "3"})
    address = f"/Basic/{corner.id('b')}/_history"

    def at(moment: str) -> list[str]:
        return [tag for _, tag in tags(entries(corner.client, f"{address}?_at={moment}"))]

    assert at(first) == ['W/"1"']
    assert at(second) == ['W/"2"']
    assert at(first[:4]) == ['W/"3"', 'W/"2"', 'W/"1"']
    day = datetime.now(UTC).date()
    assert at((day - timedelta(days=400)).isoformat()) == []
    assert at((day + timedelta(days=2)).isoformat()) == ['W/"3"']


@pytest.mark.requirement(29, 44)
def test_a_walk_gives_each_version_once_while_others_write(corner: Corner) -> None:
    began = corner.put("Basic", "b0", code={"text": "x"})["meta"]["lastUpdated"]
    for number in range(1, 25):
        corner.put("Basic", f"b{number % 8}", code={"text": str(number)})
    expected = own(corner, entries(corner.client, f"/Basic/_history?_since={began}&_count=500"))
    found: list[tuple[str, str]] = []
    for number, page in enumerate(walk(corner.client, f"/Basic/_history?_since={began}&_count=1")):
        found += own(corner, page["entry"])
        if number < 12:
            corner.put("Basic", f"b{number % 8}", code={"text": f"late {number}"})
            corner.put("Basic", f"new{number}", code={"text": "late"})
    assert found == expected
    assert len(found) == 25


@pytest.mark.requirement(44)
@pytest.mark.parametrize("path", ["_history", "Patient/_history", "Patient/x/_history"])
@pytest.mark.parametrize(
    "query", ["_since=yesterday", "_at=2026-13", "_count=-1", "_count=x", "_sort=name", "_page=abc"]
)
def test_what_no_history_can_be_asked_is_400(corner: Corner, path: str, query: str) -> None:
    corner.put("Patient", "p")
    path = path.replace("/x/", f"/{corner.id('p')}/")
    issue_of(corner.client.get(f"/{path}?{query}"), 400)


@pytest.mark.requirement(2, 44)
def test_a_history_of_no_type_or_of_nobody_is_404(client: httpx.Client) -> None:
    for path in ("Nope/_history", "patient/_history", "Patient/none/_history", "_history/1", "Patient/_history/1"):
        issue_of(client.get(f"/{path}"), 404)


@pytest.mark.requirement(18, 44)
def test_an_unknown_parameter_of_a_history_is_refused_only_when_asked(client: httpx.Client) -> None:
    assert client.get("/Patient/_history?colour=red&_count=1").status_code == 200
    issue_of(client.get("/Patient/_history?colour=red", headers={"Prefer": "handling=strict"}), 400)


@pytest.mark.requirement(13, 44)
@pytest.mark.parametrize("path", ["/_history?_count=1", "/Patient/_history?_count=1"])
def test_head_of_a_history_has_no_body(client: httpx.Client, path: str) -> None:
    head: Any = client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"].startswith("application/fhir+json")
