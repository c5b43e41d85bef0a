"""How patients come into a program: by its own rule, once, and by hand."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, event

from fhir_tracker import enrolment
from fhir_tracker.errors import Busy, NotFound, RuleBroken
from fhir_tracker.fhir.checks import check
from fhir_tracker.fhir.dates import instant
from fhir_tracker.model.work import WorkItem
from fhir_tracker.rules.eligibility import turns_with_time, types_asked
from fhir_tracker.rules.program_file import read_program
from fhir_tracker.storage import enrolments
from fhir_tracker.storage.database import Database
from tests.support.clinic import COORDINATOR, MONDAY, RING, SYSTEM, Clinic, encounter

DAY = timedelta(days=1)


@pytest.fixture
def clinic(database: Database) -> Clinic:
    made = Clinic(database)
    made.patient("ann")
    return made


def plans(clinic: Clinic, patient: str = "ann") -> list[WorkItem]:
    return [item for item in clinic.items(patient) if item.kind == "plan"]


def test_a_discharge_opens_one_plan_with_its_tasks(clinic: Clinic) -> None:
    clinic.discharge("ann", MONDAY)
    (plan,) = plans(clinic)
    assert (plan.status, plan.fhir_status, plan.program_version) == ("enrolled", "active", 1)
    assert [item.code for item in clinic.items("ann") if item.kind == "task"] == ["first-call"]


def test_the_same_discharge_enrols_once_however_often_it_is_told(clinic: Clinic) -> None:
    for minute in range(4):
        clinic.put(encounter("ann", MONDAY, id_="stay"), MONDAY + timedelta(minutes=minute))
        clinic.enrol(MONDAY + timedelta(minutes=minute))
    assert len(plans(clinic)) == 1


def test_reading_the_change_log_again_enrols_nobody_twice(clinic: Clinic) -> None:
    clinic.discharge("ann", MONDAY)
    again = Clinic(clinic.database)
    assert again.program.version == 1
    new = clinic.publish(RING + "\n", MONDAY)
    assert new.version == 2
    with clinic.acting(MONDAY) as (tx, _):
        found = enrolment.consume(tx, new, MONDAY)
    assert (found.changes > 0, found.enrolled) == (True, 0)
    assert len(plans(clinic)) == 1


def test_a_new_version_looks_at_everybody_again(clinic: Clinic) -> None:
    clinic.put(encounter("ann", MONDAY, id_="stay") | {"class": {"code": "EMER"}}, MONDAY)
    assert clinic.enrol(MONDAY) == 0
    wider = clinic.publish(RING.replace("class: IMP", "class: EMER"), MONDAY)
    with clinic.acting(MONDAY) as (tx, _):
        assert enrolment.consume(tx, wider, MONDAY).enrolled == 1
    (plan,) = plans(clinic)
    assert plan.program_version == 2


def test_a_second_stay_opens_a_second_plan(clinic: Clinic) -> None:
    clinic.discharge("ann", MONDAY)
    clinic.discharge("ann", MONDAY + 10 * DAY, id_="second")
    assert len(plans(clinic)) == 2


def test_an_old_discharge_does_not_enrol(clinic: Clinic) -> None:
    clinic.put(encounter("ann", MONDAY - 31 * DAY, id_="stay"), MONDAY)
    assert clinic.enrol(MONDAY) == 0


def test_a_stay_that_goes_on_does_not_enrol_until_it_ends(clinic: Clinic) -> None:
    clinic.put(encounter("ann", MONDAY, id_="stay", status="in-progress"), MONDAY)
    assert clinic.enrol(MONDAY) == 0
    clinic.put(encounter("ann", MONDAY, id_="stay"), MONDAY)
    assert clinic.enrol(MONDAY) == 1


def test_nobody_is_enrolled_after_death(clinic: Clinic) -> None:
    clinic.put({"resourceType": "Patient", "id": "ann", "deceasedDateTime": "2026-03-08"}, MONDAY)
    clinic.put(encounter("ann", MONDAY, id_="stay"), MONDAY)
    assert clinic.enrol(MONDAY) == 0


def test_a_deleted_discharge_does_not_enrol(clinic: Clinic) -> None:
    clinic.put(encounter("ann", MONDAY, id_="stay"), MONDAY)
    clinic.remove("Encounter/stay", MONDAY)
    assert clinic.enrol(MONDAY) == 0


def test_two_consumers_at_once_open_one_plan_a_patient(clinic: Clinic) -> None:
    names = [f"p{n}" for n in range(8)]
    for name in names:
        clinic.patient(name)
        clinic.put(encounter(name, MONDAY, id_=f"stay-{name}"), MONDAY)
    together, opened = threading.Barrier(2), list[int]()

    def consume() -> None:
        together.wait()
        try:
            opened.append(clinic.enrol(MONDAY))
        except Busy:
            opened.append(0)

    workers = [threading.Thread(target=consume) for _ in range(2)]
    for one in workers:
        one.start()
    for one in workers:
        one.join()
    opened.append(clinic.enrol(MONDAY))
    assert sum(opened) == len(names)
    assert [len(plans(clinic, name)) for name in names] == [1] * len(names)


def test_the_log_is_read_in_pieces_and_says_when_more_waits(clinic: Clinic) -> None:
    for n in range(5):
        clinic.put(encounter(f"p{n}", MONDAY, id_=f"stay-{n}"), MONDAY)
    with clinic.acting(MONDAY) as (tx, _):
        first = enrolment.consume(tx, clinic.program, MONDAY, limit=3)
    assert (first.changes, first.more) == (3, True)
    while first.more:
        with clinic.acting(MONDAY) as (tx, _):
            first = enrolment.consume(tx, clinic.program, MONDAY, limit=3)
    assert all(len(plans(clinic, f"p{n}")) == 1 for n in range(5))


def test_the_plan_is_a_valid_care_plan_that_says_what_it_is(clinic: Clinic) -> None:
    stay = clinic.discharge("ann", MONDAY)
    (item,) = plans(clinic)
    plan, task = clinic.resource(item.ref), clinic.task("ann", "first-call")
    assert [issue for issue in check(plan) if issue.severity in ("error", "fatal")] == []
    assert "First call" in plan["text"]["div"]
    assert plan["category"][0]["coding"][0]["code"] == "assess-plan"
    assert (
        plan["instantiatesCanonical"]
        == [clinic.program.canonical]
        == ["https://fhir-tracker.example/PlanDefinition/ring|1"]
    )
    assert plan["activity"] == [{"reference": {"reference": task.ref, "display": "First call"}}]
    assert plan["supportingInfo"] == [{"reference": stay}]
    body = clinic.resource(task.ref)
    assert [issue for issue in check(body) if issue.severity in ("error", "fatal")] == []
    assert body["basedOn"] == [{"reference": item.ref}]
    (written,) = clinic.provenance(item.ref)
    assert {one["reference"] for one in written["target"]} == {f"{item.ref}/_history/1", f"{task.ref}/_history/1"}


def test_due_times_count_working_time_from_the_discharge(database: Database) -> None:
    text = RING.replace("within: 2 days", "within: 2 business days")
    friday = datetime(2026, 7, 2, 20, 0, tzinfo=UTC)
    clinic = Clinic(database, text, at=friday)
    clinic.patient("ann")
    clinic.discharge("ann", friday)
    due = clinic.task("ann", "first-call").due_at
    assert due is not None
    assert due.date() == datetime(2026, 7, 7, tzinfo=UTC).date()


def test_a_person_can_enrol_by_hand_and_not_twice(clinic: Clinic) -> None:
    with clinic.acting(MONDAY, COORDINATOR) as (tx, by):
        enrolment.by_hand(tx, clinic.program, "ann", by, reason="Asked by the family")
    with clinic.acting(MONDAY, COORDINATOR) as (tx, by), pytest.raises(RuleBroken, match="open plan"):
        enrolment.by_hand(tx, clinic.program, "ann", by)
    (plan,) = plans(clinic)
    assert "Asked by the family" in clinic.resource(plan.ref)["text"]["div"]
    assert clinic.task("ann", "first-call").due_at == MONDAY + 2 * DAY


def test_after_a_plan_is_closed_the_patient_can_be_enrolled_by_hand_again(clinic: Clinic) -> None:
    for day in range(3):
        with clinic.acting(MONDAY + day * DAY, COORDINATOR) as (tx, by):
            made = enrolment.by_hand(tx, clinic.program, "ann", by)
        clinic.put(clinic.resource(made.ref) | {"status": "revoked"}, MONDAY + day * DAY)
    assert [plan.open for plan in plans(clinic)] == [False] * 3
    with clinic.database.read() as tx:
        assert len(enrolments.of_patient(tx, SYSTEM, "ann")) == 3


def test_two_people_who_enrol_by_hand_at_once_open_one_plan(clinic: Clinic) -> None:
    together = threading.Barrier(2)

    def enrol() -> None:
        together.wait()
        try:
            with clinic.acting(MONDAY, COORDINATOR) as (tx, by):
                enrolment.by_hand(tx, clinic.program, "ann", by)
        except (RuleBroken, Busy):
            pass

    people = [threading.Thread(target=enrol) for _ in range(2)]
    for one in people:
        one.start()
    for one in people:
        one.join()
    assert len(plans(clinic)) == 1


def test_an_unknown_patient_cannot_be_enrolled(clinic: Clinic) -> None:
    with clinic.acting(MONDAY, COORDINATOR) as (tx, by), pytest.raises(NotFound):
        enrolment.by_hand(tx, clinic.program, "nobody", by)


def test_the_anchor_is_the_moment_of_the_discharge_not_of_its_news(clinic: Clinic) -> None:
    clinic.put(encounter("ann", MONDAY - DAY, id_="stay"), MONDAY)
    clinic.enrol(MONDAY)
    assert clinic.task("ann", "first-call").due_at == MONDAY + DAY
    (plan,) = plans(clinic)
    assert instant(MONDAY - DAY) in str(clinic.resource(plan.ref)["extension"])


OTHER = RING.replace("program: ring", "program: buzz").replace("title: Ring", "title: Buzz")


def test_programs_that_stand_at_one_place_read_together_and_each_opens_its_own_plan(clinic: Clinic) -> None:
    other = clinic.publish(OTHER, MONDAY)
    clinic.put(encounter("ann", MONDAY, id_="stay"), MONDAY)
    found = enrolment.consume_all(clinic.database, [clinic.program, other], MONDAY)
    assert (found.enrolled, found.more) == (2, False)
    assert {item.program for item in plans(clinic)} == {"ring", "buzz"}


def test_programs_that_stand_at_different_places_each_read_on_from_their_own(clinic: Clinic) -> None:
    clinic.discharge("ann", MONDAY)
    other = clinic.publish(OTHER, MONDAY)
    total = 0
    for _ in range(50):
        found = enrolment.consume_all(clinic.database, [clinic.program, other], MONDAY, limit=3)
        total += found.enrolled
        if not found.more:
            break
    assert (total, sorted(item.program or "" for item in plans(clinic))) == (1, ["buzz", "ring"])


def test_looking_when_nothing_is_new_writes_nothing(clinic: Clinic) -> None:
    clinic.discharge("ann", MONDAY)
    while enrolment.consume_all(clinic.database, [clinic.program], MONDAY).changes:
        pass
    written: list[str] = []

    def seen(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        written.append(statement)

    event.listen(Engine, "before_cursor_execute", seen)
    try:
        found = enrolment.consume_all(clinic.database, [clinic.program], MONDAY)
    finally:
        event.remove(Engine, "before_cursor_execute", seen)
    assert found == enrolment.Consumed()
    assert [one for one in written if one.startswith(("INSERT", "UPDATE", "DELETE", "BEGIN IMMEDIATE"))] == []


def test_what_a_rule_looks_at_is_read_from_all_of_it_and_so_is_whether_time_can_turn_it() -> None:
    wide = 'all: [{Condition: {code: "http://x.org|a"}}, {not: {any: [{Flag: {status: active}}, {Encounter: {class: IMP}}]}}]'
    timeless = read_program(RING.replace("any: [{Encounter: {status: finished, class: IMP, within: 30 days}}]", wide))
    timed = read_program(RING.replace("any: [{Encounter: {status: finished, ", f"{wide[:-1]}, {{Encounter: {{"))
    assert (types_asked(timeless), turns_with_time(timeless)) == (frozenset({"Condition", "Flag", "Encounter"}), False)
    assert turns_with_time(timed)
