"""Where two people have to agree on what runs, nobody gets round it: by going back, by moving plans, by time, by the API."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from sqlalchemy import text

from fhir_tracker import plan_migration, program_integrity, programs, publishing, writes
from fhir_tracker.errors import Incorrect, NotFound, RuleBroken
from fhir_tracker.model.plan_map import PlanMap
from fhir_tracker.model.program import ChangeControl, Program
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.publishing import Terms
from fhir_tracker.storage import programs as rows
from fhir_tracker.storage.database import Database
from tests.support.clinic import MONDAY, NURSE, PROVIDER, RING, Clinic, author

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
STRICT = RING + "change_control: {approver: required}\n"
STRICTER = STRICT.replace("title: Ring after discharge", "title: Ring soon")
ASKED = ChangeControl(approver=True)


@pytest.fixture
def clinic(database: Database) -> Clinic:
    """Version 1 without rules of change, version 2 asking for a second person; Ann's plan is on version 1."""
    found = Clinic(database)
    found.patient("ann")
    found.discharge("ann", MONDAY)
    assert submit(found, STRICT).status == "draft"
    assert approve(found, PROVIDER).status == "active"
    return found


def submit(clinic: Clinic, source: str, at: datetime = MONDAY, **terms: object) -> rows.ProgramVersion:
    with clinic.acting(at, NURSE) as (tx, by):
        return publishing.submit(tx, source, by, Terms(**terms))  # type: ignore[arg-type]


def approve(clinic: Clinic, who: Viewer, at: datetime = MONDAY) -> rows.ProgramVersion:
    with clinic.acting(at, who) as (tx, by):
        return publishing.approve(tx, "ring", None, by)


def back(clinic: Clinic, who: Viewer, to: int | None = None, at: datetime = MONDAY) -> rows.ProgramVersion:
    with clinic.acting(at, who) as (tx, by):
        return publishing.roll_back(tx, "ring", by, to=to)


def active(clinic: Clinic) -> Program:
    with clinic.database.read() as tx:
        return programs.required(tx, "ring")


@pytest.mark.requirement(138)
@pytest.mark.parametrize("who", [NURSE, PROVIDER])
def test_going_back_waits_for_a_second_person_whoever_asks(clinic: Clinic, who: Viewer) -> None:
    row = back(clinic, who)
    assert (row.status, row.rolls_back, active(clinic).version) == ("draft", 1, 2)
    with pytest.raises(RuleBroken, match="another person"):
        approve(clinic, who)
    agreed = approve(clinic, PROVIDER if who is NURSE else NURSE)
    assert (agreed.status, agreed.published_by, agreed.source) == ("active", who.who, RING)
    assert agreed.approved_by not in (None, who.who)
    assert active(clinic).version == 3
    again = back(clinic, NURSE, to=2)
    assert again.status == "draft", "the text that is brought back asks for it too"


def test_going_back_that_waits_is_withdrawn_by_the_next_version_and_can_be_taken_back(clinic: Clinic) -> None:
    back(clinic, NURSE)
    submit(clinic, STRICTER)
    with clinic.database.read() as tx:
        assert [(one.version, one.status) for one in rows.versions(tx, "ring")][:2] == [(4, "draft"), (3, "withdrawn")]
    with clinic.acting(MONDAY, NURSE) as (tx, by):
        assert publishing.withdraw(tx, "ring", None, by).version == 4
    with pytest.raises(NotFound, match="waits for approval"):
        approve(clinic, PROVIDER)
    assert active(clinic).version == 2


@pytest.mark.parametrize("by_settings", [True, False])
def test_who_wrote_a_version_does_not_move_plans_to_it(database: Database, by_settings: bool) -> None:
    clinic = Clinic(database)
    clinic.patient("ann")
    clinic.discharge("ann", MONDAY)
    submit(clinic, RING.replace("Ring after", "Ring soon after") if by_settings else STRICT, control=ASKED)
    approve(clinic, PROVIDER)
    wanted, control = active(clinic), ASKED if by_settings else ChangeControl()
    with pytest.raises(RuleBroken, match="Practitioner/nurse wrote version 2: another person has to move plans"):
        plan_migration.migrate(database, wanted, PlanMap(), author(MONDAY, NURSE), "Now", control)
    assert {one.program_version for one in clinic.items("ann")} == {1}
    done = plan_migration.migrate(database, wanted, PlanMap(), author(MONDAY, PROVIDER), "Now", control)
    assert (done.plans, done.left) == (1, {})


def test_who_went_back_does_not_take_the_plans_along(clinic: Clinic) -> None:
    plan_migration.migrate(clinic.database, active(clinic), PlanMap(), author(MONDAY, PROVIDER), "Now")
    back(clinic, NURSE)
    approve(clinic, PROVIDER)
    with pytest.raises(RuleBroken, match="another person has to move plans"):
        plan_migration.migrate_back(clinic.database, 2, active(clinic), author(MONDAY, NURSE), "Back", ASKED)
    done = plan_migration.migrate_back(clinic.database, 2, active(clinic), author(MONDAY, PROVIDER), "Back", ASKED)
    assert (done.plans, done.left) == (1, {})
    assert {one.program_version for one in clinic.items("ann")} == {3}


def test_one_does_not_get_round_it_by_a_time_to_begin(clinic: Clinic) -> None:
    row = submit(clinic, STRICTER, effective_at=MONDAY + HOUR)
    assert row.status == "draft"
    with clinic.database.begin() as tx:
        assert publishing.activate_due(tx, MONDAY + DAY) == []
    assert active(clinic).version == 2
    assert approve(clinic, PROVIDER, MONDAY + 2 * HOUR).status == "active", "its time is past when it is approved"


def test_of_two_versions_for_one_moment_the_later_stands_and_a_restart_changes_nothing(database: Database) -> None:
    clinic = Clinic(database)
    for number in (1, 2):
        submit(clinic, RING.replace("Ring after", f"Ring {number} after"), effective_at=MONDAY + HOUR)
    with clinic.database.read() as tx:
        assert [one.status for one in rows.versions(tx, "ring")] == ["approved", "withdrawn", "active"]
    for _ in range(2):
        with clinic.database.begin() as tx:
            publishing.activate_due(tx, MONDAY + DAY)
    assert active(clinic).title == "Ring 2 after discharge"
    for past in (MONDAY, MONDAY - DAY):
        with pytest.raises(RuleBroken, match="in the past"):
            submit(clinic, STRICT, MONDAY, effective_at=past)


def test_going_back_twice_and_to_a_version_whose_plans_have_left_it(database: Database) -> None:
    clinic = Clinic(database)
    clinic.patient("ann")
    clinic.discharge("ann", MONDAY)
    clinic.publish(RING.replace("Ring after", "Ring soon after"), MONDAY)
    plan_migration.migrate(database, active(clinic), PlanMap(), author(MONDAY), "There")
    assert back(clinic, NURSE).rolls_back == 1
    plan_migration.migrate_back(database, 2, active(clinic), author(MONDAY), "Back")
    assert back(clinic, NURSE).rolls_back == 2
    done = plan_migration.migrate_back(database, 3, active(clinic), author(MONDAY), "And there again")
    assert done.left == {}
    assert {one.program_version for one in clinic.items("ann")} == {4}
    told = [row.after for row in clinic.log(clinic.task("ann", "first-call").ref) if row.what == "program"]
    assert len(told) == 3, "every step is in the record"
    assert plan_migration.migrate_back(database, 3, active(clinic), author(MONDAY), "Nothing left").plans == 0
    back(clinic, NURSE, to=1)
    with clinic.database.read() as tx:
        assert plan_migration.preview(tx, active_in(clinic), PlanMap()).plans == {4: 1}


def active_in(clinic: Clinic) -> Program:
    return active(clinic)


def test_a_migration_over_holds_and_running_escalations_keeps_both_and_names_what_has_no_place(
    database: Database,
) -> None:
    clinic = Clinic(database)
    for who in ("ann", "bob"):
        clinic.patient(who)
        clinic.discharge(who, MONDAY)
    late = MONDAY + 3 * DAY
    clinic.sweep(late)
    held = clinic.task("bob", "first-call").ref
    until = (late + 5 * DAY).isoformat()
    clinic.move(held, "waiting", late, fields={"hold.until": until, "reason": "Records"})
    text_ = (
        RING.replace("code: waiting,", "code: parked,")
        .replace("to: waiting", "to: parked")
        .replace("[waiting]", "[parked]")
    )
    wanted = clinic.publish(text_, late + HOUR)
    with pytest.raises(RuleBroken) as refused:
        plan_migration.migrate(database, wanted, PlanMap(), author(late + HOUR), "Now")
    assert [one.message for one in refused.value.issues] == [
        "1 open tasks in status waiting (version 1): there is no status waiting"
    ]
    assert {one.program_version for who in ("ann", "bob") for one in clinic.items(who) if one.program} == {1}
    by = PlanMap(statuses={"waiting": "parked"})
    assert plan_migration.migrate(database, wanted, by, author(late + HOUR), "Now").left == {}
    item = clinic.item(held)
    assert (item.status, item.clock, item.hold_until) == ("parked", "paused", late + 5 * DAY)
    assert len(clinic.escalations("ann")) == 1
    clinic.sweep(late + 5 * HOUR)
    assert [one.role for one in clinic.escalations("ann")] == ["rn", "provider"], "the ladder climbs on"
    assert len(clinic.escalations("bob")) == 1, "who is on hold is not escalated again"


def test_the_published_definitions_cannot_be_written_or_deleted_through_the_api(clinic: Clinic) -> None:
    for type_ in ("PlanDefinition", "ActivityDefinition", "CodeSystem", "ValueSet"):
        for body in clinic.stored(type_):
            if "ring" not in body["id"]:
                continue
            with clinic.acting(MONDAY, NURSE) as (tx, by), pytest.raises(RuleBroken, match="publish another version"):
                writes.update(tx, type_, body["id"], body | {"status": "retired", "title": "Mine"}, by)
            with clinic.acting(MONDAY, NURSE) as (tx, by), pytest.raises(RuleBroken, match="publish another version"):
                writes.delete(tx, type_, body["id"], by)
    assert {one["status"] for one in clinic.stored("CodeSystem") if "ring" in one["id"]} == {"active"}


def test_what_a_version_of_before_was_changed_to_brings_nothing_back(clinic: Clinic) -> None:
    on = " ON program" if clinic.database.dialect == "postgresql" else ""
    with clinic.database.begin() as tx:
        tx.execute(text(f"DROP TRIGGER IF EXISTS program_stays{on}"))
        evil = RING.replace("{to: role/rn}", "{to: role/front-desk}")
        tx.execute(text("UPDATE program SET source = :s WHERE code = 'ring' AND version = 1").bindparams(s=evil))
    with pytest.raises(Incorrect, match="was changed in the database"):
        back(clinic, NURSE)
    with clinic.database.read() as tx:
        assert [one.version for one in program_integrity.changed(tx)] == [1]
        assert programs.required(tx, "ring").version == 2, "what is right goes on"
