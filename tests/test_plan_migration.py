"""Moving running plans to another version: shown first, refused where work would have no place, once, and back again."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest

from fhir_tracker import plan_migration, programs, publishing
from fhir_tracker.errors import RuleBroken, UsageError
from fhir_tracker.model.plan_map import PlanMap, read_map
from fhir_tracker.model.program import Program
from fhir_tracker.plan_migration import Migrated
from fhir_tracker.rules.sla import sla_due
from fhir_tracker.storage.database import Database
from tests.support.clinic import MONDAY, PROVIDER, RING, SYSTEM, Clinic, author

RENAMED = RING.replace("to-call", "new").replace("waiting", "on-hold-for").replace("code: first-call", "code: ring")
RENAMED = RENAMED.replace("task: first-call", "task: ring").replace("title: Ring after", "title: Ring anew after")
MAP = PlanMap(statuses={"to-call": "new", "waiting": "on-hold-for"}, tasks={"first-call": "ring"})
HOUR = timedelta(hours=1)
LATE = MONDAY + timedelta(days=3)


@pytest.fixture
def clinic(database: Database) -> Clinic:
    """Ann's call is late and has escalated, Bob's is on hold after a hold before, Cid's is being made, Dan's is done."""
    clinic = Clinic(database)
    for who in ("ann", "bob", "cid", "dan"):
        clinic.patient(who)
        clinic.discharge(who, MONDAY)
    hold = {"hold.until": (MONDAY + 30 * HOUR).isoformat(), "reason": "Records"}
    first = clinic.task("bob", "first-call").ref
    clinic.move(first, "waiting", MONDAY + HOUR, fields=hold)
    clinic.move(first, "calling", MONDAY + 6 * HOUR)
    clinic.move(first, "waiting", MONDAY + 7 * HOUR, fields=hold | {"hold.until": (LATE + 48 * HOUR).isoformat()})
    clinic.move(clinic.task("cid", "first-call").ref, "calling", MONDAY + HOUR)
    clinic.move(clinic.task("dan", "first-call").ref, "unreachable", MONDAY + HOUR, fields={"reason": "Moved away"})
    clinic.sweep(MONDAY + 49 * HOUR)
    return clinic


def next_version(clinic: Clinic, text: str = RENAMED) -> Program:
    return clinic.publish(text, LATE)


def migrate(clinic: Clinic, wanted: Program, by: PlanMap = MAP) -> Migrated:
    return plan_migration.migrate(clinic.database, wanted, by, author(LATE, PROVIDER), "The board renamed them")


def test_the_preview_counts_and_names_what_has_no_place(clinic: Clinic) -> None:
    wanted = next_version(clinic)
    with clinic.database.read() as tx:
        seen = plan_migration.preview(tx, wanted, PlanMap())
    assert (seen.plans, seen.tasks) == ({1: 4}, {1: 3})
    said = {one.text for one in seen.refused}
    assert "1 open tasks in status to-call (version 1): there is no status to-call" in said
    assert "1 open tasks in status waiting (version 1): there is no status waiting" in said
    assert "3 open tasks of kind first-call (version 1): there is no task first-call" in said
    with pytest.raises(RuleBroken, match="no place in version 2") as refused:
        migrate(clinic, wanted, PlanMap())
    assert {one.message for one in refused.value.issues} == said
    assert {one.program_version for who in ("ann", "bob", "cid") for one in clinic.items(who) if one.program} == {1}


@pytest.mark.parametrize(
    ("by", "why"),
    [
        (
            replace(MAP, statuses={**MAP.statuses, "calling": "reached"}),
            "reached is closed, and a migration closes nothing",
        ),
        (
            replace(MAP, statuses={**MAP.statuses, "calling": "on-hold-for"}),
            "on-hold-for is a hold, and nobody said until",
        ),
    ],
)
def test_a_migration_closes_nothing_and_holds_nothing(clinic: Clinic, by: PlanMap, why: str) -> None:
    with pytest.raises(RuleBroken) as refused:
        migrate(clinic, next_version(clinic), by)
    assert any(why in one.message for one in refused.value.issues)


def test_plans_and_open_work_move_and_keep_due_times_holds_and_firings(clinic: Clinic) -> None:
    before = {ref: clinic.item(ref) for who in ("ann", "bob", "cid") for ref in [clinic.task(who, "first-call").ref]}
    fired = {ref: clinic.firings(ref) for ref in before}
    assert [len(one) for one in fired.values()] == [1, 0, 1]
    done = migrate(clinic, next_version(clinic))
    assert (done.plans, done.tasks, done.left) == (4, 3, {})
    for ref, was in before.items():
        item = clinic.item(ref)
        assert (item.program_version, item.code, item.title) == (2, "ring", was.title)
        assert item.status == MAP.status(was.status)
        kept = ("due_at", "cycle", "hold_until", "owner", "role", "status_since", "fhir_status", "clock", "created_at")
        assert {name: getattr(item, name) for name in kept} == {name: getattr(was, name) for name in kept}
        told = [row for row in clinic.log(ref) if row.recorded_at == LATE]
        assert {(row.what, row.before, row.after) for row in told} >= {("program", "ring|1", "ring|2")}
        assert {row.reason for row in told} == {"The board renamed them"}
        assert clinic.firings(ref) == fired[ref]
    clinic.sweep(LATE)
    assert {one.key.level for one in clinic.firings(next(iter(before)))} == {1, 2}
    closed = clinic.task("dan", "first-call")
    assert (closed.program_version, closed.status) == (1, "unreachable")


def test_a_pause_under_a_name_that_is_gone_still_counts(clinic: Clinic) -> None:
    from fhir_tracker import gathering

    ref = clinic.task("bob", "first-call").ref
    due = []
    for version in (1, 2):
        with clinic.database.read() as tx:
            facts = gathering.gather(tx, SYSTEM, [clinic.item(ref)])[0]
            due.append(sla_due(programs.required(tx, "ring", version), facts))
        if version == 1:
            migrate(clinic, next_version(clinic))
    assert due[0] == due[1]
    assert due[0] is not None
    assert due[0] > (clinic.item(ref).due_at or MONDAY)


def test_again_does_nothing_and_an_interrupted_migration_goes_on(clinic: Clinic) -> None:
    wanted = next_version(clinic)
    refs = [one.ref for who in ("ann", "bob") for one in clinic.items(who) if one.kind == "plan"]
    from fhir_tracker import plan_rewriting
    from fhir_tracker.storage import work_items

    with clinic.database.begin() as tx:
        plan = work_items.find(tx, SYSTEM, refs[0])
        assert plan is not None
        own = [plan, *[one for one in work_items.of_plan(tx, SYSTEM, refs[0]) if one.kind == "task"]]
        by = author(LATE, PROVIDER)
        plan_rewriting.rewrite(tx, wanted, own, lambda _, item: plan_rewriting.forward(wanted, item, MAP), by, "Half")
    assert migrate(clinic, wanted).plans == 3
    versions = {ref: clinic.resource(ref)["meta"]["versionId"] for ref in refs}
    again = migrate(clinic, wanted)
    assert (again.plans, again.tasks) == (0, 0)
    assert {ref: clinic.resource(ref)["meta"]["versionId"] for ref in refs} == versions


def test_going_back_takes_plans_along_to_where_they_stood(clinic: Clinic) -> None:
    before = {
        one.ref: (one.status, one.code)
        for who in ("ann", "bob", "cid")
        for one in clinic.items(who)
        if one.program and one.open
    }
    wanted = next_version(clinic)
    migrate(clinic, wanted)
    by = author(LATE + HOUR, PROVIDER)
    ann = clinic.task("ann", "ring").ref
    clinic.move(ann, "calling", LATE + timedelta(minutes=30))
    with clinic.database.begin() as tx:
        row = publishing.roll_back(tx, "ring", by)
    done = plan_migration.migrate_back(clinic.database, 2, programs.program_of(row), by, "Back")
    assert done.left == {}
    for ref, (status, code) in before.items():
        item = clinic.item(ref)
        assert item.program_version == 3
        assert (item.status, item.code) == ("calling" if ref == ann else status, code)


def test_what_has_no_way_back_stays_and_is_named(clinic: Clinic) -> None:
    wanted = next_version(clinic)
    clinic.program = wanted
    clinic.patient("eve", LATE)
    clinic.discharge("eve", LATE)
    by = author(LATE + HOUR, PROVIDER)
    with clinic.database.begin() as tx:
        row = publishing.roll_back(tx, "ring", by)
    done = plan_migration.migrate_back(clinic.database, 2, programs.program_of(row), by, "Back")
    (plan,) = [one.ref for one in clinic.items("eve") if one.kind == "plan"]
    assert done.left == {plan: "version 3 has no status for new"}
    assert {one.program_version for one in clinic.items("eve") if one.program} == {2}


def test_a_map_is_read_by_what_the_new_code_is_of(clinic: Clinic) -> None:
    wanted = next_version(clinic)
    by = read_map(["to-call=new,first-call=ring", "status:waiting=on-hold-for"], wanted)
    assert by == MAP
    for wrong in ("to-call", "to-call=nowhere", "status:x=ring", "=new", "kind:a=new"):
        with pytest.raises(UsageError):
            read_map([wrong], wanted)


def test_whatever_is_moved_no_open_work_is_left_in_an_unknown_status(clinic: Clinic) -> None:
    """Each single renaming of a status or task, with and without a map for it."""
    number = 1
    for old in ("to-call", "calling", "waiting", "first-call"):
        for named in (False, True):
            text = RING.replace(old, f"{old}-{number}")
            wanted = clinic.publish(text, LATE + number * HOUR)
            number += 1
            kind = {"tasks" if old == "first-call" else "statuses": {old: f"{old}-{number - 1}"}}
            by = PlanMap(**kind) if named else PlanMap()
            with suppress(RuleBroken):
                plan_migration.migrate(clinic.database, wanted, by, author(LATE + number * HOUR), "Try")
            for who in ("ann", "bob", "cid", "dan"):
                for item in (one for one in clinic.items(who) if one.open and one.kind == "task"):
                    with clinic.database.read() as tx:
                        program = programs.required(tx, "ring", item.program_version)
                    assert program.status(item.status), item
                    assert program.task(item.code), item


def test_another_calendar_counts_due_times_anew_with_a_row_and_leaves_what_people_set(database: Database) -> None:
    text = RING.replace("within: 2 days", "within: 2 business days")
    clinic = Clinic(database, text)
    for who in ("ann", "bob"):
        clinic.patient(who)
        clinic.discharge(who, MONDAY)
    bob, own = clinic.task("bob", "first-call").ref, MONDAY + timedelta(days=7, minutes=3)
    clinic.put(clinic.resource(bob) | {"restriction": {"period": {"end": own.isoformat()}}}, MONDAY + HOUR)
    later = text.replace("Mon-Fri 08:00-17:00", "Mon-Fri 08:00-19:00").replace("code: first-call", "code: ring")
    later = later.replace("task: first-call", "task: ring")
    wanted = clinic.publish(later, MONDAY + HOUR)
    by = PlanMap(tasks={"first-call": "ring"})
    done = plan_migration.migrate(clinic.database, wanted, by, author(MONDAY + 2 * HOUR, PROVIDER), "Open till seven")
    assert (done.plans, done.left) == (2, {})
    ann = clinic.task("ann", "ring")
    assert (ann.due_at, clinic.item(bob).due_at) == (MONDAY + timedelta(days=2, hours=9), own)
    (row,) = [one for one in clinic.log(ann.ref) if one.what == "due" and one.before]
    assert "another calendar: due Wed 11 Mar 2026 19:00, not Wed 11 Mar 2026 17:00" in (row.reason or "")
