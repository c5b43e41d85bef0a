"""search over HTTP.

https://hl7.org/fhir/R4/search.html
"""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from api.context import Access
from tests.api.conftest import Serve
from tests.api.fhir.talk import BASE, ids_in, link, outcome, put

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture
def stocked(client: TestClient) -> TestClient:
    """Three patients, four tasks, a plan and an appointment."""
    for id_, family in (("p1", "Ash"), ("p2", "Birch"), ("p3", "Ashgrove")):
        put(client, f"Patient/{id_}", f'{{"resourceType":"Patient","id":"{id_}","name":[{{"family":"{family}"}}]}}')
    for number, (status, owner, due) in enumerate(
        (("requested", "", "2026-03-01"), ("requested", "x", "2026-03-02"), ("draft", "", "2026-03-03")), 1
    ):
        owned = f'"owner":{{"reference":"Practitioner/{owner}"}},' if owner else ""
        put(
            client,
            f"Task/t{number}",
            f'{{"resourceType":"Task","id":"t{number}","status":"{status}","intent":"order",{owned}'
            f'"for":{{"reference":"Patient/p{number}"}},"restriction":{{"period":{{"end":"{due}"}}}},'
            f'"code":{{"coding":[{{"system":"http://x","code":"a,b|c"}}]}}}}',
        )
    return client


def found(client: TestClient, query: str) -> list[str]:
    return sorted(ids_in(client.get(f"/fhir/{query}").json()))


def test_a_stranger_finds_nothing(serve: Serve) -> None:
    client = serve(Access.LOCKED)
    assert outcome(client.get("/fhir/Task?status=requested"), 401)
    assert outcome(client.post("/fhir/Task/_search", data={"status": "requested"}), 401)


@pytest.mark.requirement(17)
def test_a_searchset_says_what_was_used_and_what_matched(stocked: TestClient) -> None:
    page = stocked.get("/fhir/Task?status=requested&_count=10").json()
    assert (page["resourceType"], page["type"], page["total"]) == ("Bundle", "searchset", 2)
    assert link(page, "self") == f"{BASE}/Task?status=requested&_count=10"
    assert page["entry"][0]["fullUrl"].startswith(f"{BASE}/Task/t")
    assert all(entry["search"]["mode"] == "match" for entry in page["entry"])
    nothing = stocked.get("/fhir/Task?status=failed")
    assert (nothing.status_code, nothing.json()["total"], "entry" in nothing.json()) == (200, 0, False)


@pytest.mark.requirement(16)
@pytest.mark.parametrize(
    "query", ["Task?status=requested", "Task?owner:missing=true", "Patient?name=ash", "Task?patient=p1&_count=1"]
)
def test_post_finds_what_get_finds(stocked: TestClient, query: str) -> None:
    type_, _, parameters = query.partition("?")
    got = stocked.get(f"/fhir/{query}").json()
    posted = stocked.post(f"/fhir/{type_}/_search", content=parameters, headers=FORM).json()
    mixed = stocked.post(f"/fhir/{type_}/_search?{parameters}").json()
    assert ids_in(got) == ids_in(posted) == ids_in(mixed)
    assert link(got, "self") == link(posted, "self")


def test_a_search_body_of_another_type_is_415(stocked: TestClient) -> None:
    answer = stocked.post("/fhir/Task/_search", content="{}", headers={"Content-Type": "application/json"})
    assert outcome(answer, 415)


@pytest.mark.requirement(18)
def test_unknown_parameters_are_ignored_and_named_unless_strict(stocked: TestClient) -> None:
    page = stocked.get("/fhir/Task?status=requested&colour=red").json()
    assert link(page, "self") == f"{BASE}/Task?status=requested"
    told = [entry for entry in page["entry"] if entry["search"]["mode"] == "outcome"]
    assert "colour" in told[0]["resource"]["issue"][0]["details"]["text"]
    strict = stocked.get("/fhir/Task?colour=red", headers={"Prefer": "handling=strict"})
    assert "colour" in outcome(strict, 400)["details"]["text"]


@pytest.mark.requirement(19)
@pytest.mark.parametrize(
    "query",
    [
        "status:fuzzy=x",
        "authored-on=yesterday",
        "_count=many",
        "_count=-1",
        "_sort=colour",
        "due=2026-13-01",
        "_page=x",
    ],
)
def test_a_bad_modifier_or_value_is_400(stocked: TestClient, query: str) -> None:
    assert outcome(stocked.get(f"/fhir/Task?{query}"), 400)["severity"] == "error"


@pytest.mark.requirement(19, 20, 21, 22, 23, 24, 25, 31)
@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("status=requested", ["t1", "t2"]),
        ("status=requested,draft", ["t1", "t2", "t3"]),
        ("status=", ["t1", "t2", "t3"]),
        ("status:not=requested", ["t3"]),
        ("owner:missing=true&status=requested", ["t1"]),
        ("code=a%5C,b%5C|c", ["t1", "t2", "t3"]),
        ("code=http://x|a%5C,b%5C|c", ["t1", "t2", "t3"]),
        ("code=http://y|a%5C,b%5C|c", []),
        ("patient=p1", ["t1"]),
        ("patient=Patient/p1", ["t1"]),
        (f"patient={BASE}/Patient/p1", ["t1"]),
        ("patient=http://other/fhir/Patient/p1", []),
        ("due=le2026-03-02", ["t1", "t2"]),
        ("due=lt2026-03-02", ["t1"]),
        ("due=ge2026-03-02&status:not=draft", ["t2"]),
        ("_id=t1,t3", ["t1", "t3"]),
        ("_lastUpdated=gt2020", ["t1", "t2", "t3"]),
        ("_lastUpdated=lt2020", []),
    ],
)
def test_the_parameters_of_a_queue_select(stocked: TestClient, query: str, ids: list[str]) -> None:
    assert found(stocked, f"Task?{query}") == ids


@pytest.mark.requirement(29)
def test_pages_follow_one_another_by_opaque_links_and_give_each_once(client: TestClient) -> None:
    for number in range(45):
        put(client, f"Basic/b{number}", f'{{"resourceType":"Basic","id":"b{number}","code":{{"text":"x"}}}}')
    seen: list[str] = []
    page = client.post("/fhir/Basic/_search", content="_count=2", headers=FORM).json()
    for pages in range(1, 100):
        seen += ids_in(page)
        if not link(page, "next"):
            break
        put(client, f"Basic/b{pages}", f'{{"resourceType":"Basic","id":"b{pages}","code":{{"text":"y"}}}}')
        page = client.get(link(page, "next")).json()
    assert pages == 23
    assert sorted(seen) == sorted(f"b{number}" for number in range(45))


def test_a_link_that_was_changed_or_belongs_to_another_search_is_400(client: TestClient) -> None:
    for number in range(3):
        put(client, f"Basic/b{number}", f'{{"resourceType":"Basic","id":"b{number}","code":{{"text":"x"}}}}')
    next_page = link(client.get("/fhir/Basic?_count=1").json(), "next")
    assert outcome(client.get(next_page[:-3] + "AAA"), 400)
    assert outcome(client.get(next_page.replace("/Basic?", "/Flag?")), 400)


@pytest.mark.requirement(29)
def test_a_count_alone_has_no_entries(stocked: TestClient) -> None:
    for query in ("_summary=count", "_count=0"):
        page = stocked.get(f"/fhir/Task?{query}").json()
        assert (page["total"], "entry" in page) == (3, False)
    assert stocked.get("/fhir/Task?_count=1&_total=accurate").json()["total"] == 3


@pytest.mark.requirement(30)
def test_sorting_is_by_what_was_asked(stocked: TestClient) -> None:
    assert ids_in(stocked.get("/fhir/Task?_sort=due").json()) == ["t1", "t2", "t3"]
    assert ids_in(stocked.get("/fhir/Task?_sort=-due").json()) == ["t3", "t2", "t1"]
    assert ids_in(stocked.get("/fhir/Task?_sort=-_lastUpdated").json()) == ["t3", "t2", "t1"]


@pytest.mark.requirement(27)
def test_includes_come_after_the_matches_and_are_not_counted(stocked: TestClient) -> None:
    page = stocked.get("/fhir/Task?_id=t1&_include=Task:patient").json()
    modes = [(entry["resource"]["id"], entry["search"]["mode"]) for entry in page["entry"]]
    assert modes == [("t1", "match"), ("p1", "include")]
    assert page["total"] == 1
    page = stocked.get("/fhir/Patient?_id=p2&_revinclude=Task:patient").json()
    assert [entry["search"]["mode"] for entry in page["entry"]] == ["match", "include"]
