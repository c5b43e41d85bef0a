"""A step on many tasks leaves what the same steps one by one leave; one that fails spoils no other and is told once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from fhir_tracker import bulk_moves, transitions
from fhir_tracker.bulk_moves import Result, Step, Wanted
from fhir_tracker.errors import Incorrect, TooLarge
from fhir_tracker.model.moves import MoveRequest
from fhir_tracker.storage.database import Database, Tx
from fhir_tracker.transitions import OpenTask
from tests.support.clinic import COORDINATOR, EVERYONE, FRONT_DESK, MONDAY, NURSE, Clinic, author
from tests.test_status_model import PROGRAM, document

PEOPLE = ("ann", "bob", "cid", "dan")
LATER = MONDAY + timedelta(hours=2)
MOVES: dict[str, Step] = {
    "drop": bulk_moves.moving(MoveRequest(to="dropped", fields={"reason": "Not wanted"})),
    "without a reason": bulk_moves.moving(MoveRequest(to="dropped")),
    "claim": bulk_moves.assigning(NURSE.who),
    "hand": bulk_moves.giving("front-desk", "Theirs"),
    "rank": bulk_moves.ranking("urgent"),
}


def clinic_of(database: Database) -> Clinic:
    clinic = Clinic(database, PROGRAM)
    for who in PEOPLE:
        clinic.patient(who)
        clinic.discharge(who, MONDAY)
    clinic.sweep(LATER)
    return clinic


def wanted(clinic: Clinic, spoiled: bool) -> list[Wanted]:
    """All work that can be done; `spoiled`: all, escalations too, some with a wrong version, and what is not there."""
    if not spoiled:
        return [Wanted(ref=clinic.task(who, code).ref) for who in PEOPLE for code in ("call", "visit")]
    found: list[Wanted] = []
    for number, who in enumerate(PEOPLE):
        for one in sorted((x for x in clinic.items(who) if x.kind != "plan"), key=lambda x: (x.kind, x.code)):
            version = int(clinic.resource(one.ref)["meta"]["versionId"]) + (7 if number == 1 else 0)
            found.append(Wanted(ref=one.ref, version=version if number < 2 else None))
    found.insert(3, Wanted(ref="Task/none"))
    return found


def shape(clinic: Clinic, results: list[Result]) -> list[Any]:
    """What became of it all, without ids and moments."""
    told = [(one.outcome, one.why, one.title, len(one.issues)) for one in results]
    items = [
        (who, one.kind, one.code, one.status, one.owner, one.role, one.priority, one.open, one.escalation_level)
        for who in PEOPLE
        for one in clinic.items(who)
    ]
    rows = [
        [(row.what, row.before, row.after, row.who, row.reason) for row in clinic.log(one.ref)]
        for who in PEOPLE
        for one in clinic.items(who)
    ]
    flags = sorted((one["subject"]["reference"], one["status"]) for one in clinic.stored("Flag"))
    return [told, sorted(map(str, items)), sorted(map(str, rows)), flags, len(clinic.stored("Provenance"))]


@pytest.mark.requirement(133)
@pytest.mark.parametrize("spoiled", [True, False])
@pytest.mark.parametrize("name", MOVES)
def test_many_at_a_time_leave_what_one_by_one_leaves(
    database: Database, prepared_file: Any, tmp_path: Any, name: str, spoiled: bool
) -> None:
    path = tmp_path / "other.db"
    path.write_bytes(prepared_file.read_bytes())
    other = Database.open(f"sqlite:///{path}")
    shapes = []
    for store, size in ((database, 25), (other, 1)):
        clinic = clinic_of(store)
        acted: list[str] = []

        def noted(tx: Tx, task: OpenTask, seen: list[str] = acted) -> None:
            seen.append(task.item.ref)

        by = author(LATER + timedelta(minutes=1), EVERYONE)
        asked = wanted(clinic, spoiled)
        found = bulk_moves.each(store, asked, MOVES[name], by, noted, at_a_time=size)
        assert [one.ref for one in found] == [one.ref for one in asked], "the results are in order"
        done = [one.ref for one in found if one.outcome == "done"]
        assert set(done) <= set(acted)
        shapes.append(shape(clinic, found))
    other.close()
    assert shapes[0] == shapes[1]
    outcomes = {one[0] for one in shapes[0][0]}
    assert ("failed" in outcomes) is (spoiled or name == "without a reason")
    assert ("done" in outcomes) is (name != "without a reason")


@pytest.mark.parametrize("bad", ["Task/none", "closed", "stale"])
def test_one_bad_item_spoils_no_other_wherever_it_stands(database: Database, bad: str) -> None:
    clinic = clinic_of(database)
    refs = [clinic.task(who, "visit").ref for who in PEOPLE]
    spoiled = Wanted(ref=bad)
    if bad == "closed":
        clinic.move(refs[1], "dropped", LATER, fields={"reason": "x"})
        spoiled = Wanted(ref=refs.pop(1))
    elif bad == "stale":
        spoiled = Wanted(ref=refs.pop(1), version=77)
    for place in range(len(refs) + 1):
        some = [Wanted(ref=one) for one in refs]
        some.insert(place, spoiled)
        step = bulk_moves.assigning((NURSE, COORDINATOR)[place % 2].who)
        found = bulk_moves.each(database, some, step, author(LATER + timedelta(minutes=place), EVERYONE))
        assert [one.outcome for one in found].count("failed") == 1
        assert found[place].outcome == "failed"
        assert [clinic.item(one).owner for one in refs] == [(NURSE, COORDINATOR)[place % 2].who] * len(refs)


def test_the_last_tasks_of_a_plan_closed_in_one_step_complete_it_once(database: Database) -> None:
    clinic = clinic_of(database)
    paper = document(clinic, "paper", "ann")
    refs = [clinic.task("ann", code).ref for code in ("call", "visit")]
    for ref in refs:
        clinic.attempt(ref, LATER)
    step = bulk_moves.moving(MoveRequest(to="done", fields={"document": paper, "field.location": "Location/clinic"}))
    found = bulk_moves.each(
        database, [Wanted(ref=ref) for ref in refs], step, author(LATER + timedelta(minutes=1), EVERYONE)
    )
    assert [one.outcome for one in found] == ["done", "done"]
    (plan,) = [one for one in clinic.items("ann") if one.kind == "plan"]
    assert (plan.status, plan.open) == ("finished", False)
    assert [row.after for row in clinic.log(plan.ref) if row.what == "stage"] == ["enrolled", "finished"]
    assert not any(one.open for one in clinic.escalations("ann")), "what was escalated is resolved with the work"


def test_what_one_may_not_do_is_refused_for_that_one_alone(database: Database) -> None:
    clinic = clinic_of(database)
    raised = clinic.escalations("ann")[0].ref
    call = clinic.task("bob", "call").ref
    some = [Wanted(ref=call), Wanted(ref=raised), Wanted(ref=clinic.task("cid", "call").ref)]
    found = bulk_moves.each(database, some, bulk_moves.giving("front-desk"), author(LATER, FRONT_DESK))
    assert [one.outcome for one in found] == ["done", "failed", "done"]
    with database.read() as tx:
        assert transitions.find_task(tx, EVERYONE, raised).item.role == "rn"


def test_a_step_takes_so_many_and_each_once(database: Database) -> None:
    clinic = clinic_of(database)
    ref, by = clinic.task("ann", "call").ref, author(LATER, EVERYONE)
    many = [Wanted(ref=f"Task/{number}") for number in range(bulk_moves.MOST + 1)]
    with pytest.raises(TooLarge, match="at most 1000"):
        bulk_moves.each(database, many, MOVES["claim"], by)
    with pytest.raises(Incorrect, match="more than once"):
        bulk_moves.each(database, [Wanted(ref=ref), Wanted(ref=ref, version=1)], MOVES["claim"], by)
    assert bulk_moves.each(database, [], MOVES["claim"], by) == []
    assert clinic.item(ref).owner is None
