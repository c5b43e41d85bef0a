"""Rows found by a list of keys come as a plain SELECT gives them, for any viewer and any texts, and errors end what is open."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Table, select
from sqlalchemy import event as sqlalchemy_event

from fhir_tracker.errors import Fault, Incorrect, Unavailable
from fhir_tracker.model.patient import PatientSummary
from fhir_tracker.model.sight import EVERYTHING
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.model.work import Event, Firing, FiringKey, Transition, WorkItem
from fhir_tracker.storage import events, firings, patients, resources, transitions, work_items
from fhir_tracker.storage.database import Database, Tx
from fhir_tracker.storage.keyed import Keyed
from fhir_tracker.storage.records import from_row
from fhir_tracker.storage.tables import resource
from fhir_tracker.storage.work_tables import event, patient_summary, transition, work_item
from tests.storage.samples import NOW, VIEWER, item

ODD = (
    "plain",
    "%s $1 ?",
    '","',
    "\\N",
    "{}",
    "{NULL}",
    "NULL",
    "'; DROP TABLE event; --",
    "é\u2028💥",
    "",
    " ",
    "x" * 900,
)
MINE = Viewer(who="Patient/p1", name="p1", patient="p1", sight=EVERYTHING)
KINDS: list[tuple[type, Table, str]] = [
    (WorkItem, work_item, "ref"),
    (Event, event, "ref"),
    (Transition, transition, "item"),
    (PatientSummary, patient_summary, "patient"),
]


def fill(tx: Tx) -> None:
    """Rows of every kind under odd keys, half of them of one patient."""
    for number, text in enumerate(ODD):
        whose = f"p{number % 2}"
        at = NOW + timedelta(minutes=number % 3)
        late = at if number % 2 else None
        work_items.save(tx, item(f"Task/{text}", patient=whose, created_at=at, due_at=late, open=number % 4 != 0))
        seen = Event(ref=f"Flag/{text}", type="Flag", status=text, patient=whose, start=late, seen_at=at)
        events.save(tx, seen if number % 3 else replace(seen, codes=(text, text), about=(text,), detail={text: text}))
        row = Transition(
            item=f"Task/{text}", what="note", before=None, after=text, recorded_at=at, effective_at=at, who=text
        )
        transitions.add(tx, row, whose)
        transitions.add(tx, replace(row, recorded_at=NOW, cycle=7), whose)
        patients.save(
            tx, PatientSummary(patient=text, name=text, deceased=number % 2 == 0, flags=(text,) * (number % 2))
        )


def by_select(tx: Tx, make: type, table: Table, column: str, keys: Sequence[str], viewer: Viewer) -> list[Any]:
    chosen = select(table).where(table.c[column].in_(keys))
    if viewer.patient is not None:
        chosen = chosen.where(table.c.patient == viewer.patient)
    return [from_row(make, row) for row in tx.rows(chosen)]


@pytest.mark.parametrize(("make", "table", "column"), KINDS, ids=lambda one: getattr(one, "__name__", str(one)))
@pytest.mark.parametrize("viewer", [VIEWER, MINE], ids=["everybody", "one patient"])
def test_what_is_read_by_keys_is_what_a_select_gives(
    database: Database, make: type, table: Table, column: str, viewer: Viewer
) -> None:
    prefix = {"ref": "Task/" if table is work_item else "Flag/", "item": "Task/", "patient": ""}[column]
    reader: Keyed[Any] = Keyed(make, table, order=f'"{column}"')
    with database.begin() as tx:
        fill(tx)
        for keys in ([f"{prefix}{text}" for text in ODD], [f"{prefix}plain"], [f"{prefix}nobody"], []):
            found, wanted = reader.read(tx, viewer, column, keys), by_select(tx, make, table, column, keys, viewer)
            assert sorted(map(repr, found)) == sorted(map(repr, wanted))
            assert all(type(one) is make for one in found)
            assert sorted(map(hash, map(repr, found))) == sorted(map(hash, map(repr, wanted)))


def test_values_are_equal_to_those_that_were_written_and_as_frozen(database: Database) -> None:
    written = item("Task/a", due_at=NOW, escalation_level=2, open=False)
    with database.begin() as tx:
        work_items.save(tx, written)
        found = work_items.find(tx, VIEWER, "Task/a")
    assert found == written
    assert found is not None
    assert found.open is False
    with pytest.raises(AttributeError):
        found.title = "another"  # type: ignore[misc]


def test_rows_that_wait_in_the_same_transaction_are_seen(database: Database) -> None:
    with database.begin() as tx:
        work_items.add(tx, item("Task/a"))
        events.add(tx, Event(ref="Flag/a", type="Flag", status="active", patient="p1", seen_at=NOW))
        assert work_items.find(tx, VIEWER, "Task/a") is not None
        assert [one.ref for one in events.of_patients(tx, VIEWER, ["p1"])["p1"]] == ["Flag/a"]


def test_rows_come_in_their_order_whatever_that_of_the_keys(database: Database) -> None:
    with database.begin() as tx:
        for minutes in (5, 1, 3):
            at = NOW + timedelta(minutes=minutes)
            work_items.save(tx, item(f"Task/{minutes}", plan="CarePlan/p", created_at=at))
            key = FiringKey(item="Task/1", rule="late", cycle="0", level=minutes)
            firings.fire(tx, Firing(key=key, fired_at=at, kind="escalate", state="open"), "p1")
        assert list(work_items.find_many(tx, VIEWER, ["Task/5", "Task/3", "Task/1"])) == ["Task/1", "Task/3", "Task/5"]
        assert [one.ref for one in work_items.of_plan(tx, VIEWER, "CarePlan/p")] == ["Task/1", "Task/3", "Task/5"]
        assert [one.key.level for one in firings.of_items(tx, VIEWER, ["Task/1", "Task/x"])["Task/1"]] == [1, 3, 5]
        assert firings.of_items(tx, VIEWER, ["Task/x"]) == {"Task/x": ()}


@pytest.mark.parametrize("types", [None, [], ["Flag"], ["Consent", "Flag"], ["x' OR '1'='1"]])
def test_events_are_those_of_the_types_asked_for(database: Database, types: list[str] | None) -> None:
    with database.begin() as tx:
        for kind in ("Flag", "Consent", "Appointment"):
            events.add(tx, Event(ref=f"{kind}/a", type=kind, status="active", patient="p1", seen_at=NOW))
        found = events.of_patients(tx, VIEWER, ["p1", "p2"], types)
    asked = {"Flag", "Consent", "Appointment"} if types is None else {"Flag", "Consent", "Appointment"} & set(types)
    assert {one.type for one in found["p1"]} == asked
    assert found["p2"] == ()


def test_a_viewer_of_one_patient_finds_nothing_of_another_by_any_key(database: Database) -> None:
    with database.begin() as tx:
        fill(tx)
        refs = [f"Task/{text}" for text in ODD]
        assert {one.patient for one in work_items.find_many(tx, MINE, refs).values()} == {"p1"}
        assert set(events.of_patients(tx, MINE, ["p0"])["p0"]) == set()
        assert all(not rows for ref, rows in transitions.of_items(tx, MINE, refs).items() if refs.index(ref) % 2 == 0)
        assert patients.find_many(tx, MINE, list(ODD)) == {}


@pytest.mark.parametrize("spoiled", ["a\0b", "\ud800"])
def test_keys_that_no_database_holds_are_the_callers_mistake_or_nowhere(database: Database, spoiled: str) -> None:
    try:
        with database.begin() as tx:
            assert work_items.find(tx, VIEWER, spoiled) is None
    except Incorrect:
        return
    assert database.dialect == "sqlite"


def test_a_refused_statement_is_a_fault_and_nothing_of_its_transaction_is_kept(database: Database) -> None:
    def go_wrong() -> None:
        with database.begin() as tx:
            work_items.save(tx, item("Task/a"))
            tx.ask("SELECT nothing FROM nowhere WHERE a = %s", ["x"])

    with pytest.raises((Fault, Unavailable)):
        go_wrong()
    with database.read() as tx:
        assert work_items.find(tx, VIEWER, "Task/a") is None


def test_a_transaction_that_only_reads_cannot_write_in_plain_words_either(database: Database) -> None:
    with pytest.raises((Fault, Unavailable)), database.read() as tx:
        tx.run("UPDATE work_item SET title = %s RETURNING ref", ["taken over"])


def test_two_who_foresee_the_same_resource_take_turns(database: Database) -> None:
    order, first_has_it, may_end = list[str](), threading.Event(), threading.Event()

    def second() -> None:
        first_has_it.wait(30)
        with database.begin() as tx:
            resources.foresee(tx, VIEWER, ["Task/a"])
            order.append("second")

    with database.begin() as tx:
        tx.execute(resource.insert().values(_bare(tx.keys.take())))
    other = threading.Thread(target=second)
    other.start()
    with database.begin() as tx:
        resources.foresee(tx, VIEWER, ["Task/a"])
        first_has_it.set()
        may_end.wait(0.2)
        order.append("first")
    other.join(30)
    assert order == ["first", "second"]


def _bare(k: int) -> dict[str, object]:
    told = dict.fromkeys(("patient", "connection", "remote_id", "remote_version", "content_hash"))
    return {"k": k, "type": "Task", "id": "a", "version": 1, "updated_at": NOW, "deleted": False, "body": "{}", **told}


def test_one_text_is_prepared_for_lists_of_any_length(database: Database) -> None:
    if database.dialect == "sqlite":
        return
    with database.begin() as tx:
        for size in range(1, 30):
            for _ in range(2):
                work_items.find_many(tx, VIEWER, [f"Task/{number}" for number in range(size)])
        texts = tx.ask("SELECT statement FROM pg_prepared_statements WHERE statement LIKE %s", ["%FROM work_item%"])
    assert len(texts) == 1


def test_who_counts_statements_hears_of_those_in_plain_words(database: Database) -> None:
    heard = list[str]()
    with database.begin() as tx:
        told = tx.connection
        sqlalchemy_event.listen(told, "before_cursor_execute", lambda _one, _two, text, *_rest: heard.append(text))
        work_items.find_many(tx, VIEWER, ["Task/a", "Task/b"])
        work_items.find(tx, VIEWER, "Task/a")
        work_items.save(tx, item("Task/a"))
        before = len(heard)
        work_items.save_many(tx, [item("Task/a", title="new")])
    assert [text.startswith("SELECT") for text in heard[:2]] == [True, True]
    assert any(text.startswith("UPDATE work_item") for text in heard[before:])
