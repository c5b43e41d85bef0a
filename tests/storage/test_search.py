"""Searches over both databases: each kind of parameter, modifiers, paging, sorting, counting, includes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from fhir_tracker.errors import Incorrect
from fhir_tracker.fhir.query import parse_query
from fhir_tracker.storage import search
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.page_cursor import PageCursor
from fhir_tracker.storage.search import FEW
from tests.storage.samples import KEY, NOW, VIEWER, found, locked, pairs, put, put_all, task, walk

LOINC = "http://loinc.org"
UCUM = "http://unitsofmeasure.org"


def coded(system: str | None, code: str) -> dict[str, object]:
    coding = {"code": code} | ({"system": system} if system else {})
    return {"coding": [coding]}


TASKS = [
    task("a", "ann", status="requested", code=coded("http://x", "call"), authoredOn="2026-03-01T10:00:00Z"),
    task("b", "ann", status="completed", code=coded("http://y", "call"), authoredOn="2026-03-02"),
    task("c", "bob", status="requested", code=coded(None, "letter"), owner={"reference": "Practitioner/p1"}),
    task("d", "bob", status="on-hold", owner={"reference": "http://elsewhere/fhir/Practitioner/p1"}),
    task("e", "cyd", businessStatus=coded("http://x", "a,b|c$d\\e"), restriction={"period": {"end": "2026-03-10"}}),
    task("f", "cyd", instantiatesCanonical="https://fhir-tracker.example/PlanDefinition/tcm|2"),
    task("g", "cyd", basedOn=[{"identifier": {"system": "http://ids", "value": "77"}}], identifier=[{"value": "I 1"}]),
]
PATIENTS: list[dict[str, Any]] = [
    {
        "resourceType": "Patient",
        "id": "ann",
        "name": [{"family": "Müller", "given": ["Ann"]}],
        "birthDate": "1950-01-02",
        "identifier": [{"type": coded("http://v2", "MR"), "system": "http://mrn", "value": "1"}],
    },
    {
        "resourceType": "Patient",
        "id": "bob",
        "name": [{"family": "100%_sure"}],
        "birthDate": "1960",
        "identifier": [{"type": coded("http://v2", "SS"), "value": "1"}, {"type": {"text": "MR"}, "value": "1"}],
    },
    {"resourceType": "Patient", "id": "cyd", "name": [{"family": "muller-lee"}], "gender": "female", "active": True},
]
OBSERVATIONS: list[dict[str, Any]] = [
    {
        "resourceType": "Observation",
        "id": id_,
        "status": "final",
        "code": coded(LOINC, code),
        "subject": {"reference": "Patient/ann"},
        "valueQuantity": {"value": value, "unit": "mmHg", "system": UCUM, "code": "mm[Hg]"},
    }
    for id_, code, value in (("o1", "8480-6", 140), ("o2", "8480-6", 120.5), ("o3", "8462-4", 90))
]
VALUE_SETS: list[dict[str, Any]] = [
    {"resourceType": "ValueSet", "id": id_, "status": "active", **({"url": url} if url else {})}
    for id_, url in (
        ("v1", "http://a.org/fhir"),
        ("v2", "http://a.org/fhir/x"),
        ("v3", "http://a.org/fhir/x/y"),
        ("v4", "http://a.org/fhirs"),
        ("v5", None),
    )
]
LOCATIONS: list[dict[str, Any]] = [
    {"resourceType": "Location", "id": id_, **({"position": place} if place else {})}
    for id_, place in (
        ("l1", {"latitude": 42.05, "longitude": -83.05}),
        ("l2", {"latitude": 42.0, "longitude": -83.2}),
        ("l3", {"latitude": 0.05, "longitude": -179.98}),
        ("l4", None),
    )
]


CASES: list[tuple[str, str, str | list[str]]] = [
    ("Task", "", "abcdefg"),
    ("Task", "_id=a,c", "ac"),
    ("Task", "_id=nothing", ""),
    ("Task", "status=requested", "acefg"),
    ("Task", "status=completed,on-hold", "bd"),
    ("Task", "status=requested&status=completed", ""),
    ("Task", "status=http://hl7.org/fhir/task-status|completed", "b"),
    ("Task", "status=http://hl7.org/fhir/task-status|", "abcdefg"),
    ("Task", "status=http://x|completed", ""),
    ("Task", "status=http://x|", ""),
    ("Task", "status=|completed", ""),
    ("Task", "status:not=http://hl7.org/fhir/task-status|requested", "bd"),
    ("Task", "status:not=http://hl7.org/fhir/task-status|", ""),
    ("Task", "status=http://hl7.org/fhir/task-status|requested&patient=bob", "c"),
    ("Task", "status:missing=false", "abcdefg"),
    ("Task", "status:missing=true", ""),
    ("Task", "priority:missing=true", "abcdefg"),
    ("Task", "priority:missing=false", ""),
    ("Task", "intent=|order", "abcdefg"),
    ("Task", "code=call", "ab"),
    ("Task", "code=http://x|call", "a"),
    ("Task", "code=http://x|", "a"),
    ("Task", "code=|letter", "c"),
    ("Task", "code=|call", ""),
    ("Task", "code:not=call", "cdefg"),
    ("Task", "code:missing=true", "defg"),
    ("Task", "code:missing=false", "abc"),
    ("Task", "authored-on:missing=false", "ab"),
    ("Task", "patient=ann", "ab"),
    ("Task", "patient=Patient/bob", "cd"),
    ("Task", "patient=http://here/fhir/Patient/bob", "cd"),
    ("Task", "subject:Patient=bob", "cd"),
    ("Task", "subject=bob,ann&status=completed", "b"),
    ("Task", "patient=bob&status=requested", "c"),
    ("Task", "patient=bob&status=requested&code=letter", "c"),
    ("Task", "patient=bob&status=requested&code=call", ""),
    ("Task", "owner=Practitioner/p1", "c"),
    ("Task", "owner=p1", "c"),
    ("Task", "owner:missing=false", "cd"),
    ("Task", "owner:missing=true", "abefg"),
    ("Task", "owner=http://elsewhere/fhir/Practitioner/p1", "d"),
    ("Task", "based-on:identifier=http://ids|77", "g"),
    ("Task", "based-on:identifier=78", ""),
    ("Task", "identifier=I 1", "g"),
    ("Task", "business-status=a\\,b\\|c\\$d\\\\e", "e"),
    ("Task", "business-status=a\\,b\\|c\\$d\\\\e&status=requested", "e"),
    ("Task", "due=2026-03-10", "e"),
    ("Task", "due=le2026-03-10", "e"),
    ("Task", "due=gt2026-03-10", ""),
    ("Task", "due=lt2026-03-11", "e"),
    ("Task", "instantiates-canonical=https://fhir-tracker.example/PlanDefinition/tcm|2", "f"),
    ("Task", "instantiates-canonical=https://fhir-tracker.example/PlanDefinition/tcm", "f"),
    ("Task", "instantiates-canonical=https://fhir-tracker.example/PlanDefinition/tcm|3", ""),
    ("Task", "authored-on=2026-03-01", "a"),
    ("Task", "authored-on=2026-03", "ab"),
    ("Task", "authored-on=ge2026-03-02", "b"),
    ("Task", "authored-on=ge2026-03-01T10:00:00Z", "ab"),
    ("Task", "authored-on=gt2026-03-01T10:00:00Z", "b"),
    ("Task", "authored-on=lt2026-03-02", "a"),
    ("Task", "authored-on=ne2026-03-02", "a"),
    ("Task", "authored-on=sa2026-03-01", "b"),
    ("Task", "authored-on=eb2026-03-02", "a"),
    ("Task", "authored-on=ap2026-03-02T12:00:00Z", "b"),
    ("Task", "authored-on=ge2026-03-01&authored-on=lt2026-03-02", "a"),
    ("Task", "_lastUpdated=2026-03-09", "abcdefg"),
    ("Task", "_lastUpdated=gt2026-03-09", ""),
    ("Task", "_lastUpdated=ge2026-03-09T15:30:00Z&_lastUpdated=lt2026-03-09T15:30:01Z", "abcdefg"),
    ("Observation", "value-quantity=140", ["o1"]),
    ("Observation", "value-quantity=gt90", ["o1", "o2"]),
    ("Observation", "value-quantity=ge140", ["o1"]),
    ("Observation", "value-quantity=lt120.5", ["o3"]),
    ("Observation", f"value-quantity=120.5|{UCUM}|mm[Hg]", ["o2"]),
    ("Observation", "value-quantity=120.5||mmHg", ["o2"]),
    ("Observation", "value-quantity=120.5||kg", []),
    ("Observation", f"code-value-quantity={LOINC}|8480-6$gt130", ["o1"]),
    ("Observation", "code-value-quantity=8462-4$lt100", ["o3"]),
    ("Observation", "code-value-quantity=8462-4$gt100", []),
    ("Patient", "name=mull", ["ann", "cyd"]),
    ("Patient", "name=MÜLLER", ["ann", "cyd"]),
    ("Patient", "family:exact=Müller", ["ann"]),
    ("Patient", "family:exact=muller", []),
    ("Patient", "family:contains=lee", ["cyd"]),
    ("Patient", "family:contains=%", ["bob"]),
    ("Patient", "family:contains=_", ["bob"]),
    ("Patient", "family=100%", ["bob"]),
    ("Patient", "family=%", []),
    ("Patient", "birthdate=1960-05", []),
    ("Patient", "birthdate=1960", ["bob"]),
    ("Patient", "birthdate=lt1955", ["ann"]),
    ("Patient", "gender=female", ["cyd"]),
    ("Task", "_id:not=a,b", "cdefg"),
    ("Task", "_id:missing=false", "abcdefg"),
    ("Task", "_id:missing=true", ""),
    ("Task", "_lastUpdated:missing=true", ""),
    ("Task", "_id=a&_id=a,b", "a"),
    ("Task", "_id=a&_id=b", ""),
    ("Task", "status=requested&authored-on=2026-03-01", "a"),
    ("Task", "status=completed&authored-on=2026-03-01", ""),
    ("Task", "status=completed&authored-on=ge2026-03-01&authored-on=lt2026-03-03", "b"),
    ("Task", "status=requested&authored-on=ge2026&code=call&patient=ann", "a"),
    ("Task", "status=requested,completed&authored-on=ge2026", "ab"),
    ("Task", "status=http://hl7.org/fhir/task-status|completed&authored-on=ge2026", "b"),
    ("Task", "status=requested&authored-on=2026,2025", "a"),
    ("Task", "status=requested&authored-on:missing=true", "cefg"),
    ("Task", "status:not=requested&authored-on=ge2026", "b"),
    ("Patient", "identifier:of-type=http://v2|MR|1", ["ann"]),
    ("Patient", "identifier:of-type=http://v2|SS|1", ["bob"]),
    ("Patient", "identifier:of-type=http://v2|MR|2", []),
    ("Patient", "identifier=1", ["ann", "bob"]),
    ("Location", "near=42|-83|10|km", ["l1"]),
    ("Location", "near=42|-83|20", ["l1", "l2"]),
    ("Location", "near=42|-83|12|[mi_i],0|179.95|20", ["l1", "l2", "l3"]),
    ("Location", "near=0|-179.99|1", []),
    ("Location", "near:missing=true", ["l4"]),
    ("ValueSet", "url:below=http://a.org/fhir", ["v1", "v2", "v3"]),
    ("ValueSet", "url:below=http://a.org/fhir/", ["v2", "v3"]),
    ("ValueSet", "url:below=http://a.org/fhir/x", ["v2", "v3"]),
    ("ValueSet", "url:below=http://a.org/fh", []),
    ("ValueSet", "url:above=http://a.org/fhir/x/y/z", ["v1", "v2", "v3"]),
    ("ValueSet", "url:above=http://a.org/fhir/x", ["v1", "v2"]),
    ("ValueSet", "url:above=http://a.org/fhir/other", ["v1"]),
    ("ValueSet", "url:above=http://b.org,http://a.org/fhir", ["v1"]),
    ("ValueSet", "url=http://a.org/fhir", ["v1"]),
    ("ValueSet", "url:missing=true", ["v5"]),
    ("Patient", "active=true", ["cyd"]),
]


@pytest.fixture
def filled(database: Database) -> Database:
    put_all(database, [*TASKS, *PATIENTS, *OBSERVATIONS, *VALUE_SETS, *LOCATIONS])
    return database


def test_a_search_finds_what_the_specification_says(filled: Database) -> None:
    answers = [(type_, text, found(filled, type_, text)) for type_, text, _ in CASES]
    assert answers == [(type_, text, list(expected)) for type_, text, expected in CASES]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("subject=Group/ann", "g"),
        ("subject:Group=ann", "g"),
        ("patient=Group/ann", ""),
        ("patient=ann", "p"),
        ("subject=ann", "gp"),
        ("patient=http://other/Patient/ann", "u"),
        ("subject=http://other/Patient/ann", "u"),
        ("patient:missing=true", "gn"),
        ("patient:missing=false", "pu"),
        ("subject:missing=true", "n"),
        ("patient:missing=true&subject:missing=false", "g"),
        ("patient.active=true", "p"),
        ("subject:Group.type=person", "g"),
    ],
)
def test_patient_is_the_subject_where_that_is_a_patient(database: Database, text: str, expected: str) -> None:
    about = {"p": "Patient/ann", "g": "Group/ann", "u": "http://other/Patient/ann"}
    tasks = [task(id_) | {"for": {"reference": reference}} for id_, reference in about.items()]
    nobody = {name: value for name, value in task("n").items() if name != "for"}
    group = {"resourceType": "Group", "id": "ann", "type": "person", "actual": True}
    put_all(database, [{"resourceType": "Patient", "id": "ann", "active": True}, group, *tasks, nobody])
    assert found(database, "Task", text) == list(expected)


def test_only_a_patients_own_tasks_are_included_in_reverse(database: Database) -> None:
    about = {"p": "Patient/ann", "g": "Group/ann"}
    tasks = [task(id_) | {"for": {"reference": reference}} for id_, reference in about.items()]
    put_all(database, [{"resourceType": "Group", "id": "ann", "type": "person", "actual": True}, *tasks])
    answers = {}
    for param in ("patient", "subject"):
        query = parse_query("Group", pairs(f"_revinclude=Task:{param}"), strict=True)
        with database.read() as tx:
            answers[param] = [one.id for one in search.search(tx, VIEWER, query).included]
    assert answers == {"patient": [], "subject": ["g"]}


@pytest.mark.requirement(26)
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("chromosome-variant-coordinate=http://x|7$ge10$le20", ["s1"]),
        ("chromosome-variant-coordinate=7$30$40", ["s1"]),
        ("chromosome-variant-coordinate=7$10$40", []),
        ("chromosome-variant-coordinate=7$gt10$lt40", []),
        ("chromosome-variant-coordinate=7$lt11$2147483647", ["s2"]),
        ("chromosome-variant-coordinate=8$ge10$le20", []),
        ("chromosome-variant-coordinate=8$ge10$le20,7$30$40", ["s1"]),
        ("chromosome-variant-coordinate:missing=true", ["s3"]),
    ],
)
def test_a_code_and_two_numbers_are_those_of_one_and_the_same_part(
    database: Database, text: str, expected: list[str]
) -> None:
    spans = {"s1": [(10, 20), (30, 40)], "s2": [(10, 2147483647)], "s3": []}
    bodies = [
        {
            "resourceType": "MolecularSequence",
            "id": id_,
            "coordinateSystem": 0,
            "referenceSeq": {"chromosome": coded("http://x", "7")},
            **({"variant": [{"start": start, "end": end} for start, end in held]} if held else {}),
        }
        for id_, held in spans.items()
    ]
    put_all(database, bodies)
    assert found(database, "MolecularSequence", text) == expected


@pytest.mark.parametrize(
    "text", ["", "status=requested", "patient=ann", "patient=bob&status=requested", "_id=c", "code:not=x"]
)
def test_a_viewer_locked_to_a_patient_finds_nothing_of_another(filled: Database, text: str) -> None:
    assert {one.patient for one in walk(filled, "Task", text, locked("ann"))} <= {"ann"}
    assert found(filled, "Observation", "", locked("bob")) == []
    assert found(filled, "Patient", "name=mull", locked("cyd")) == ["cyd"]


def test_a_viewer_locked_to_a_patient_counts_and_includes_nothing_of_another(filled: Database) -> None:
    query = parse_query(
        "Task", pairs("_total=accurate&_include=Task:patient&_revinclude=Observation:patient"), strict=True
    )
    with filled.read() as tx:
        page = search.search(tx, locked("bob"), query)
    assert page.total == 2
    assert {one.ref for one in page.included} == {"Patient/bob"}


def test_an_update_changes_what_is_found(filled: Database) -> None:
    with filled.begin() as tx:
        put(tx, task("a", "bob", status="completed"), 2)
    assert found(filled, "Task", "patient=ann") == ["b"]
    assert found(filled, "Task", "patient=bob&status=completed") == ["a"]
    assert found(filled, "Task", "patient=ann&status=requested") == []
    assert found(filled, "Task", "code=call") == ["b"]


def test_what_was_deleted_is_not_found(filled: Database) -> None:
    with filled.begin() as tx:
        put(tx, task("a"), 2, op="delete")
    assert found(filled, "Task", "") == list("bcdefg")
    assert found(filled, "Task", "_id=a") == []
    assert found(filled, "Task", "code=call") == ["b"]


@pytest.mark.parametrize("text", ["", "status=requested", "status=requested,completed", "patient=ann&status=requested"])
def test_pages_give_each_resource_once_while_others_write(database: Database, text: str) -> None:
    put_all(database, [task(f"t{number}") for number in range(25)])
    query = parse_query("Task", pairs(f"{text}&_count=4"), strict=True)
    seen: list[str] = []
    page: PageCursor | None = None
    for round_ in range(20):
        with database.read() as tx:
            answer = search.search(tx, VIEWER, query, page=page)
        seen += [one.id for one in answer.matches]
        page = answer.next
        if page is None:
            break
        with database.begin() as tx:
            put(tx, task(f"new{round_}"))
            put(tx, task(f"t{round_}", note=[{"text": "again"}]), 2, updated_at=NOW + timedelta(hours=1))
    assert sorted(one for one in seen if one.startswith("t")) == sorted(f"t{number}" for number in range(25))
    assert len(seen) == len(set(seen))


def test_many_matches_are_found_like_few(database: Database) -> None:
    put_all(database, [task(f"t{n}", status="requested" if n % 100 else "completed") for n in range(FEW + 100)])
    for intent in ("intent=order", "intent=order,plan"):
        for status, number in (("=requested", FEW + 79), ("=completed", 21), (":not=completed", FEW + 79)):
            assert len(walk(database, "Task", f"{intent}&status{status}&_count=1000")) == number


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("_sort=_id", "abcdefg"),
        ("_sort=-_id", "gfedcba"),
        ("_sort=authored-on,_id", "abcdefg"),
        ("_sort=_lastUpdated&_count=2", "abcdefg"),
        ("_sort=-_lastUpdated&_count=2", "gfedcba"),
        ("_sort=-authored-on,_id", "bacdefg"),
        ("_sort=_lastUpdated,-_id", "gfedcba"),
        ("_sort=due,_id&_count=2", "eabcdfg"),
        ("_sort=-due,-_id&_count=3", "egfdcba"),
        ("status=requested&_sort=-_id&_count=1", "gfeca"),
    ],
)
def test_sorted_pages_are_in_order(filled: Database, text: str, expected: str) -> None:
    assert [one.id for one in walk(filled, "Task", text)] == list(expected)


def test_patients_are_sorted_by_name(filled: Database) -> None:
    assert [one.id for one in walk(filled, "Patient", "_sort=family&_count=1")] == ["bob", "ann", "cyd"]
    assert [one.id for one in walk(filled, "Observation", "_sort=-value-quantity&_count=1")] == ["o1", "o2", "o3"]


@pytest.mark.parametrize(
    ("text", "total"),
    [
        ("_summary=count", 7),
        ("_count=0", 7),
        ("status=requested&_summary=count", 5),
        ("patient=ann&status=requested&_count=0", 1),
    ],
)
def test_a_count_gives_no_matches(filled: Database, text: str, total: int) -> None:
    with filled.read() as tx:
        page = search.search(tx, VIEWER, parse_query("Task", pairs(text), strict=True))
    assert (page.matches, page.total, page.next) == ((), total, None)


def test_the_total_is_given_when_asked_for_or_known_anyway(filled: Database) -> None:
    with filled.read() as tx:
        totals = [
            search.search(tx, VIEWER, parse_query("Task", pairs(text), strict=True)).total
            for text in ("_count=2", "_count=2&_total=accurate", "_count=50", "_count=2&_total=none")
        ]
    assert totals == [None, 7, 7, None]


def test_included_resources_come_beside_the_matches(filled: Database) -> None:
    with filled.read() as tx:
        forward = search.search(
            tx, VIEWER, parse_query("Task", pairs("_include=Task:patient&status=completed"), strict=True)
        )
        back = search.search(tx, VIEWER, parse_query("Patient", pairs("_id=ann&_revinclude=Task:patient"), strict=True))
    assert ([one.ref for one in forward.matches], [one.ref for one in forward.included]) == (
        ["Task/b"],
        ["Patient/ann"],
    )
    assert sorted(one.ref for one in back.included) == ["Task/a", "Task/b"]


def test_a_changed_page_link_is_refused(filled: Database) -> None:
    query = parse_query("Task", pairs("_count=2"), strict=True)
    with filled.read() as tx:
        page = search.search(tx, VIEWER, query).next
        assert page is not None
        text = page.encode(KEY)
        for wrong in (text[:-1], text[:5] + ("A" if text[5] != "A" else "B") + text[6:], "", "é", "x" * 50):
            with pytest.raises(Incorrect):
                PageCursor.decode(wrong, KEY)
        other = parse_query("Task", pairs("_count=2&status=requested"), strict=True)
        with pytest.raises(Incorrect):
            search.search(tx, VIEWER, other, page=page)


def test_a_forged_page_link_with_impossible_values_is_refused(filled: Database) -> None:
    query = parse_query("Task", pairs("_count=2&_sort=_lastUpdated"), strict=True)
    wrong: list[tuple[tuple[int | float | str, ...], int]] = [
        ((), 1),
        ((1, 2), 1),
        (("x",), 1),
        ((1,), 1 << 70),
        ((1 << 70,), 1),
    ]
    for values, k in wrong:
        page = PageCursor(query=query.fingerprint, values=values, k=k)
        with pytest.raises(Incorrect), filled.read() as tx:
            search.search(tx, VIEWER, query, page=page)


@pytest.mark.parametrize(
    "text",
    [
        "_lastUpdated=9999", "_lastUpdated=le9999-12-31", "_lastUpdated=gt0001", "authored-on=9999", "authored-on=0001",
        "due=gt9999-12-31T23:59:59Z", "_id=" + "x" * 500, "identifier='; DROP TABLE resource; --", "code=%27%20OR%201=1",
    ],
)  # fmt: skip
def test_extreme_and_hostile_values_are_answered(filled: Database, text: str) -> None:
    assert len(found(filled, "Task", text)) <= 7
    assert len(found(filled, "Task", "")) == 7
