"""The mass-escalation brake: it stops what is too much at once, asks a person, and lets everything out after release."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from fhir_tracker import brake, enrolment, sweep
from fhir_tracker.brake import Limit
from fhir_tracker.fhir.checks import check
from fhir_tracker.fhir.dates import instant
from fhir_tracker.model.program import Program
from fhir_tracker.storage import work_items
from fhir_tracker.storage.database import Database
from tests.support.clinic import MONDAY, NURSE, RING, SYSTEM, Clinic
from tests.support.crowd import LATE, discharge_many

HOUR = timedelta(hours=1)
LIMITS = sweep.Limits(brake=Limit(share=0.1, floor=3))


@pytest.fixture
def clinic(database: Database) -> Clinic:
    made = Clinic(database)
    discharge_many(made, 8)
    made.enrol(MONDAY)
    return made


def admin_tasks(clinic: Clinic) -> list[str]:
    return [one["id"] for one in clinic.stored("Task") if one["code"].get("text") == "Mass escalation stopped"]


def escalated(clinic: Clinic) -> int:
    return sum(len(clinic.escalations(f"p{n}")) for n in range(8))


def test_above_share_and_floor_it_stops_every_escalation_and_asks_the_admin_once(clinic: Clinic) -> None:
    for minutes in (0, 11, 22):
        report = sweep.settle(clinic.database, LATE + timedelta(minutes=minutes), LIMITS)
        assert (report.escalated, report.held) == (0, 8)
    assert escalated(clinic) == 0
    (task,) = admin_tasks(clinic)
    item = clinic.item(f"Task/{task}")
    assert (item.role, item.priority, item.open) == ("clinic-admin", "urgent", True)
    body = clinic.resource(f"Task/{task}")
    assert "8 of 8 open tasks of the program ring" in body["reasonCode"]["text"]
    assert [issue for issue in check(body) if issue.severity in ("error", "fatal")] == []


@pytest.mark.parametrize("limit", [Limit(share=0.1, floor=8), Limit(share=1, floor=0), Limit(share=0, floor=0)])
def test_up_to_share_or_floor_and_with_share_zero_everything_goes_out(clinic: Clinic, limit: Limit) -> None:
    assert sweep.settle(clinic.database, LATE, sweep.Limits(brake=limit)).escalated == 8
    assert admin_tasks(clinic) == []


def test_other_effects_go_on_while_it_is_on(clinic: Clinic) -> None:
    call = clinic.task("p0", "first-call").ref
    clinic.move(call, "waiting", MONDAY, NURSE, {"hold.until": instant(LATE), "reason": "Records"})
    report = sweep.settle(clinic.database, LATE, LIMITS)
    assert (report.held, escalated(clinic)) == (7, 0)
    assert clinic.item(call).status == "to-call"


def test_held_work_is_looked_at_again_soon(clinic: Clinic) -> None:
    sweep.settle(clinic.database, LATE, LIMITS)
    assert clinic.task("p0", "first-call").next_action_at == LATE + sweep.BRAKED_FOR


def test_release_lets_everything_out_once_and_closes_the_admins_task(clinic: Clinic) -> None:
    sweep.settle(clinic.database, LATE, LIMITS)
    with clinic.database.begin() as tx:
        released = brake.release(tx, LATE + HOUR)
        assert brake.engaged(tx) is None
        assert brake.release(tx, LATE + HOUR) is None
    assert released is not None
    assert (released.escalations, released.open_items) == (8, 8)
    assert not clinic.item(released.task).open
    for minutes in (60, 61, 62):
        sweep.settle(clinic.database, LATE + timedelta(minutes=minutes), LIMITS)
    assert escalated(clinic) == 8
    assert len(admin_tasks(clinic)) == 1


def test_long_after_a_release_it_stops_the_next_mass_again(clinic: Clinic) -> None:
    sweep.settle(clinic.database, LATE, LIMITS)
    with clinic.database.begin() as tx:
        brake.release(tx, LATE)
    sweep.settle(clinic.database, LATE, LIMITS)
    report = sweep.settle(clinic.database, LATE + 4 * HOUR, LIMITS)
    assert (report.held, len(admin_tasks(clinic))) == (8, 2)


def test_two_sweeps_that_trip_it_at_once_ask_once(clinic: Clinic) -> None:
    def held(_: int) -> frozenset[str]:
        with clinic.database.begin() as tx:
            return brake.held(tx, {("ring", "task"): 8}, LIMITS.brake, LATE)

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(held, range(2))) == [{"ring"}, {"ring"}]
    assert len(admin_tasks(clinic)) == 1


def other_program(clinic: Clinic) -> Program:
    """A second program that brings nobody in by itself."""
    return clinic.publish(RING.replace("program: ring", "program: other").replace("class: IMP", "class: SS"), MONDAY)


def test_it_stops_one_program_and_lets_the_others_go_on(clinic: Clinic) -> None:
    other = other_program(clinic)
    for number in range(8):
        with clinic.acting(MONDAY if number < 2 else MONDAY + timedelta(days=1)) as (tx, by):
            enrolment.by_hand(tx, other, f"p{number}", by)
    with clinic.database.begin() as tx:
        for number in range(8):
            mine = work_items.of_patient(tx, SYSTEM, f"p{number}")
            is_other = [one for one in mine if one.program == "other" and one.kind == "task"]
            assert len(is_other) == 1
    limits = sweep.Limits(brake=Limit(share=0.6, floor=3))
    with clinic.database.begin() as tx:
        assert brake.held(tx, {("ring", "task"): 8, ("other", "task"): 1}, limits.brake, LATE) == {"ring"}
        (on,) = brake.all_engaged(tx)
        assert (on.program, on.escalations, on.open_items) == ("ring", 8, 8)
        assert brake.release(tx, LATE, "other") is None
        assert brake.release(tx, LATE, "ring") == on
        assert brake.all_engaged(tx) == []


def test_the_sum_of_all_programs_stops_all_of_them(clinic: Clinic) -> None:
    other_program(clinic)
    planned = {("ring", "task"): 3, ("other", "task"): 3}
    with clinic.database.begin() as tx:
        assert brake.held(tx, planned, Limit(share=0.6, floor=3), LATE) == {"ring", "other"}
        (on,) = brake.all_engaged(tx)
        assert (on.program, on.escalations, on.open_items) == (brake.ALL, 6, 8)


def test_what_other_sweeps_of_these_minutes_escalated_counts(clinic: Clinic) -> None:
    limits = sweep.Limits(batch=2, brake=Limit(share=0.6, floor=0))
    first = sweep.judge_batch(clinic.database, MONDAY, 100)
    sweep.apply_batch(clinic.database, first, MONDAY)
    some = [one for one in sweep.judge_batch(clinic.database, LATE, 8) if one.wanted][:4]
    assert sweep.apply_batch(clinic.database, some, LATE).escalated == 4
    report = sweep.sweep(clinic.database, LATE + sweep.LEASE + timedelta(minutes=1), limits)
    assert (report.escalated, report.held > 0) == (0, True)
