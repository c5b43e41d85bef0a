"""Rows held back: in the database at the latest when somebody looks, in their order, or not at all."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import func, select

from fhir_tracker.errors import Incorrect, VersionConflict
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.storage import audit, changes, resources, work_items
from fhir_tracker.storage.buffer import Bulk, WriteBuffer
from fhir_tracker.storage.bulks import AUDIT, ITEM, IX, RESOURCE, TRANSITION
from fhir_tracker.storage.database import Database, Tx
from fhir_tracker.storage.running_tables import audit as audit_rows
from fhir_tracker.storage.tables import ix, resource
from tests.storage.samples import NOW, VIEWER, found, item, put, task

AWKWARD = [
    "",
    "None",
    "NULL",
    '"',
    "\\",
    '\\"',
    "{a,b}",
    "a\tb\nc",
    "ä€😀",
    "'; DROP TABLE audit; --",
    "%s",
    "?",
    "\\N",
]


def add_audit(tx: Tx, ref: str) -> None:
    audit.add(tx, at=NOW, viewer=Viewer(who="Device/test"), action="read", ref=ref)


def run(database: Database, *steps: Callable[[Tx], object]) -> None:
    with database.begin() as tx:
        for step in steps:
            step(tx)


def fail(tx: Tx) -> None:
    raise LookupError


def refs(database: Database) -> list[str]:
    with database.read() as tx:
        return [one.ref for one in reversed(audit.list(tx, VIEWER, limit=5000))]


@pytest.mark.parametrize("count", [1, 7, 64, 65, 200, 1500])
def test_rows_that_are_only_added_are_there_after_the_commit_in_their_order(database: Database, count: int) -> None:
    with database.begin() as tx:
        for number in range(count):
            add_audit(tx, f"Task/{number}")
    assert refs(database) == [f"Task/{number}" for number in range(count)]


def test_whoever_looks_in_the_same_transaction_sees_what_was_added(database: Database) -> None:
    with database.begin() as tx:
        add_audit(tx, "Task/1")
        assert tx.value(select(func.count()).select_from(audit_rows)) == 1
        put(tx, task("t"))
        assert resources.find(tx, VIEWER, "Task", "t") is not None
        add_audit(tx, "Task/2")
    assert refs(database) == ["Task/1", "Task/2"]


def test_nothing_is_kept_of_a_transaction_that_fails(database: Database) -> None:
    with pytest.raises(LookupError):
        run(database, lambda tx: add_audit(tx, "Task/1"), Tx.flush, lambda tx: add_audit(tx, "Task/2"), fail)
    assert refs(database) == []


@pytest.mark.parametrize("word", AWKWARD)
def test_any_text_comes_back_as_it_was_written(database: Database, word: str) -> None:
    with database.begin() as tx:
        audit.add(tx, at=NOW, viewer=Viewer(who=word), action=word, ref=word, patient=word, detail={"word": word})
        audit.add(tx, at=NOW, viewer=Viewer(who="other"), action="read", ref="Task/1", patient=None)
    with database.read() as tx:
        rows = list(audit.list(tx, VIEWER))
    assert (rows[1].who, rows[1].action, rows[1].ref, rows[1].patient, rows[1].detail) == (*[word] * 4, {"word": word})
    assert rows[0].patient is None


@pytest.mark.parametrize(
    "spoil",
    [
        lambda tx: audit.add(tx, at=NOW, viewer=Viewer(who="\ud800"), action="read", ref="Task/1"),
        lambda tx: tx.added.add(IX, (1 << 70, 1)),
    ],
    ids=["half of a pair", "a number too large"],
)
def test_a_value_that_cannot_be_held_is_the_callers_mistake(database: Database, spoil: Callable[[Tx], None]) -> None:
    with pytest.raises(Incorrect):
        run(database, lambda tx: add_audit(tx, "Task/1"), spoil)
    assert refs(database) == []


def test_the_same_id_twice_is_a_conflict_whether_seen_at_once_or_at_the_end(database: Database) -> None:
    with pytest.raises(VersionConflict):
        run(database, lambda tx: put(tx, task("t")), lambda tx: put(tx, task("t")))
    run(database, lambda tx: put(tx, task("t")))
    with pytest.raises(VersionConflict):
        run(database, lambda tx: put(tx, task("t")), Tx.flush)
    assert found(database, "Task", "status=requested") == ["t"]


def test_index_rows_of_many_resources_are_written_in_key_order_and_found(database: Database) -> None:
    with database.begin() as tx:
        stored = [put(tx, task(f"t{number}", patient=f"p{number % 3}")) for number in range(120)]
        assert not tx.has_begun or tx.value(select(func.count()).select_from(resource)) == 120
    assert len(found(database, "Task", "patient=p1&_count=1000")) == 40
    with database.read() as tx:
        assert tx.value(select(func.count(ix.c.k.distinct()))) == len(stored)
        assert len(changes.read_since(tx, VIEWER, "nobody", 1000)) in (0, 120)


def test_going_back_forgets_exactly_what_was_added_since(database: Database) -> None:
    with database.begin() as tx:
        add_audit(tx, "Task/1")
        mark = tx.added.mark()
        add_audit(tx, "Task/2")
        put(tx, task("t"))
        assert tx.added.can_go_back(mark)
        tx.added.go_back(mark)
        add_audit(tx, "Task/3")
        late = tx.added.mark()
        tx.flush()
        add_audit(tx, "Task/4")
        assert tx.added.can_go_back(late)
        tx.added.go_back(late)
        assert not tx.added
        assert not tx.added.can_go_back(mark)
    assert refs(database) == ["Task/1", "Task/3"]
    assert found(database, "Task", "status=requested") == []


def test_a_new_item_is_stored_as_a_saved_one(database: Database) -> None:
    full = item(
        "Task/full",
        program="ring",
        program_version=3,
        due_at=NOW,
        assigned_since=NOW,
        hold_until=NOW,
        next_action_at=NOW,
        owner="Practitioner/a",
        clock="paused",
        open=False,
        escalation_level=2,
        attempts=4,
        last_attempt_at=NOW,
    )
    with database.begin() as tx:
        work_items.add(tx, full)
        added = dict(tx.first(select(ITEM.table)) or {})
        work_items.save(tx, full)
        saved = dict(tx.first(select(ITEM.table)) or {})
        assert work_items.find(tx, VIEWER, "Task/full") == full
    assert added | {"k": 0} == saved | {"k": 0}


def test_every_bulk_names_columns_of_its_table() -> None:
    from fhir_tracker.storage import bulks

    every = [one for one in vars(bulks).values() if isinstance(one, Bulk)]
    assert len(every) > 10
    for bulk in every:
        required = {column.name for column in bulk.table.c if not column.nullable}
        named = {*bulk.columns, *(one[0] for one in bulk.given)}
        assert named <= set(bulk.table.c.keys())
        assert required - named <= {"seq"}


def test_an_empty_buffer_is_false_and_marks_are_of_their_moment() -> None:
    buffer = WriteBuffer()
    assert not buffer
    buffer.add_all(AUDIT, [])
    assert not buffer
    buffer.add(IX, (1, 2))
    assert buffer


SELDOM = {
    "plan": "CarePlan/c",
    "owner": "Practitioner/nurse",
    "hold_until": NOW,
    "next_action_at": NOW,
    "program_version": 3,
}


@pytest.mark.parametrize("members", [{}, *({name: value} for name, value in SELDOM.items()), SELDOM])
def test_an_item_comes_back_as_it_was_alone_and_beside_one_that_has_everything(
    database: Database, members: dict[str, object]
) -> None:
    alone, beside, full = (
        item(f"Task/{name}", **some) for name, some in (("a", members), ("b", members), ("c", SELDOM))
    )
    run(database, lambda tx: work_items.add(tx, alone))
    run(database, lambda tx: work_items.add(tx, beside), lambda tx: work_items.add(tx, full))
    with database.read() as tx:
        every = work_items.find_many(tx, VIEWER, [one.ref for one in (alone, beside, full)])
    assert every == {one.ref: one for one in (alone, beside, full)}


@pytest.mark.parametrize("bulk", [RESOURCE, ITEM, TRANSITION])
def test_what_is_seldom_there_can_be_missing(bulk: Bulk) -> None:
    assert bulk.seldom
    assert all(bulk.table.c[name].nullable and bulk.table.c[name].server_default is None for name in bulk.seldom)
