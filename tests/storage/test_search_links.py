"""Chains and reverse chains over both databases: what they find, what a locked viewer learns by them, and their limits.

https://hl7.org/fhir/R4/search.html#chaining
"""

from __future__ import annotations

from typing import Any

import pytest

from fhir_tracker.errors import Incorrect
from fhir_tracker.storage import search_links
from fhir_tracker.storage.database import Database
from tests.storage.samples import found, locked, put, put_all, task

Body = dict[str, Any]


def ref(target: str) -> Body:
    return {"reference": target}


def patient(id_: str, family: str, number: str, **members: object) -> Body:
    return {
        "resourceType": "Patient",
        "id": id_,
        "name": [{"family": family}],
        "identifier": [{"system": "http://mrn", "value": number}],
        **members,
    }


PLAN = {"status": "active", "intent": "plan"}
STOCK: list[Body] = [
    {"resourceType": "Practitioner", "id": "p1", "name": [{"family": "Reed"}]},
    {"resourceType": "Practitioner", "id": "p2", "name": [{"family": "Ash"}]},
    {"resourceType": "PractitionerRole", "id": "r1", "practitioner": ref("Practitioner/p1"), "active": True},
    {"resourceType": "Organization", "id": "o1", "name": "Reed Clinic", "active": True},
    patient("ann", "Ash", "1", generalPractitioner=[ref("Practitioner/p1")], gender="female"),
    patient("bob", "Birch", "2", generalPractitioner=[ref("Organization/o1")], gender="male"),
    patient("cyd", "Cedar", "3"),
    {"resourceType": "CarePlan", "id": "plan1", "subject": ref("Patient/ann"), **PLAN},
    {"resourceType": "CarePlan", "id": "plan2", "subject": ref("Patient/bob"), **PLAN, "status": "draft"},
    {"resourceType": "PlanDefinition", "id": "tcm", "status": "active", "url": "http://x/tcm", "title": "Transition"},
    task("a", "ann", owner=ref("Practitioner/p1"), basedOn=[ref("CarePlan/plan1")]),
    task("b", "ann", owner=ref("PractitionerRole/r1"), status="completed"),
    task("c", "bob", owner=ref("Organization/o1"), basedOn=[ref("CarePlan/plan2")], partOf=[ref("Task/a")]),
    task("d", "cyd", focus=ref("CarePlan/plan1"), instantiatesCanonical="http://x/tcm|1"),
    task("e", "gone", owner=ref("http://elsewhere/fhir/Practitioner/p1")),
    {"resourceType": "Observation", "id": "o", "status": "final", "code": {"text": "x"}, "subject": ref("Patient/ann")},
]
CASES = [
    ("Task", "patient.identifier=http://mrn|1", "ab"),
    ("Task", "patient.identifier=1,2", "abc"),
    ("Task", "patient.identifier=4", ""),
    ("Task", "subject:Patient.name=ash", "ab"),
    ("Task", "subject.name=birch", "c"),
    ("Task", "subject.name:exact=birch", ""),
    ("Task", "patient.name:contains=ED", "d"),
    ("Task", "owner.name=reed", "ac"),
    ("Task", "owner:Practitioner.name=reed", "a"),
    ("Task", "owner.active=true", "bc"),
    ("Task", "owner.practitioner.name=reed", "b"),
    ("Task", "patient.general-practitioner.name=reed", "abc"),
    ("Task", "patient.general-practitioner:Organization.name=reed", "c"),
    ("Task", "patient.gender:missing=true", "d"),
    ("Task", "patient.gender:not=male", "abd"),
    ("Task", "based-on.status=active", "a"),
    ("Task", "focus:CarePlan.subject.identifier=1", "d"),
    ("Task", "part-of.patient.name=ash", "c"),
    ("Task", "patient._id=ann", "ab"),
    ("Task", "patient._lastUpdated=gt2020", "abcd"),
    ("Task", "instantiates-canonical.title=trans", "d"),
    ("Task", "patient.name=ash&status=completed", "b"),
    ("Task", "patient.name=ash&owner.name=reed", "a"),
    ("Task", "patient.name=ash&patient.name=birch", ""),
    ("Task", "patient._has:Observation:subject:status=final", "ab"),
    ("Patient", "_has:Task:patient:status=completed", ["ann"]),
    ("Patient", "_has:Task:patient:status=requested", ["ann", "bob", "cyd"]),
    ("Patient", "_has:Task:patient:status:not=completed", ["ann", "bob", "cyd"]),
    ("Patient", "_has:Task:patient:owner.name=reed", ["ann", "bob"]),
    ("Patient", "_has:Task:patient:owner=p1", ["ann"]),
    ("Patient", "_has:Task:patient:_has:Task:part-of:status=requested", ["ann"]),
    ("Patient", "_has:Task:patient:status=completed&_has:Observation:subject:status=final", ["ann"]),
    ("Patient", "_has:Task:patient:status=completed&gender=male", []),
    ("CarePlan", "_has:Task:based-on:status=requested", ["plan1", "plan2"]),
    ("CarePlan", "_has:Task:based-on:patient.name=birch", ["plan2"]),
    ("CarePlan", "_has:Task:focus:_id=d", ["plan1"]),
    ("Practitioner", "_has:Task:owner:status=requested", ["p1"]),
    ("Practitioner", "_has:PractitionerRole:practitioner:_has:Task:owner:status=completed", ["p1"]),
]


@pytest.fixture
def filled(database: Database) -> Database:
    put_all(database, STOCK)
    return database


@pytest.mark.requirement(28)
def test_a_chain_finds_what_the_specification_says(filled: Database) -> None:
    answers = [(type_, text, found(filled, type_, text)) for type_, text, _ in CASES]
    assert answers == [(type_, text, list(expected)) for type_, text, expected in CASES]


@pytest.mark.requirement(28)
def test_a_chain_finds_the_same_when_many_resources_refer(filled: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_links, "FEW_READ", 0)
    answers = [(type_, text, found(filled, type_, text)) for type_, text, _ in CASES]
    assert answers == [(type_, text, list(expected)) for type_, text, expected in CASES]


@pytest.mark.requirement(28)
@pytest.mark.parametrize(
    ("type_", "text", "seen"),
    [
        ("Task", "patient.name=ash", ""),
        ("Task", "patient.name=birch", "c"),
        ("Task", "part-of.status=requested", ""),
        ("Task", "owner.name=reed", "c"),
        ("Patient", "_has:Task:patient:status=requested", ["bob"]),
        ("Patient", "_has:Task:patient:part-of.status=requested", []),
    ],
)
def test_a_chain_tells_a_locked_viewer_nothing_of_what_they_may_not_see(
    filled: Database, type_: str, text: str, seen: list[str]
) -> None:
    assert found(filled, type_, text, locked("bob")) == list(seen)


def test_what_was_deleted_is_no_link(filled: Database) -> None:
    with filled.begin() as tx:
        put(tx, patient("ann", "Ash", "1"), 2, op="delete")
        put(tx, task("b", "ann"), 2, op="delete")
    assert found(filled, "Task", "patient.name=ash") == []
    assert found(filled, "Patient", "_has:Task:patient:status=completed") == []


def test_an_absolute_reference_to_elsewhere_is_no_link(filled: Database) -> None:
    assert "e" not in found(filled, "Task", "owner.name=reed")


@pytest.mark.parametrize(
    ("type_", "text"), [("Task", "patient.gender=female"), ("Patient", "_has:Task:patient:status=requested")]
)
def test_a_chain_that_meets_too_many_is_refused_as_too_costly(
    filled: Database, monkeypatch: pytest.MonkeyPatch, type_: str, text: str
) -> None:
    monkeypatch.setattr(search_links, "MOST_MET", 0)
    monkeypatch.setattr(search_links, "FEW_READ", 0)
    monkeypatch.setattr(search_links, "LOOKED_AT", ())
    with pytest.raises(Incorrect, match="narrower") as raised:
        found(filled, type_, text)
    assert raised.value.issues[0].code == "too-costly"


@pytest.mark.requirement(28)
def test_chains_by_hundreds_of_targets_are_found_like_few(database: Database) -> None:
    put_all(database, [patient(f"p{n}", "Ash" if n % 10 else "Elm", str(n)) for n in range(300)])
    put_all(database, [task(f"t{n}", f"p{n % 300}", status="requested" if n % 3 else "completed") for n in range(600)])
    assert len(found(database, "Task", "patient.name=ash&_count=100")) == 540
    assert len(found(database, "Task", "patient.name=ash&status=completed&_count=100")) == 180
    assert len(found(database, "Patient", "_has:Task:patient:status=completed&_count=100")) == 100
    assert len(found(database, "Patient", "_has:Task:patient:status=completed&name=elm")) == 10
