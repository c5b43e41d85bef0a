"""Searches over several types and in a compartment, on both databases: each resource once, in one order, nothing else.

https://hl7.org/fhir/R4/compartmentdefinition.html
"""

from __future__ import annotations

from typing import Any

import pytest

from fhir_tracker.fhir.query import Query, parse_query, parse_system_query
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.storage import search
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.page_cursor import PageCursor
from fhir_tracker.storage.scope import SHARED
from tests.storage.samples import KEY, VIEWER, locked, pairs, put_all, task

Body = dict[str, Any]
TAG = {"tag": [{"system": "http://t", "code": "x"}]}


def ref(target: str) -> Body:
    return {"reference": target}


STOCK: list[Body] = [
    {"resourceType": "Patient", "id": "ann", "active": True, "meta": TAG},
    {"resourceType": "Patient", "id": "bob", "link": [{"other": ref("Patient/ann"), "type": "seealso"}]},
    task("a", "ann", status="completed", meta=TAG),
    task("b", "bob"),
    task("c", "ann"),
    {"resourceType": "CarePlan", "id": "p", "status": "active", "intent": "plan", "subject": ref("Patient/ann")},
    {
        "resourceType": "CarePlan",
        "id": "q",
        "status": "active",
        "intent": "plan",
        "subject": ref("Patient/ann"),
        "activity": [{"detail": {"status": "scheduled", "performer": [ref("Patient/ann")]}}],
    },
    {
        "resourceType": "Appointment",
        "id": "x",
        "status": "booked",
        "participant": [
            {"actor": ref("Patient/ann"), "status": "accepted"},
            {"actor": ref("Practitioner/d"), "status": "accepted"},
        ],
    },
    {
        "resourceType": "Encounter",
        "id": "e",
        "status": "finished",
        "class": {"code": "AMB"},
        "subject": ref("Patient/ann"),
    },
    {
        "resourceType": "Observation",
        "id": "o",
        "status": "final",
        "code": {"text": "x"},
        "subject": ref("Patient/ann"),
        "performer": [ref("Patient/ann")],
        "encounter": ref("Encounter/e"),
        "meta": TAG,
    },
    {"resourceType": "Organization", "id": "ann", "name": "not a patient"},
]
SHARED_STOCK = sum(body["resourceType"] in SHARED for body in STOCK)
"""What belongs to no patient, and is seen by who is locked to one as well."""


@pytest.fixture
def filled(database: Database) -> Database:
    put_all(database, STOCK)
    return database


def walked(database: Database, query: Query, viewer: Viewer = VIEWER) -> list[str]:
    refs: list[str] = []
    page: PageCursor | None = None
    while True:
        with database.read() as tx:
            answer = search.search(tx, viewer, query, page=page)
        refs += [one.ref for one in answer.matches]
        if answer.next is None:
            return refs
        page = PageCursor.decode(answer.next.encode(KEY), KEY)


def system(text: str, compartment: tuple[str, str] | None = None) -> Query:
    return parse_system_query(pairs(text), strict=True, compartment=compartment)


@pytest.mark.requirement(16, 29)
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("_type=Task,CarePlan", "CarePlan/q CarePlan/p Task/c Task/b Task/a"),
        ("_type=Task,CarePlan&status=active", "CarePlan/q CarePlan/p"),
        ("_type=Task,CarePlan&subject=Patient/ann", "CarePlan/q CarePlan/p Task/c Task/a"),
        ("_type=Task,CarePlan&subject:missing=true", ""),
        ("_type=Task,CarePlan,Appointment&patient:missing=true", ""),
        ("_type=Task,Appointment&patient:missing=false", "Appointment/x Task/c Task/b Task/a"),
        ("_type=Task,Patient&identifier:missing=true&_sort=_id", "Task/a Patient/ann Task/b Patient/bob Task/c"),
        ("_type=Task,CarePlan&status:not=active", "Task/c Task/b Task/a"),
        ("_type=Task,CarePlan&subject.active=true", "CarePlan/q CarePlan/p Task/c Task/a"),
        ("_type=Task,CarePlan&_sort=_id", "Task/a Task/b Task/c CarePlan/p CarePlan/q"),
        ("_type=Task,CarePlan&_sort=status,-_id", "CarePlan/q CarePlan/p Task/a Task/c Task/b"),
        ("_type=Task,CarePlan&_sort=-subject,_id", "Task/b Task/a Task/c CarePlan/p CarePlan/q"),
        ("_type=Organization,Patient&_id=ann", "Organization/ann Patient/ann"),
        ("_tag=http://t|x", "Observation/o Task/a Patient/ann"),
        ("_id=ann", "Organization/ann Patient/ann"),
        ("_id=ann&_tag=x", "Patient/ann"),
        ("_tag:missing=false&_sort=-_id", "Observation/o Patient/ann Task/a"),
        ("_lastUpdated=lt2000", ""),
    ],
)
@pytest.mark.parametrize("count", [2, 50])
def test_several_types_are_searched_together(filled: Database, text: str, expected: str, count: int) -> None:
    assert " ".join(walked(filled, system(f"{text}&_count={count}"))) == expected


def test_every_type_is_searched_where_none_is_named(filled: Database) -> None:
    assert len(walked(filled, system("_count=3"))) == len(STOCK)
    with filled.read() as tx:
        assert search.search(tx, VIEWER, system("_summary=count")).total == len(STOCK)
        assert search.search(tx, locked("bob"), system("_summary=count")).total == 2 + SHARED_STOCK


@pytest.mark.requirement(32)
@pytest.mark.parametrize(
    ("type_", "place", "text", "expected"),
    [
        ("Task", "Patient/ann", "", "Task/c Task/a"),
        ("Task", "Patient/ann", "status=completed", "Task/a"),
        ("Task", "Patient/ann", "status:not=completed&_sort=_id", "Task/c"),
        ("Task", "Patient/nobody", "", ""),
        ("CarePlan", "Patient/ann", "", "CarePlan/q CarePlan/p"),
        ("Appointment", "Patient/ann", "", "Appointment/x"),
        ("Appointment", "Practitioner/d", "", "Appointment/x"),
        ("Patient", "Patient/ann", "", "Patient/bob Patient/ann"),
        ("Patient", "Patient/ann", "active=true", "Patient/ann"),
        ("Observation", "Encounter/e", "", "Observation/o"),
        ("Encounter", "Encounter/e", "", "Encounter/e"),
        ("", "Patient/ann", "_tag=x", "Observation/o Task/a Patient/ann"),
        ("", "Patient/ann", "_type=Task,CarePlan", "CarePlan/q CarePlan/p Task/c Task/a"),
        ("", "Patient/bob", "", "Task/b Patient/bob"),
        ("", "Encounter/e", "", "Observation/o Encounter/e"),
    ],
)
@pytest.mark.parametrize("count", [1, 50])
def test_a_compartment_holds_what_refers_to_it_once(
    filled: Database, type_: str, place: str, text: str, expected: str, count: int
) -> None:
    name, _, id_ = place.partition("/")
    asked = pairs(f"{text}&_count={count}")
    query = (
        parse_query(type_, asked, strict=True, compartment=(name, id_))
        if type_
        else system(f"{text}&_count={count}", (name, id_))
    )
    assert " ".join(walked(filled, query)) == expected


@pytest.mark.requirement(32)
def test_a_compartment_shows_a_locked_viewer_only_their_own(filled: Database) -> None:
    assert walked(filled, system("", ("Patient", "ann")), locked("bob")) == ["Patient/bob"]
    assert walked(filled, system("", ("Patient", "bob")), locked("ann")) == []
