"""Rules that fall silent, items that fail: broken on purpose, told to a person, and closed by themselves when mended."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from sqlalchemy import update

from fhir_tracker import poison, rule_watch, sweep
from fhir_tracker.brake import Limit
from fhir_tracker.fhir.checks import check
from fhir_tracker.storage import heartbeats, poisoned
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.work_tables import work_item
from tests.support.clinic import MONDAY, RING, Clinic

HOUR = timedelta(hours=1)
LIMITS = sweep.Limits(brake=Limit(share=0, floor=0))


@pytest.fixture
def clinic(database: Database) -> Clinic:
    made = Clinic(database)
    for name in ("ann", "bob"):
        made.patient(name)
        made.discharge(name, MONDAY)
    return made


def watch(clinic: Clinic, at: datetime) -> list[str]:
    with clinic.database.begin() as tx:
        return rule_watch.watch(tx, at, HOUR)


def dead_rules(clinic: Clinic) -> dict[str, bool]:
    found = [one for one in clinic.stored("Task") if one["code"].get("text", "").startswith("Silent rule")]
    return {one["id"]: clinic.item(f"Task/{one['id']}").open for one in found}


def test_a_rule_that_is_asked_now_and_then_is_never_dead_since_some_of_its_work_is_looked_at(clinic: Clinic) -> None:
    clinic.sweep(MONDAY)
    assert clinic.task("ann", "first-call").next_action_at == MONDAY + 48 * HOUR
    for hours in range(8):
        assert watch(clinic, MONDAY + hours * HOUR) == []
        clinic.sweep(MONDAY + hours * HOUR)
    with clinic.database.read() as tx:
        late = next(one for one in heartbeats.all(tx) if one.rule == "late")
    assert late.last_evaluated > MONDAY + 5 * HOUR
    assert dead_rules(clinic) == {}


def test_a_rule_that_nobody_asks_is_an_alert_once_and_closes_by_itself(clinic: Clinic) -> None:
    clinic.sweep(MONDAY)
    for hours in range(6):
        dead = watch(clinic, MONDAY + hours * HOUR)
        assert ("ring#late" in dead) == (hours > 2), hours
    task = next(one for one, is_open in dead_rules(clinic).items() if is_open)
    assert len(dead_rules(clinic)) == len(clinic.program.rules)
    body = clinic.resource(f"Task/{task}")
    assert "not asked for 3.0 hours" in body["reasonCode"]["text"]
    assert [issue for issue in check(body) if issue.severity in ("error", "fatal")] == []
    item = clinic.item(f"Task/{task}")
    assert (item.role, item.open) == ("clinic-admin", True)
    clinic.sweep(MONDAY + 6 * HOUR)
    assert watch(clinic, MONDAY + 6 * HOUR) == []
    assert set(dead_rules(clinic).values()) == {False}


def test_a_program_without_open_work_has_no_silent_rules(clinic: Clinic) -> None:
    with clinic.database.begin() as tx:
        tx.execute(update(work_item).values(open=False))
    assert [watch(clinic, MONDAY + hours * HOUR) for hours in range(6)] == [[]] * 6


def fail_for(clinic: Clinic, ref: str, at: datetime, times: int) -> list[datetime]:
    """When the item is tried again after each of so many failures."""
    untils = []
    for _ in range(times):
        with clinic.database.begin() as tx:
            untils.append(poison.note(tx, clinic.item(ref), "a mistake", at))
        at = untils[-1]
    return untils


def test_a_poisoned_item_waits_ever_longer_up_to_a_day_and_is_shown(clinic: Clinic) -> None:
    ref = clinic.task("ann", "first-call").ref
    at, waits = MONDAY, []
    for until in fail_for(clinic, ref, MONDAY, 7):
        waits.append(until - at)
        at = until
    assert waits == [timedelta(hours=hours) for hours in (1, 2, 4, 8, 16, 24, 24)]
    with clinic.database.read() as tx:
        (one,) = poisoned.all(tx)
        assert (one.ref, one.program, one.times, one.since, one.reason) == (ref, "ring", 7, MONDAY, "a mistake")
        assert poisoned.counts(tx) == {"ring": 1}


def test_it_is_tried_again_when_the_program_has_a_new_version_or_the_item_changes_and_forgotten_when_it_works(
    clinic: Clinic,
) -> None:
    ref = clinic.task("ann", "first-call").ref
    fail_for(clinic, ref, MONDAY, 3)
    with clinic.database.begin() as tx:
        tx.execute(update(work_item).where(work_item.c.ref == ref).values(next_action_at=MONDAY + 24 * HOUR))
    clinic.publish(RING + "\n", MONDAY + HOUR)
    assert clinic.item(ref).next_action_at == MONDAY + HOUR
    clinic.sweep(MONDAY + HOUR)
    with clinic.database.read() as tx:
        assert poisoned.all(tx) == []


def test_a_person_can_let_poisoned_items_of_one_program_be_tried_again(clinic: Clinic) -> None:
    ref = clinic.task("ann", "first-call").ref
    fail_for(clinic, ref, MONDAY, 1)
    with clinic.database.begin() as tx:
        tx.execute(update(work_item).where(work_item.c.ref == ref).values(next_action_at=MONDAY + 24 * HOUR))
        assert poison.release(tx, MONDAY, "another") == 0
        assert poison.release(tx, MONDAY, "ring") == 1
    assert clinic.item(ref).next_action_at == MONDAY
