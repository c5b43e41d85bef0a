"""A write that the database refuses at any point undoes its whole effect; tried again, everything happens once.

The refusal is real: a trigger on one table, put there and taken away by the test.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from sqlalchemy import text

from fhir_tracker import sweep
from fhir_tracker.errors import TrackerError
from fhir_tracker.storage.database import Database
from tests.support.clinic import MONDAY, NURSE, Clinic, appointment, encounter

DAY = timedelta(days=1)
LATE = MONDAY + 2 * DAY
TABLES = ("resource", "resource_version", "change", "work_item", "transition", "firing", "notification", "ix")


@contextmanager
def refusing(database: Database, table: str) -> Iterator[None]:
    """While this lasts the database refuses every new row of `table`."""
    if database.dialect == "sqlite":
        put = [f"CREATE TRIGGER refuse BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'refused by a test'); END"]
        away = ["DROP TRIGGER refuse"]
    else:
        put = [
            """CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE EXCEPTION 'refused by a test' USING ERRCODE = 'check_violation'; END $$""",
            f"CREATE TRIGGER refuse BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION refuse()",
        ]
        away = [f"DROP TRIGGER refuse ON {table}", "DROP FUNCTION refuse()"]
    run(database, put)
    try:
        yield
    finally:
        run(database, away)


def run(database: Database, statements: list[str]) -> None:
    with database.begin() as tx:
        for statement in statements:
            tx.execute(text(statement))


@pytest.fixture
def clinic(database: Database) -> Clinic:
    made = Clinic(database)
    for name in ("ann", "bob"):
        made.patient(name)
        made.discharge(name, MONDAY)
    return made


def traces(clinic: Clinic) -> tuple[object, ...]:
    """What an escalation leaves: Tasks, acts, firings and rows."""
    calls = [clinic.task(name, "first-call").ref for name in ("ann", "bob")]
    return (
        [one["id"] for one in clinic.stored("Task", "Provenance")],
        [clinic.firings(ref) for ref in calls],
        [clinic.log(ref) for ref in calls],
    )


@pytest.mark.parametrize("table", TABLES)
def test_a_refused_write_leaves_no_part_of_an_escalation_and_it_happens_once_later(clinic: Clinic, table: str) -> None:
    before = traces(clinic)
    with refusing(clinic.database, table):
        report = clinic.sweep(LATE)
        assert (report.escalated, report.postponed) == (0, 2)
        assert traces(clinic) == before
    assert clinic.sweep(LATE).items == 0
    again = clinic.sweep(LATE + sweep.POISONED_FOR)
    assert again.escalated == 2
    assert clinic.sweep(LATE + sweep.POISONED_FOR).applied == 0
    for name in ("ann", "bob"):
        assert [one.key.level for one in clinic.firings(clinic.task(name, "first-call").ref)] == [1]
        assert len(clinic.escalations(name)) == 1


@pytest.mark.parametrize("table", ["resource", "change", "work_item", "transition", "enrolment"])
def test_a_refused_write_leaves_no_part_of_an_enrolment_and_the_cursor_stays(clinic: Clinic, table: str) -> None:
    clinic.patient("cid")
    clinic.put(encounter("cid", MONDAY, id_="stay-cid"), MONDAY)
    with refusing(clinic.database, table), pytest.raises(TrackerError):
        clinic.enrol(MONDAY)
    assert clinic.items("cid") == []
    assert clinic.enrol(MONDAY) == 1
    assert clinic.enrol(MONDAY) == 0


@pytest.mark.parametrize("table", ["resource", "resource_version", "change", "work_item", "transition"])
def test_a_refused_write_leaves_no_part_of_a_move(clinic: Clinic, table: str) -> None:
    ref = clinic.task("ann", "first-call").ref
    before, item = traces(clinic), clinic.item(ref)
    given = {"outreach.outcome": "reached", "note": "n"}
    with refusing(clinic.database, table), pytest.raises(TrackerError):
        clinic.move(ref, "reached", MONDAY + DAY, NURSE, given)
    assert (traces(clinic), clinic.item(ref)) == (before, item)
    assert clinic.stored("Communication") == []
    clinic.move(ref, "reached", MONDAY + DAY, NURSE, given)
    assert (clinic.item(ref).status, clinic.item(ref).attempts) == ("reached", 1)


def test_a_refused_write_of_made_work_makes_it_once_later(clinic: Clinic) -> None:
    clinic.put(appointment("ann", MONDAY + DAY, id_="visit", status="noshow"), MONDAY + DAY)
    with refusing(clinic.database, "resource"):
        assert clinic.sweep(MONDAY + DAY).postponed >= 1
    clinic.sweep(MONDAY + DAY + sweep.POISONED_FOR)
    assert clinic.task("ann", "reschedule").open
