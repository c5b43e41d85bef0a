"""Sorting by every kind of parameter, over both databases: in order, missing values last, complete whatever the page.

https://hl7.org/fhir/R4/search.html#sort
"""

from __future__ import annotations

from typing import Any

import pytest

from fhir_tracker.errors import Incorrect
from fhir_tracker.fhir.query import parse_query
from fhir_tracker.storage import search, search_plan, search_sorting
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.page_cursor import PageCursor
from tests.storage.samples import NOW, VIEWER, pairs, put, put_all, task, walk

Body = dict[str, Any]


def coded(*codes: str) -> Body:
    return {"coding": [{"system": f"http://{code}", "code": code} for code in codes]}


def ref(target: str) -> Body:
    return {"reference": target}


STOCK: list[Body] = [
    task("a", "cyd", status="requested", priority="urgent", code=coded("m", "z"), authoredOn="2026-03-02"),
    task("b", "ann", status="completed", code=coded("c"), owner=ref("Practitioner/2"), authoredOn="2026-03-01"),
    task("c", "bob", status="requested", priority="asap", owner=ref("Organization/9"), authoredOn="2026-03-03"),
    task("d", "ann", status="draft", priority="routine", code=coded("x"), owner=ref("http://e/fhir/Practitioner/1")),
    task(
        "e", "bob", status="completed", code={"text": "no code"}, identifier=[{"value": "7"}], authoredOn="2026-03-02"
    ),
    *(
        {"resourceType": "RiskAssessment", "id": id_, "status": "final", "prediction": [{"probabilityDecimal": value}]}
        for id_, value in (("r1", 0.5), ("r2", 0.25), ("r3", 0.75))
    ),
    *(
        {"resourceType": "PlanDefinition", "id": id_, "status": "active", **({"url": url} if url else {})}
        for id_, url in (("u1", "http://b"), ("u2", "http://a/z"), ("u3", None), ("u4", "http://B"))
    ),
]
CASES = [
    ("Task", "status", "b e d a c"),
    ("Task", "-status", "c a d e b"),
    ("Task", "priority", "c d a b e"),
    ("Task", "-priority", "a d c e b"),
    ("Task", "code", "b a d c e"),
    ("Task", "-code", "a d b e c"),
    ("Task", "owner", "c b d a e"),
    ("Task", "patient", "b d c e a"),
    ("Task", "identifier", "e a b c d"),
    ("Task", "status,-authored-on", "e b d c a"),
    ("Task", "-status,authored-on", "a c d b e"),
    ("Task", "patient,status,_id", "b d e c a"),
    ("Task", "code,-_lastUpdated", "b a d e c"),
    ("RiskAssessment", "probability", "r2 r1 r3"),
    ("RiskAssessment", "-probability", "r3 r1 r2"),
    ("PlanDefinition", "url", "u4 u2 u1 u3"),
    ("PlanDefinition", "-url", "u1 u2 u4 u3"),
]
IDS = "a,b,c,d,e,r1,r2,r3,u1,u2,u3,u4"


@pytest.fixture
def filled(database: Database) -> Database:
    put_all(database, STOCK)
    return database


@pytest.mark.requirement(30)
@pytest.mark.parametrize("few", [True, False])
def test_the_values_read_and_those_of_the_index_give_one_order(
    filled: Database, monkeypatch: pytest.MonkeyPatch, few: bool
) -> None:
    monkeypatch.setattr(search_plan, "FEW", 1000 if few else -1)
    for type_, sort, order in CASES:
        text = f"_lastUpdated=gt2000&_sort={sort}&_count=2"
        for narrow in ("", f"_id={IDS}&"):
            listed = " ".join(one.id for one in walk(filled, type_, f"{narrow}{text}"))
            assert listed == order, (type_, sort)


@pytest.mark.requirement(30)
@pytest.mark.parametrize("count", [1, 2, 50])
def test_results_are_sorted_by_every_kind_of_parameter(filled: Database, count: int) -> None:
    """Ties come oldest first where the last criterion rises and newest first where it falls."""
    answers = [
        (type_, sort, " ".join(one.id for one in walk(filled, type_, f"_sort={sort}&_count={count}")))
        for type_, sort, _ in CASES
    ]
    assert answers == CASES


@pytest.mark.requirement(30)
@pytest.mark.parametrize("sort", ["code", "-patient", "status"])
def test_filters_totals_and_includes_hold_in_a_sorted_search(filled: Database, sort: str) -> None:
    text = f"status=requested,completed&_sort={sort}&_count=2&_total=accurate&_include=Task:part-of"
    with filled.read() as tx:
        page = search.search(tx, VIEWER, parse_query("Task", pairs(text), strict=True))
    assert (len(page.matches), page.total) == (2, 4)
    assert page.next is not None
    assert {one.id for one in walk(filled, "Task", text)} == set("abce")


@pytest.mark.requirement(29, 30)
@pytest.mark.parametrize("sort", ["code", "-owner", "status", "priority"])
def test_sorted_pages_give_each_once_while_others_write(database: Database, sort: str) -> None:
    put_all(database, [task(f"t{n:02}", f"p{n % 4}", code=coded(f"c{n % 3}"), priority="asap") for n in range(25)])
    query = parse_query("Task", pairs(f"_sort={sort}&_count=4"), strict=True)
    seen: list[str] = []
    page: PageCursor | None = None
    for number in range(30):
        with database.read() as tx:
            answer = search.search(tx, VIEWER, query, page=page)
        seen += [one.id for one in answer.matches]
        page = answer.next
        if page is None:
            break
        with database.begin() as tx:
            put(tx, task(f"new{number}", code=coded(f"c{number % 3}")))
            gone = task(
                f"t{number:02}", f"p{number % 4}", code=coded(f"c{number % 3}"), priority="asap", note=[{"text": "x"}]
            )
            put(tx, gone, 2, updated_at=NOW)
    assert len(seen) == len(set(seen))
    assert sorted(one for one in seen if one.startswith("t")) == [f"t{n:02}" for n in range(25)]


def test_a_sort_by_texts_of_too_many_is_refused_as_too_costly(
    filled: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "MOST_READ", 3)
    with pytest.raises(Incorrect, match="narrower") as raised:
        walk(filled, "Task", "_sort=code")
    assert raised.value.issues[0].code == "too-costly"
    assert len(walk(filled, "Task", "_sort=status")) == 5
    assert len(walk(filled, "Task", "_sort=code&status=requested")) == 2


@pytest.mark.parametrize("values", [(), (1,), ("x", "y"), (1.5,)])
def test_a_page_link_with_values_of_another_sort_is_refused(
    filled: Database, values: tuple[str | int | float, ...]
) -> None:
    for sort in ("code", "status", "owner"):
        query = parse_query("Task", pairs(f"_sort={sort}"), strict=True)
        with pytest.raises(Incorrect), filled.read() as tx:
            search.search(tx, VIEWER, query, page=PageCursor(query=query.fingerprint, values=values, k=1))


def test_only_codes_of_a_closed_list_are_sorted_without_reading(filled: Database) -> None:
    def reads(type_: str, sort: str) -> bool:
        query = parse_query(type_, pairs(f"_sort={sort}"), strict=True)
        return search_sorting.Sorting(query.searched, query.sort).reads_bodies

    assert [reads("Task", one) for one in ("status", "priority", "intent", "due", "_id")] == [False] * 5
    assert [reads("Task", one) for one in ("code", "owner", "identifier", "status,code")] == [True] * 4
