"""Change control: draft, approval by a second person, a time to begin, going back, and texts that never change."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import text

from fhir_tracker import program_integrity, programs, publishing
from fhir_tracker.errors import Incorrect, NotFound, RuleBroken, TrackerError
from fhir_tracker.model.program import ChangeControl
from fhir_tracker.publishing import Terms
from fhir_tracker.storage import programs as rows
from fhir_tracker.storage.audit_rows import SIGNER
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.witnessing import SEEN
from tests.support.clinic import MONDAY, NURSE, PROVIDER, RING, SYSTEM, Clinic, author

SECOND = RING.replace("title: Ring after discharge", "title: Ring soon after discharge")
THIRD = RING.replace("title: Ring after discharge", "title: Ring late after discharge")
STRICT = RING + "change_control: {approver: required, reason: required}\n"
HOUR = timedelta(hours=1)


@pytest.fixture
def clinic(database: Database) -> Clinic:
    return Clinic(database)


def submit(clinic: Clinic, source: str, terms: Terms, *, hours: int = 0) -> rows.ProgramVersion:
    with clinic.acting(MONDAY + hours * HOUR, NURSE) as (tx, by):
        return publishing.submit(tx, source, by, terms)


def states(clinic: Clinic) -> list[tuple[int, str]]:
    with clinic.database.read() as tx:
        return [(one.version, one.status) for one in programs.all_programs(tx, "ring")]


def active(clinic: Clinic) -> int:
    with clinic.database.read() as tx:
        return programs.required(tx, "ring").version


def test_a_version_keeps_its_hash_author_reason_and_times(clinic: Clinic) -> None:
    row = submit(clinic, SECOND, Terms(reason="The board asked for it"))
    assert (row.published_by, row.reason, row.active_from) == (NURSE.who, "The board asked for it", MONDAY)
    assert row.digest == rows.digest(SECOND)
    assert row.intact
    with clinic.database.read() as tx:
        before = rows.find(tx, "ring", 1)
    assert before is not None
    assert (before.status, before.retired_at) == ("retired", MONDAY)


def test_a_second_person_approves_and_never_the_author(clinic: Clinic) -> None:
    row = submit(clinic, SECOND, Terms(control=ChangeControl(approver=True)))
    assert (row.status, active(clinic)) == ("draft", 1)
    with clinic.acting(MONDAY, NURSE) as (tx, by), pytest.raises(RuleBroken, match="another person"):
        publishing.approve(tx, "ring", None, by)
    with clinic.acting(MONDAY + HOUR, PROVIDER) as (tx, by):
        row = publishing.approve(tx, "ring", None, by)
    assert (row.status, row.approved_by, row.approved_at) == ("active", PROVIDER.who, MONDAY + HOUR)
    assert states(clinic) == [(2, "active"), (1, "retired")]
    with clinic.acting(MONDAY, PROVIDER) as (tx, by), pytest.raises(NotFound, match="waits for approval"):
        publishing.approve(tx, "ring", None, by)


def test_a_program_that_asks_for_approval_cannot_be_freed_of_it_by_its_next_version(clinic: Clinic) -> None:
    with clinic.acting(MONDAY, NURSE) as (tx, by), pytest.raises(RuleBroken, match="A reason must be given"):
        publishing.submit(tx, STRICT, by)
    assert submit(clinic, STRICT, Terms(reason="Two pairs of eyes")).status == "draft"
    with clinic.acting(MONDAY, PROVIDER) as (tx, by):
        publishing.approve(tx, "ring", 2, by)
    assert submit(clinic, SECOND, Terms(reason="Without")).status == "draft"
    assert active(clinic) == 2


def test_a_version_takes_effect_at_its_time_and_enrolments_before_use_the_old_one(clinic: Clinic) -> None:
    row = submit(clinic, SECOND, Terms(effective_at=MONDAY + 2 * HOUR))
    assert row.status == "approved"
    for hours, version in ((1, 1), (2, 2), (3, 2)):
        at = MONDAY + hours * HOUR
        with clinic.database.begin() as tx:
            publishing.activate_due(tx, at)
            assert publishing.is_due(tx, at) is False
        clinic.patient(f"p{hours}", at)
        clinic.program = next(iter(clinic.active()))
        clinic.discharge(f"p{hours}", at)
        assert {one.program_version for one in clinic.items(f"p{hours}")} == {version}
    with clinic.acting(MONDAY + 4 * HOUR) as (tx, by), pytest.raises(RuleBroken, match="in the past"):
        publishing.submit(tx, THIRD, by, Terms(effective_at=MONDAY))


def test_what_waits_can_be_withdrawn_and_a_newer_version_withdraws_it_too(clinic: Clinic) -> None:
    later = Terms(effective_at=MONDAY + 2 * HOUR)
    submit(clinic, SECOND, later)
    with clinic.acting(MONDAY, NURSE) as (tx, by):
        assert publishing.withdraw(tx, "ring", None, by).status == "withdrawn"
    submit(clinic, SECOND, later)
    submit(clinic, THIRD, Terms())
    with clinic.database.begin() as tx:
        assert publishing.activate_due(tx, MONDAY + 3 * HOUR) == []
    assert states(clinic) == [(4, "active"), (3, "withdrawn"), (2, "withdrawn"), (1, "retired")]


def test_a_draft_is_used_by_nothing_and_its_definitions_say_draft(clinic: Clinic) -> None:
    submit(clinic, SECOND, Terms(control=ChangeControl(approver=True)))
    with clinic.database.read() as tx:
        assert programs.load(tx, "ring", 2) is None
        task = {"resourceType": "Task", "instantiatesCanonical": "https://fhir-tracker.example/PlanDefinition/ring|2"}
        assert programs.of_resource(tx, task) is None
    assert {(one["version"], one["status"]) for one in clinic.stored("PlanDefinition")} == {
        ("1", "active"),
        ("2", "draft"),
    }
    with clinic.acting(MONDAY, PROVIDER) as (tx, by):
        publishing.approve(tx, "ring", 2, by)
    found = {(one["version"], one["status"]) for one in clinic.stored("PlanDefinition", "ActivityDefinition")}
    assert found == {("1", "retired"), ("2", "active")}


def test_going_back_is_a_new_version_with_the_old_text(clinic: Clinic) -> None:
    submit(clinic, SECOND, Terms())
    with clinic.acting(MONDAY + HOUR, PROVIDER) as (tx, by):
        row = publishing.roll_back(tx, "ring", by, Terms(reason="Too many calls"))
    assert (row.version, row.source, row.rolls_back, row.reason) == (3, RING, 1, "Too many calls")
    assert states(clinic) == [(3, "active"), (2, "retired"), (1, "retired")]
    with clinic.acting(MONDAY + 2 * HOUR) as (tx, by):
        assert publishing.roll_back(tx, "ring", by).source == SECOND
        with pytest.raises(NotFound, match="no earlier version 9"):
            publishing.roll_back(tx, "ring", by, to=9)


def test_a_first_version_has_nothing_to_go_back_to(clinic: Clinic) -> None:
    for code in ("ring", "none"):
        with clinic.acting(MONDAY) as (tx, by), pytest.raises(NotFound):
            publishing.roll_back(tx, code, by)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE program SET source = 'x' WHERE code = 'ring'",
        "UPDATE program SET digest = 'x' WHERE code = 'ring'",
        "UPDATE program SET published_by = 'x' WHERE code = 'ring'",
        "UPDATE program SET status = 'active' WHERE code = 'ring' AND version = 1",
        "UPDATE program SET status = 'draft' WHERE code = 'ring' AND version = 2",
        "DELETE FROM program WHERE code = 'ring'",
    ],
)
def test_the_database_refuses_to_change_a_version(clinic: Clinic, statement: str) -> None:
    submit(clinic, SECOND, Terms())
    with pytest.raises(TrackerError), clinic.database.begin() as tx:
        tx.execute(text(statement))
    assert states(clinic) == [(2, "active"), (1, "retired")]


def tamper(database: Database, source: str) -> None:
    """As somebody with the database in hand would: without the guard."""
    on = " ON program" if database.dialect == "postgresql" else ""
    with database.begin() as tx:
        tx.execute(text(f"DROP TRIGGER IF EXISTS program_stays{on}"))
        tx.execute(text("UPDATE program SET source = :source WHERE code = 'ring'").bindparams(source=source))


def test_a_text_changed_in_the_database_is_refused_told_and_healed(clinic: Clinic, database: Database) -> None:
    fresh = Clinic(database)
    tamper(database, SECOND)
    with database.read() as tx:
        for known in set(tx.kept) - {SEEN, SIGNER}:
            del tx.kept[known]
        with pytest.raises(Incorrect, match="was changed in the database"):
            programs.required(tx, "ring")
        assert programs.active_programs(tx) == []
        assert [one.version for one in program_integrity.changed(tx)] == [1]
    for _ in range(2):
        with database.begin() as tx:
            program_integrity.watch(tx, MONDAY)
    (task,) = [one for one in fresh.stored("Task") if one["code"]["coding"][0]["code"] == program_integrity.CODE]
    assert task["status"] == "requested"
    tamper(database, RING)
    with database.begin() as tx:
        assert program_integrity.is_due(tx, MONDAY) is False
        assert program_integrity.is_due(tx, MONDAY + HOUR) is True
        assert program_integrity.watch(tx, MONDAY + HOUR) == []
    (task,) = [one for one in fresh.stored("Task") if one["code"]["coding"][0]["code"] == program_integrity.CODE]
    assert task["status"] == "completed"


def test_a_program_that_was_tampered_with_is_mended_by_publishing_again(clinic: Clinic, database: Database) -> None:
    tamper(database, SECOND)
    with clinic.acting(MONDAY) as (tx, by):
        assert publishing.publish(tx, RING, by).version == 2
    assert active(clinic) == 2


def test_change_control_is_read_with_places(database: Database) -> None:
    with database.begin() as tx, pytest.raises(Incorrect) as refused:
        publishing.publish(tx, RING + "change_control: {approver: always, who: me}\n", author(MONDAY, SYSTEM))
    said = " ".join(one.message for one in refused.value.issues)
    assert "line " in said
    assert 'unknown "always"' in said
    assert 'unknown key "who"' in said
