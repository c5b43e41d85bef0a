"""Includes over both databases: forward, backward, by rounds, bounded, and never more than the viewer may see.

https://hl7.org/fhir/R4/search.html#revinclude
"""

from __future__ import annotations

from typing import Any

import pytest

from fhir_tracker.fhir.query import parse_query
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.storage import search, search_includes
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.scope import SHARED
from tests.storage.samples import VIEWER, locked, pairs, put, put_all, task

Body = dict[str, Any]
HERE = "http://here/fhir"


def ref(target: str) -> Body:
    return {"reference": target}


STOCK: list[Body] = [
    {"resourceType": "Organization", "id": "top", "name": "Top"},
    {"resourceType": "Organization", "id": "mid", "name": "Mid", "partOf": ref("Organization/top")},
    {"resourceType": "Organization", "id": "low", "name": "Low", "partOf": ref("Organization/mid")},
    {"resourceType": "Patient", "id": "ann", "managingOrganization": ref("Organization/low")},
    {"resourceType": "Patient", "id": "bob", "managingOrganization": ref(f"{HERE}/Organization/mid")},
    {"resourceType": "Practitioner", "id": "p", "active": True},
    {"resourceType": "PlanDefinition", "id": "one", "status": "active", "url": "http://x/tcm", "version": "1"},
    {"resourceType": "PlanDefinition", "id": "two", "status": "active", "url": "http://x/tcm", "version": "2"},
    task("a", "ann", owner=ref("Practitioner/p"), instantiatesCanonical="http://x/tcm|2"),
    task("b", "ann", partOf=[ref("Task/a")], instantiatesCanonical="http://x/tcm"),
    task("c", "ann", partOf=[ref("Task/b/_history/1")]),
    task("d", "bob", partOf=[ref("Task/missing")], owner=ref("http://elsewhere/fhir/Practitioner/p")),
    {
        "resourceType": "Provenance",
        "id": "v",
        "target": [ref("Task/a"), ref("Task/b")],
        "recorded": "2026-03-01T00:00:00Z",
    },
]
CASES = [
    ("Task", "_id=a&_include=Task:owner", "Practitioner/p"),
    ("Task", "_id=a&_include=Task:owner:PractitionerRole", ""),
    ("Task", "_id=d&_include=Task:owner&_include=Task:part-of", ""),
    ("Task", "_id=a,b&_include=Task:patient", "Patient/ann"),
    ("Task", "_id=c&_include=Task:part-of", "Task/b"),
    ("Task", "_id=c&_include:iterate=Task:part-of", "Task/a Task/b"),
    ("Task", "_id=b,c&_include=Task:part-of", "Task/a"),
    ("Task", "_id=a&_include=*", "Patient/ann PlanDefinition/two Practitioner/p"),
    ("Task", "_id=a&_include=Task:*", "Patient/ann PlanDefinition/two Practitioner/p"),
    ("Task", "_id=a&_include=Task:*:Patient", "Patient/ann"),
    ("Task", "_id=a&_include=Task:instantiates-canonical", "PlanDefinition/two"),
    ("Task", "_id=b&_include=Task:instantiates-canonical", "PlanDefinition/one PlanDefinition/two"),
    ("Task", "_id=a&_include=Task:patient&_include:iterate=Patient:organization", "Organization/low Patient/ann"),
    (
        "Task",
        "_id=a&_include=Task:patient&_include:iterate=Patient:organization&_include:recurse=Organization:partof",
        "Organization/low Organization/mid Organization/top Patient/ann",
    ),
    ("Task", "_id=a&_include:iterate=Patient:organization", ""),
    ("Patient", "_id=bob&_include=Patient:organization", "Organization/mid"),
    ("Patient", "_id=ann&_revinclude=Task:patient", "Task/a Task/b Task/c"),
    (
        "Patient",
        "_id=ann&_revinclude=Task:patient&_revinclude:iterate=Provenance:target",
        "Provenance/v Task/a Task/b Task/c",
    ),
    ("Task", "_id=a&_revinclude=Task:part-of", "Task/b"),
    ("Task", "_id=a&_revinclude=Task:part-of:Patient", ""),
    ("Task", "_id=a&_revinclude=Provenance:*", "Provenance/v"),
    ("Task", "_id=a&_revinclude:iterate=Task:part-of", "Task/b Task/c"),
    ("Task", "_id=zzz&_include=*", ""),
    ("Patient", "_id=ann&_revinclude=*", "Task/a Task/b Task/c"),
    ("Patient", "_id=ann&_revinclude:iterate=*", "Provenance/v Task/a Task/b Task/c"),
    ("Task", "_id=a&_revinclude=*", "Provenance/v Task/b"),
    ("Task", "_id=a&_revinclude:iterate=*", "Provenance/v Task/b Task/c"),
    ("Task", "_id=zzz&_revinclude=*", ""),
    ("Organization", "_id=mid&_revinclude=*", "Organization/low"),
    (
        "Organization",
        "_id=low&_revinclude=*&_include:iterate=*",
        "Organization/mid Organization/top Patient/ann",
    ),
]


@pytest.fixture
def filled(database: Database) -> Database:
    put_all(database, STOCK)
    return database


def page_of(database: Database, type_: str, text: str, viewer: Viewer = VIEWER) -> search.SearchPage:
    query = parse_query(type_, pairs(text), strict=True, own_base=HERE)
    with database.read() as tx:
        return search.search(tx, viewer, query)


def included(database: Database, type_: str, text: str, viewer: Viewer = VIEWER) -> str:
    page = page_of(database, type_, text, viewer)
    refs = [one.ref for one in page.included]
    assert len(set(refs)) == len(refs)
    assert not set(refs) & {one.ref for one in page.matches}
    assert not page.cut
    return " ".join(sorted(refs))


@pytest.mark.requirement(27)
def test_includes_bring_what_the_specification_says(filled: Database) -> None:
    answers = [(type_, text, included(filled, type_, text)) for type_, text, _ in CASES]
    assert answers == CASES


@pytest.mark.requirement(27)
@pytest.mark.parametrize(
    ("type_", "text"),
    [
        ("Task", "_id=d&_include=*"),
        ("Patient", "_id=bob&_revinclude=Task:patient"),
        ("Patient", "_id=bob&_revinclude:iterate=*&_include:iterate=*"),
        ("Task", "_revinclude=Task:part-of&_revinclude=Provenance:target&_include=Task:owner"),
    ],
)
def test_includes_show_a_locked_viewer_only_their_own(filled: Database, type_: str, text: str) -> None:
    page = page_of(filled, type_, text, locked("bob"))
    assert {one.patient for one in (*page.matches, *page.included) if one.type not in SHARED} == {"bob"}
    assert {one.patient for one in (*page.matches, *page.included) if one.type in SHARED} <= {None}


def test_what_was_deleted_is_not_included(filled: Database) -> None:
    with filled.begin() as tx:
        put(tx, task("a"), 2, op="delete")
    assert included(filled, "Task", "_id=b&_include=Task:part-of") == ""


@pytest.mark.requirement(27)
def test_a_ring_of_references_ends(database: Database) -> None:
    ring = [task(f"t{n}", partOf=[ref(f"Task/t{(n + 1) % 4}")]) for n in range(4)]
    put_all(database, ring)
    page = page_of(database, "Task", "_id=t0&_include:iterate=Task:part-of&_revinclude:iterate=Task:part-of")
    assert sorted(one.id for one in page.included) == ["t1", "t2", "t3"]
    assert not page.cut


@pytest.mark.requirement(27)
def test_a_long_row_of_references_is_cut_and_said_so(database: Database) -> None:
    put_all(database, [task(f"t{n}", partOf=[ref(f"Task/t{n + 1}")]) for n in range(20)])
    page = page_of(database, "Task", "_id=t0&_include:iterate=Task:part-of")
    assert [one.id for one in page.included] == [f"t{n}" for n in range(1, 1 + search_includes.MOST_ROUNDS)]
    assert page.cut


@pytest.mark.requirement(27)
@pytest.mark.parametrize("count", [1, 4, 10])
def test_too_many_to_include_are_cut_and_said_so(
    database: Database, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(search_includes, "MOST_INCLUDED", 5)
    put_all(database, [{"resourceType": "Patient", "id": "ann"}, *(task(f"t{n}") for n in range(count))])
    page = page_of(database, "Patient", "_id=ann&_revinclude=Task:patient")
    assert (len(page.included), page.cut) == (min(count, 5), count > 5)


@pytest.mark.requirement(27)
def test_includes_of_all_that_refers_are_cut_where_too_much_would_be_looked_up(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_all(database, [{"resourceType": "Patient", "id": "ann"}, *(task(f"t{n}") for n in range(10))])
    whole = page_of(database, "Patient", "_id=ann&_revinclude=*")
    monkeypatch.setattr(search_includes, "KEYS_AT_ONCE", 1)
    by_steps = page_of(database, "Patient", "_id=ann&_revinclude=*")
    assert (len(whole.included), whole.cut) == (len(by_steps.included), by_steps.cut) == (10, False)
    monkeypatch.setattr(search_includes, "MOST_KEYS", 1)
    assert page_of(database, "Task", "_revinclude=*").cut
