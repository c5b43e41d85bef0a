"""What a searchset looks like, how it is sorted, counted and paged, and what becomes of parameters nobody knows.

https://hl7.org/fhir/R4/http.html#search
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

from tests.conformance.server import own_client
from tests.conformance.stock import task
from tests.conformance.talk import FORM, JSON, TAGS, Corner, issue_of, link_of, matches_of

STRICT = {"Prefer": "handling=strict"}


@pytest.fixture(scope="session")
def rows(client: httpx.Client) -> Corner:
    """Six tasks with due times and priorities that repeat."""
    corner = Corner(client)
    for short, due, authored in (
        ("a", "2026-03-02", "2026-01-01"),
        ("b", "2026-03-01", "2026-01-02"),
        ("c", "2026-03-01", "2026-01-03"),
        ("d", "2026-03-02", "2026-01-02"),
        ("e", None, "2026-01-05"),
        ("f", "2026-03-03", None),
    ):
        members = {"restriction": {"period": {"end": due}}} if due else {}
        task(corner, short, **members, **({"authoredOn": authored} if authored else {}))
    corner.put("Patient", "z", name=[{"family": "Zoe"}, {"family": "Able"}])
    corner.put("Patient", "m", name=[{"family": "Moe"}])
    return corner


@pytest.mark.requirement(30)
@pytest.mark.parametrize(
    ("query", "order"),
    [
        ("Task?_sort=due", "b c a d f e"),
        ("Task?_sort=-due", "f d a c b e"),
        ("Task?_sort=due,-authored-on", "c b d a f e"),
        ("Task?_sort=due,authored-on", "b c a d f e"),
        ("Task?_sort=-authored-on,due", "e c b d a f"),
        ("Task?_sort=_id", "a b c d e f"),
        ("Task?_sort=-_id", "f e d c b a"),
        ("Task?_sort=_lastUpdated", "a b c d e f"),
        ("Task?_sort=-_lastUpdated", "f e d c b a"),
        ("Patient?_sort=family", "z m"),
        ("Patient?_sort=-family", "z m"),
    ],
)
def test_a_sort_is_kept_with_ties_and_missing_values(rows: Corner, query: str, order: str) -> None:
    assert " ".join(rows.listed(query)) == order
    assert " ".join(rows.listed(query)) == order


@pytest.mark.requirement(29, 30)
@pytest.mark.parametrize("sort", ["", "due", "-due", "due,-authored-on", "_id", "-_lastUpdated"])
def test_pages_of_one_give_the_same_order_as_one_page(rows: Corner, sort: str) -> None:
    query = f"Task?_sort={sort}"
    whole = rows.listed(query)
    page = rows.bundle(f"{query}&_count=1")
    one_by_one = [str(one["id"]).removeprefix(f"{rows.name}-") for one in walk(rows.client, page)]
    assert one_by_one == whole


@pytest.mark.requirement(29, 30)
@pytest.mark.parametrize("sort", ["", "due", "-due,authored-on", "_id", "-identifier"])
def test_previous_links_lead_back_over_the_same_pages(rows: Corner, sort: str) -> None:
    pages = [rows.bundle(f"Task?_sort={sort}&_count=2")]
    while link_of(pages[-1], "next"):
        pages.append(rows.client.get(link_of(pages[-1], "next")).json())
    assert len(pages) == 3
    page = pages.pop()
    while pages:
        page = rows.client.get(link_of(page, "previous")).json()
        assert matches_of(page) == matches_of(pages.pop())
    assert link_of(page, "previous") == ""
    link = link_of(page, "next")
    issue_of(rows.client.get(f"{link[:-2]}{'A' if link[-2] != 'A' else 'B'}{link[-1]}"), 400)


@pytest.mark.requirement(22, 29)
def test_an_approximate_date_means_the_same_on_every_page(rows: Corner) -> None:
    page = rows.bundle("Task?authored-on=ap2026-01-02&_count=1&_sort=_id")
    walked = [str(one["id"]).removeprefix(f"{rows.name}-") for one in walk(rows.client, page)]
    assert set("bcd") <= set(walked) <= set("abcde")


@pytest.mark.requirement(17, 29)
def test_a_page_says_what_was_used_how_many_there_are_and_where_it_stands(rows: Corner) -> None:
    page = rows.bundle("Task?_count=2&_total=accurate")
    base = str(rows.client.base_url).rstrip("/")
    assert (page["type"], page["total"], len(page["entry"])) == ("searchset", 6, 2)
    assert parse_qsl(urlsplit(link_of(page, "self")).query) == [
        ("_tag", f"{TAGS}|{rows.name}"),
        ("_count", "2"),
        ("_total", "accurate"),
    ]
    for entry in page["entry"]:
        assert entry["fullUrl"] == f"{base}/Task/{entry['resource']['id']}"
        assert entry["search"]["mode"] == "match"
    assert link_of(page, "next").startswith(f"{base}/Task?")


@pytest.mark.requirement(29)
@pytest.mark.parametrize(("query", "entries"), [("_count=0", 0), ("_summary=count", 0), ("_count=1000000", 6)])
def test_a_count_may_be_nothing_or_huge(rows: Corner, query: str, entries: int) -> None:
    page = rows.bundle(f"Task?{query}")
    assert len(page.get("entry", [])) == entries
    assert page["total"] == 6
    assert link_of(page, "next") == ""


@pytest.mark.requirement(19)
@pytest.mark.parametrize("value", ["-1", "1.5", "many", "1e3", "0x10", "٣"])
def test_a_count_that_is_no_count_is_400(rows: Corner, value: str) -> None:
    issue_of(rows.client.get("/Task", params={"_count": value}), 400)


@pytest.mark.requirement(17)
def test_nothing_found_is_an_empty_searchset(rows: Corner) -> None:
    page = rows.bundle("Task?status=failed")
    assert (page["total"], "entry" in page) == (0, False)
    assert link_of(page, "self")


@pytest.mark.requirement(16)
@pytest.mark.parametrize(
    "query",
    [
        "_sort=due&_count=3",
        "status=requested,draft&due=ge2026-03-02",
        "owner:missing=true",
        "status:not=draft&_count=0",
    ],
)
def test_a_search_by_post_is_the_search_by_get(rows: Corner, query: str) -> None:
    scoped = f"_tag={TAGS}|{rows.name}&{query}"
    head, _, tail = scoped.partition("&")
    got = rows.client.get(f"/Task?{scoped}").json()
    posted = rows.client.post("/Task/_search", content=scoped, headers=FORM).json()
    mixed = rows.client.post(f"/Task/_search?{head}", content=tail, headers=FORM).json()
    assert got["total"] == posted["total"] == mixed["total"] if "total" in got else "total" not in posted
    assert matches_of(got) == matches_of(posted) == matches_of(mixed)
    assert link_of(got, "self") == link_of(posted, "self") == link_of(mixed, "self")


@pytest.mark.requirement(16, 29)
def test_a_search_by_post_is_paged_by_get(rows: Corner) -> None:
    page = rows.client.post("/Task/_search", content=f"_tag={TAGS}|{rows.name}&_count=2", headers=FORM).json()
    assert len(list(walk(rows.client, page))) == 6


@pytest.mark.requirement(18)
def test_a_parameter_nobody_knows_is_left_out_of_self_and_named_or_refused(rows: Corner) -> None:
    answer = rows.client.get(f"/Task?_tag={TAGS}|{rows.name}&colour=red&_count=6")
    page = answer.json()
    assert "colour" not in link_of(page, "self")
    assert len(matches_of(page)) == 6
    told = [one["resource"] for one in page["entry"] if one["search"]["mode"] == "outcome"]
    assert "colour" in told[0]["issue"][0]["details"]["text"]
    assert "total" not in page or page["total"] == 6
    issue_of(rows.client.get("/Task?colour=red", headers=STRICT), 400)


@pytest.mark.requirement(19)
@pytest.mark.parametrize(
    "query",
    [
        "status:above=x",
        "status:nonsense=x",
        "code:text=x",
        "due:exact=2026",
        "owner:Nope=x",
        "_id:exact=x",
        "due=2026-02-30",
        "due=2026-1-1",
        "due=20260101",
        "due=tomorrow",
        "due=xx2026",
        "owner:missing=maybe",
        "code=a|b|c",
        "_sort=colour",
        "_sort=restriction",
        "_total=perhaps",
        "_has:Task:owner:status=x",
        "owner.colour=x",
        "status.name=x",
        "patient:Practitioner.name=x",
        "patient.birthdate=soon",
        "_has:Task:x:status=y",
        "_has=x",
        "_include=Task:status",
        "_include:logical=Task:owner",
        "_revinclude=*:*",
        "_revinclude=**",
        "_summary=most",
        "_elements=a b",
        "owner:above=x",
        "code:in=http://x",
        "identifier:of-type=MR|1",
    ],
)
def test_what_cannot_be_understood_is_400_and_never_ignored(client: httpx.Client, query: str) -> None:
    assert issue_of(client.get(f"/Task?{query}"), 400)["severity"] == "error"


@pytest.mark.requirement(19)
@pytest.mark.parametrize(
    "query", ["value-quantity=five", "value-quantity=5|mg", "value-quantity=gt", "code-value-quantity=x"]
)
def test_a_number_that_is_none_is_400(client: httpx.Client, query: str) -> None:
    issue_of(client.get(f"/Observation?{query}"), 400)


@pytest.mark.requirement(27)
def test_what_is_included_is_marked_and_not_counted(rows: Corner) -> None:
    corner = Corner(rows.client)
    corner.put("Patient", "p", active=True)
    task(corner, "a", **{"for": {"reference": f"Patient/{corner.id('p')}"}})
    task(corner, "b", partOf=[{"reference": f"Task/{corner.id('a')}"}])
    page = corner.bundle(f"Task?_id={corner.id('a')}&_include=Task:patient&_revinclude=Task:part-of&_total=accurate")
    modes = {one["resource"]["id"].removeprefix(f"{corner.name}-"): one["search"]["mode"] for one in page["entry"]}
    assert modes == {"a": "match", "p": "include", "b": "include"}
    assert page["total"] == 1


@pytest.mark.requirement(23)
def test_last_updated_finds_what_changed_since(client: httpx.Client) -> None:
    corner = Corner(client)
    task(corner, "old")
    between = corner.put("Task", "mid", status="requested", intent="order")["meta"]["lastUpdated"]
    task(corner, "new")
    assert corner.found(f"Task?_lastUpdated=ge{between}") == ["mid", "new"]
    assert corner.found(f"Task?_lastUpdated=gt{between}") == ["new"]
    assert corner.found(f"Task?_lastUpdated={between}") == ["mid"]
    assert corner.found(f"Task?_lastUpdated=lt{between}") == ["old"]
    task(corner, "old", priority="urgent")
    assert corner.found(f"Task?_lastUpdated=gt{between}") == ["new", "old"]


@pytest.mark.requirement(29)
@pytest.mark.parametrize("sort", ["", "_id", "due"])
def test_thirty_pages_give_each_once_while_another_client_writes(client: httpx.Client, sort: str) -> None:
    corner = Corner(client)
    for number in range(60):
        task(corner, f"{number:02}", restriction={"period": {"end": f"2026-03-{1 + number % 28:02}"}})
    stop = threading.Event()
    writer = threading.Thread(target=disturb, args=(client.base_url, corner.name, stop))
    writer.start()
    try:
        page = corner.bundle(f"Task?_sort={sort}&_count=2&priority:missing=true")
        seen = [str(one["id"]) for one in walk(client, page)]
    finally:
        stop.set()
        writer.join()
    stable = [corner.id(f"{number:02}") for number in range(60)]
    assert sorted(set(seen) & set(stable)) == stable
    assert len(seen) == len(set(seen))


def disturb(base: httpx.URL, name: str, stop: threading.Event) -> None:
    """Keep adding, rewriting and deleting in the corner until told to stop."""
    with httpx.Client(base_url=base, timeout=60, trust_env=False) as client:
        corner = Corner(client)
        corner.name = name
        number = 0
        while not stop.is_set():
            number += 1
            task(corner, f"new{number}", restriction={"period": {"end": "2026-03-15"}})
            task(corner, f"{number % 60:02}", restriction={"period": {"end": f"2026-03-{1 + number % 60 % 28:02}"}})
            client.delete(f"/Task/{corner.id(f'new{number}')}")


def walk(client: httpx.Client, page: dict[str, object]) -> Iterator[dict[str, object]]:
    """Every match of a page and of those after it."""
    for _ in range(500):
        yield from matches_of(page)
        following = link_of(page, "next")
        if not following:
            return
        answer = client.get(following)
        assert answer.status_code == 200, answer.text[:300]
        page = answer.json()
    raise AssertionError("the pages do not end")


@pytest.mark.requirement(3, 17, 29)
def test_every_address_given_out_begins_with_the_public_one(tmp_path: Path) -> None:
    public = "https://tracker.example:8443/care"
    with own_client(tmp_path, "--public-url", public) as client:
        location = client.post("/Patient", content=b'{"resourceType":"Patient"}', headers=JSON).headers["location"]
        client.post("/Patient", content=b'{"resourceType":"Patient"}', headers=JSON)
        text = client.get("/Patient?_count=1&_sort=_id").text
        page = client.get("/Patient?_count=1&_sort=_id").json()
        statement = client.get("/metadata").json()
        own = client.get("/Task", params={"patient": f"{public}/fhir/Patient/x"}, headers=STRICT)
    assert location.startswith(f"{public}/fhir/Patient/")
    assert {one["relation"] for one in page["link"]} >= {"self", "next"}
    assert all(one["url"].startswith(f"{public}/fhir/Patient?") for one in page["link"])
    assert page["entry"][0]["fullUrl"].startswith(f"{public}/fhir/Patient/")
    assert statement["implementation"]["url"] == f"{public}/fhir"
    assert own.status_code == 200
    assert "127.0.0.1" not in text
