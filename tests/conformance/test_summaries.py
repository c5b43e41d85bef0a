"""_summary, _elements and _pretty on reads, searches and histories.

https://hl7.org/fhir/R4/search.html#summary
"""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from fhir_tracker.fhir.body import read_resource
from fhir_tracker.fhir.checks import check
from tests.conformance.talk import FORM, JSON, TAGS, Body, Corner, issue_of, link_of, matches_of

DIV = '<div xmlns="http://www.w3.org/1999/xhtml">told</div>'
FULL: Body = {
    "text": {"status": "additional", "div": DIV},
    "status": "requested",
    "intent": "order",
    "code": {"text": "call"},
    "note": [{"text": "words"}],
    "restriction": {"repetitions": 1},
}
SUBSETTED = {"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "SUBSETTED"}


@pytest.fixture
def stocked(corner: Corner) -> Corner:
    """A patient and a Task for it with a narrative, notes and a restriction."""
    corner.put("Patient", "p", gender="other", contact=[{"name": {"text": "x"}}])
    corner.put("Task", "t", **FULL, **{"for": {"reference": f"Patient/{corner.id('p')}"}})
    return corner


def kept(resource: Body) -> set[str]:
    return set(resource) - {"resourceType", "id", "meta"}


@pytest.mark.requirement(29)
@pytest.mark.parametrize(
    ("query", "members"),
    [
        ("_summary=true", {"status", "intent", "code", "for"}),
        ("_summary=text", {"text", "status", "intent"}),
        ("_summary=data", {*FULL, "for"} - {"text"}),
        ("_summary=false", {*FULL, "for"}),
        ("_elements=note", {"note", "status", "intent"}),
        ("_elements=note,Task.code", {"note", "code", "status", "intent"}),
        ("_elements=nonsense", {"status", "intent"}),
    ],
)
def test_what_is_asked_for_comes_with_what_is_mandatory(stocked: Corner, query: str, members: set[str]) -> None:
    address = f"/Task/{stocked.id('t')}"
    searched = stocked.client.post("/Task/_search", content=f"_id={stocked.id('t')}&{query}", headers=FORM).json()
    history = stocked.client.get(f"{address}/_history?{query}").json()
    for resource in (
        stocked.client.get(f"{address}?{query}").json(),
        stocked.client.get(f"{address}/_history/1?{query}").json(),
        matches_of(searched)[0],
        matches_of(stocked.bundle(f"Task?{query}"))[0],
        history["entry"][0]["resource"],
    ):
        assert kept(resource) == members
        assert (SUBSETTED in resource["meta"]["tag"]) == (query != "_summary=false")
        assert resource["meta"]["versionId"] == "1"


@pytest.mark.requirement(29)
def test_the_tag_is_never_stored_and_the_version_stays(stocked: Corner) -> None:
    address = f"/Task/{stocked.id('t')}"
    cut, whole = (stocked.client.get(f"{address}{query}") for query in ("?_summary=true", ""))
    assert SUBSETTED not in whole.json()["meta"]["tag"]
    assert cut.headers["etag"] == whole.headers["etag"] == 'W/"1"'
    assert stocked.listed("Task?_tag=SUBSETTED") == []


@pytest.mark.requirement(4, 29)
@pytest.mark.parametrize("query", ["_summary=true", "_elements=note"])
def test_a_part_of_a_resource_does_not_overwrite_the_whole(stocked: Corner, query: str) -> None:
    address = f"/Task/{stocked.id('t')}"
    cut = stocked.client.get(f"{address}?{query}")
    answer = stocked.client.put(address, content=cut.content, headers=JSON)
    assert issue_of(answer, 422)["code"] == "business-rule"
    assert kept(stocked.client.get(address).json()) == {*FULL, "for"}


@pytest.mark.requirement(29)
@pytest.mark.parametrize("query", ["_summary=count", "_count=0"])
def test_a_count_is_a_bundle_with_nothing_but_its_total(stocked: Corner, query: str) -> None:
    bundle = stocked.bundle(f"Task?{query}")
    assert (bundle["total"], "entry" in bundle, link_of(bundle, "next")) == (1, False, "")
    assert query in link_of(bundle, "self")


@pytest.mark.requirement(17, 27, 29)
def test_what_is_included_is_cut_by_a_summary_and_by_elements_of_its_type(stocked: Corner) -> None:
    def included(query: str) -> Body:
        entries = stocked.bundle(f"Task?_include=Task:patient&{query}")["entry"]
        (found,) = [one["resource"] for one in entries if one["search"]["mode"] == "include"]
        assert isinstance(found, dict)
        return found

    assert kept(included("")) == {"gender", "contact"}
    assert kept(included("_summary=true")) == {"gender"}
    assert kept(included("_elements=note")) == {"gender", "contact"}
    assert kept(included("_elements=note,Patient.contact")) == {"contact"}
    answer = stocked.client.get("/Task?_include=Task:patient&_summary=text")
    issue_of(answer, 400)


@pytest.mark.requirement(29)
def test_the_self_link_says_what_was_left_out(stocked: Corner) -> None:
    for query in ("_summary=true", "_elements=note,code"):
        assert query in link_of(stocked.bundle(f"Task?{query}"), "self")


@pytest.mark.requirement(19, 29)
@pytest.mark.parametrize(
    "query", ["_summary=all", "_summary=TRUE", "_summary=true&_elements=id", "_elements=a b", "_elements=,"]
)
def test_a_summary_that_is_none_is_400(stocked: Corner, query: str) -> None:
    for path in (f"/Task/{stocked.id('t')}", "/Task", f"/Task/{stocked.id('t')}/_history"):
        issue_of(stocked.client.get(f"{path}?{query}"), 400)
    issue_of(stocked.client.get(f"/Task/{stocked.id('t')}?_summary=count"), 400)


@pytest.mark.requirement(29)
def test_a_page_of_summaries_is_a_valid_bundle(stocked: Corner) -> None:
    for query in ("_summary=true", "_summary=text", "_summary=data", "_elements=status"):
        answer = stocked.client.get(f"/Task?_tag={TAGS}|{stocked.name}&{query}")
        assert check(read_resource(answer.content)) == ()


@pytest.mark.requirement(11)
def test_pretty_answers_have_lines_and_the_same_content(one_client: httpx.Client) -> None:
    for path in ("/metadata", "/Patient?_count=1", "/Patient/_history?_count=1"):
        plain, pretty = one_client.get(path), one_client.get(path, params={"_pretty": "true"} | _pairs(path))
        assert plain.content.count(b"\n") == 0
        assert pretty.content.count(b"\n") > 3
        assert _without_links(pretty.json()) == _without_links(plain.json())
    text = '{"resourceType":"Basic","id":"pretty","code":{"text":"a\\n \\u00e9"},"extension":[{"url":"http://example.org/u","valueDecimal":1.00}]}'
    one_client.put("/Basic/pretty", content=text, headers={"Content-Type": "application/fhir+json"})
    assert "1.00" in one_client.get("/Basic/pretty?_pretty=true").text


def _pairs(path: str) -> dict[str, str]:
    return {"_count": "1"} if "_count" in path else {}


def _without_links(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name not in ("link", "meta")}
