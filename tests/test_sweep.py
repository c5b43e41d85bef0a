"""The sweep: each level fires once, what is poisoned is put aside, and it costs what is due."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import Engine, event, select, text, update

from fhir_tracker import sweep
from fhir_tracker.brake import Limit
from fhir_tracker.model.effects import Escalate
from fhir_tracker.storage import heartbeats
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.running_tables import program
from fhir_tracker.storage.tables import resource
from fhir_tracker.storage.work_tables import work_item
from tests.support.clinic import MONDAY, NURSE, RING, Clinic, encounter

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
LATE = MONDAY + 2 * DAY
OFF = Limit(share=0, floor=0)


@pytest.fixture
def clinic(database: Database) -> Clinic:
    made = Clinic(database)
    enrol(made, 1)
    return made


def enrol(clinic: Clinic, patients: int, *, first: int = 0) -> list[str]:
    names = [f"p{n}" for n in range(first, first + patients)]
    for name in names:
        clinic.patient(name)
        clinic.put(encounter(name, MONDAY, id_=f"stay-{name}"), MONDAY)
    clinic.enrol(MONDAY)
    return names


def levels(clinic: Clinic, patient: str = "p0") -> list[tuple[str, int]]:
    return [(one.key.cycle, one.key.level) for one in clinic.firings(clinic.task(patient, "first-call").ref)]


def test_nothing_happens_before_the_time_and_everything_at_it(clinic: Clinic) -> None:
    clinic.sweep(LATE - timedelta(seconds=1))
    assert levels(clinic) == []
    assert clinic.sweep(LATE).escalated == 1
    assert levels(clinic) == [("0", 1)]


def test_the_ladder_climbs_by_its_times_and_ends(clinic: Clinic) -> None:
    clinic.sweep(LATE)
    clinic.sweep(LATE + 4 * HOUR - timedelta(seconds=1))
    assert len(levels(clinic)) == 1
    clinic.sweep(LATE + 4 * HOUR)
    clinic.sweep(LATE + 5 * HOUR)
    clinic.sweep(LATE + 30 * DAY)
    assert levels(clinic) == [("0", 1), ("0", 2), ("0", 3)]
    assert [one.role for one in clinic.escalations("p0")] == ["rn", "provider", "clinic-admin"]
    assert [one.priority for one in clinic.escalations("p0")] == ["routine", "urgent", "urgent"]
    assert clinic.task("p0", "first-call").escalation_level == 3


def test_a_long_stop_fires_one_level_and_the_next_ones_by_their_times(clinic: Clinic) -> None:
    clinic.sweep(LATE + 30 * DAY)
    assert levels(clinic) == [("0", 1)]


def test_the_same_sweep_ten_times_fires_once(clinic: Clinic) -> None:
    reports = [clinic.sweep(LATE) for _ in range(10)]
    assert [one.escalated for one in reports] == [1] + [0] * 9
    assert len(clinic.escalations("p0")) == 1
    assert len(clinic.notified(clinic.escalations("p0")[0].ref)) == 1


def test_a_clock_that_jumps_two_hours_to_and_fro_fires_once(clinic: Clinic) -> None:
    for hours in (0, 2, -2, 0, 2, -2, 0):
        clinic.sweep(LATE + hours * HOUR)
    assert levels(clinic) == [("0", 1)]
    assert len(clinic.escalations("p0")) == 1


def test_a_new_due_time_starts_a_new_cycle_that_fires_again(clinic: Clinic) -> None:
    clinic.sweep(LATE)
    ref = clinic.task("p0", "first-call").ref
    body = clinic.resource(ref)
    period = {"period": {"end": (LATE + DAY).isoformat()}}
    clinic.put(body | {"restriction": period}, LATE + HOUR, NURSE)
    clinic.sweep(LATE + DAY - timedelta(seconds=1))
    assert levels(clinic) == [("0", 1)]
    clinic.sweep(LATE + DAY)
    assert levels(clinic) == [("0", 1), ("1", 1)]


def test_reopened_work_is_late_again(clinic: Clinic) -> None:
    clinic.sweep(LATE)
    ref = clinic.task("p0", "first-call").ref
    clinic.move(ref, "reached", LATE + HOUR, NURSE, {"outreach.outcome": "reached", "note": "n"})
    clinic.sweep(LATE + 20 * DAY)
    clinic.move(ref, "calling", LATE + 20 * DAY, NURSE, {"reason": "It was the neighbour"})
    clinic.sweep(LATE + 20 * DAY)
    assert levels(clinic) == [("0", 1), ("1", 1)]


def break_program(clinic: Clinic, version: int) -> None:
    """A program version that this release cannot read any more."""
    with clinic.database.begin() as tx:
        tx.execute(text(f"DROP TRIGGER program_stays{' ON program' if tx.dialect == 'postgresql' else ''}"))
        is_it = (program.c.code == "ring") & (program.c.version == version)
        tx.execute(update(program).where(is_it).values(source="program: [broken"))


def test_work_of_an_unreadable_program_version_is_postponed_and_the_rest_goes_on(clinic: Clinic) -> None:
    clinic.program = clinic.publish(RING + "\n", MONDAY)
    enrol(clinic, 3, first=1)
    break_program(clinic, 1)
    report = clinic.sweep(LATE)
    assert (report.escalated, report.postponed) == (3, 2)
    poisoned = clinic.task("p0", "first-call")
    assert poisoned.next_action_at == LATE + sweep.POISONED_FOR
    with clinic.database.read() as tx:
        beat = next(one for one in heartbeats.all(tx) if one.rule == "*")
    assert beat.failed == 2
    assert clinic.sweep(LATE).items == 0


def test_an_item_whose_effect_cannot_be_applied_is_postponed_alone(clinic: Clinic) -> None:
    enrol(clinic, 2, first=1)
    ref = clinic.task("p0", "first-call").ref
    with clinic.database.begin() as tx:
        tx.execute(
            update(work_item).where(work_item.c.ref == ref).values(hold_until=LATE, clock="paused", status="waiting")
        )
        tx.execute(update(resource).where(resource.c.id == ref.split("/")[1]).values(body="{not json"))
    report = clinic.sweep(LATE)
    assert (report.escalated, report.postponed) == (2, 1)
    assert clinic.item(ref).next_action_at == LATE + sweep.POISONED_FOR


def test_an_answer_to_a_claim_that_was_lost_is_not_applied(clinic: Clinic) -> None:
    database = clinic.database
    slow = sweep.judge_batch(database, LATE, 10)
    clinic.sweep(LATE + sweep.LEASE + HOUR)
    before = levels(clinic)
    report = sweep.apply_batch(database, slow, LATE)
    assert (report.escalated, levels(clinic)) == (0, before)


def test_an_answer_to_work_that_changed_meanwhile_is_not_applied(clinic: Clinic) -> None:
    slow = sweep.judge_batch(clinic.database, LATE, 10)
    assert any(isinstance(effect, Escalate) for one in slow if one.evaluation for effect in one.evaluation.effects)
    ref = clinic.task("p0", "first-call").ref
    clinic.move(ref, "reached", LATE, NURSE, {"outreach.outcome": "reached", "note": "n"})
    assert sweep.apply_batch(clinic.database, slow, LATE).applied == 0
    assert clinic.escalations("p0") == []


def test_each_rule_has_a_heartbeat_that_counts(clinic: Clinic) -> None:
    clinic.sweep(LATE)
    with clinic.database.read() as tx:
        beats = {one.rule: one for one in heartbeats.all(tx)}
    assert (beats["late"].last_evaluated, beats["late"].fired) == (LATE, 1)
    assert beats["late"].matched >= 1
    assert beats["missed"].fired == 0


def statements_to_judge(database: Database, size: int) -> int:
    counted = list[str]()

    def count(connection: object, cursor: object, statement: str, *rest: object) -> None:
        counted.append(statement)

    event.listen(Engine, "before_cursor_execute", count)
    try:
        assert len(sweep.judge_batch(database, LATE, size)) == size
    finally:
        event.remove(Engine, "before_cursor_execute", count)
    return len(counted)


def test_judging_a_batch_takes_as_many_statements_for_three_items_as_for_forty(database: Database) -> None:
    clinic = Clinic(database)
    enrol(clinic, 22)
    few, many = statements_to_judge(database, 3), statements_to_judge(database, 40)
    assert few == many <= 12


def test_work_outside_programs_is_looked_at_once_and_left_alone(clinic: Clinic) -> None:
    clinic.put({"resourceType": "Task", "id": "t", "status": "requested", "intent": "order"}, MONDAY)
    clinic.sweep(LATE)
    assert clinic.item("Task/t").next_action_at is None
    assert clinic.firings("Task/t") == ()


def test_a_sweep_in_small_batches_does_the_same(clinic: Clinic) -> None:
    enrol(clinic, 6, first=1)
    report = sweep.settle(clinic.database, LATE, sweep.Limits(batch=2, brake=OFF))
    assert report.escalated == 7
    with clinic.database.read() as tx:
        due = tx.rows(select(work_item.c.ref).where(work_item.c.open, work_item.c.next_action_at <= LATE))
    assert due == []


def test_a_pile_larger_than_one_sweep_is_worked_off(database: Database) -> None:
    clinic = Clinic(database)
    enrol(clinic, sweep.BATCHES + 5)
    first = sweep.sweep(database, LATE, sweep.Limits(batch=1, brake=OFF))
    assert first.items == sweep.BATCHES
    for _ in range(12):
        if not sweep.sweep(database, LATE, sweep.Limits(batch=1, brake=OFF)).items:
            break
    assert all(levels(clinic, f"p{n}") == [("0", 1)] for n in range(sweep.BATCHES + 5))
