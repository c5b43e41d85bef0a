"""Work items: written and found again, claimed once, and never answered with what was known before a change."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final

import pytest
from sqlalchemy import event, text

from fhir_tracker.storage import work_items
from fhir_tracker.storage.database import Database, Tx
from fhir_tracker.storage.types import microseconds
from tests.storage.samples import NOW, VIEWER, item

LEASE = timedelta(minutes=1)
LATER = NOW + timedelta(hours=2)


def save(database: Database, *refs: str, **fields: object) -> None:
    with database.begin() as tx:
        for ref in refs:
            work_items.save(tx, item(ref, **({"next_action_at": NOW} | fields)))


def claim(database: Database, limit: int = 10, at: object = None) -> work_items.Claim:
    with database.begin() as tx:
        return work_items.claim_due(tx, NOW if at is None else LATER, limit, LEASE)


def next_at(database: Database, ref: str) -> object:
    with database.read() as tx:
        held = work_items.find(tx, VIEWER, ref)
        return held.next_action_at if held else None


def test_an_item_is_given_back_as_it_was_saved(database: Database) -> None:
    full = item(
        "Task/a",
        plan="CarePlan/p",
        program="tcm",
        program_version=3,
        code="first-call",
        clock="paused",
        role="rn",
        owner="Practitioner/x",
        due_at=LATER,
        assigned_since=NOW,
        cycle=2,
        hold_until=LATER,
        hold_event="document.arrived",
        escalation_level=2,
        escalation_reason="late",
        attempts=1,
        last_attempt_at=NOW,
        last_attempt_outcome="no-answer",
        focus="Task/z",
        next_action_at=NOW,
    )
    with database.begin() as tx:
        work_items.save(tx, item("Task/a"))
        work_items.save(tx, full)
        work_items.save(tx, item("CarePlan/p", kind="plan", plan="CarePlan/p"))
    with database.begin() as tx:
        assert work_items.find(tx, VIEWER, "Task/a") == full
        assert work_items.find_many(tx, VIEWER, ["Task/a", "Task/b"]) == {"Task/a": full}
        assert work_items.of_plan(tx, VIEWER, "CarePlan/p") == [full]
        assert work_items.of_plans(tx, VIEWER, ["CarePlan/p", "CarePlan/q"]) == {"CarePlan/p": [full], "CarePlan/q": []}
        assert len(work_items.of_patient(tx, VIEWER, "ann")) == 2
        assert work_items.about(tx, VIEWER, "Task/z") == [full]
        assert work_items.open_count(tx, VIEWER) == 2
        work_items.drop(tx, "Task/a")
        assert work_items.find(tx, VIEWER, "Task/a") is None


def test_a_sweep_claims_what_is_due_oldest_first_and_once(database: Database) -> None:
    save(database, "Task/new")
    save(database, "Task/old", next_action_at=NOW - timedelta(days=1))
    save(database, "Task/later", next_action_at=LATER)
    save(database, "Task/never", next_action_at=None)
    save(database, "Task/closed", open=False)
    assert [one.ref for one in claim(database, 1).items] == ["Task/old"]
    assert [one.ref for one in claim(database).items] == ["Task/new"]
    assert claim(database).items == ()
    assert {one.ref for one in claim(database, at=LATER).items} == {"Task/old", "Task/new", "Task/later"}


def test_eight_sweeps_share_the_items_and_none_comes_twice(database: Database) -> None:
    save(database, *(f"Task/{number}" for number in range(60)))
    taken: Counter[str] = Counter()

    def sweep() -> None:
        while items := claim(database, 4).items:
            taken.update(one.ref for one in items)

    threads = [threading.Thread(target=sweep) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert (len(taken), set(taken.values())) == (60, {1})


def test_settling_plans_the_next_look(database: Database) -> None:
    save(database, "Task/a", "Task/b", "Task/c")
    held = claim(database)
    with database.begin() as tx:
        assert work_items.settle(tx, held, "Task/a", LATER)
        assert work_items.settle(tx, held, "Task/b", None)
        assert work_items.postpone(tx, held, "Task/c", LATER)
        assert not work_items.settle(tx, held, "Task/a", NOW)
    assert [next_at(database, f"Task/{one}") for one in "abc"] == [LATER, None, LATER]


def test_an_item_changed_by_another_while_claimed_is_not_settled(database: Database) -> None:
    save(database, "Task/a", "Task/b", "Task/c")
    held = claim(database)
    save(database, "Task/a", status="calling")
    with database.begin() as tx:
        work_items.wake(tx, "Task/b", NOW)
    with database.begin() as tx:
        assert not work_items.settle(tx, held, "Task/a", LATER)
        assert not work_items.postpone(tx, held, "Task/b", LATER)
        work_items.due_now(tx, "ann", NOW)
    with database.begin() as tx:
        assert not work_items.settle(tx, held, "Task/c", LATER)
    assert {one.ref for one in claim(database).items} == {"Task/a", "Task/b", "Task/c"}


def test_an_item_changed_by_the_sweep_itself_is_settled_at_the_sooner_time(database: Database) -> None:
    save(database, "Task/a", "Task/b")
    held = claim(database)
    with database.begin() as tx:
        work_items.save(tx, item("Task/a", escalation_level=1, next_action_at=NOW))
        assert work_items.settle(tx, held, "Task/a", LATER)
        work_items.save(tx, item("Task/b", escalation_level=1))
        assert work_items.settle(tx, held, "Task/b", LATER)
    assert [next_at(database, ref) for ref in ("Task/a", "Task/b")] == [NOW, LATER]


def test_a_lease_that_ran_out_goes_to_another_sweep(database: Database) -> None:
    save(database, "Task/a")
    first = claim(database)
    second = claim(database, at=LATER)
    assert [one.ref for one in second.items] == ["Task/a"]
    with database.begin() as tx:
        assert not work_items.settle(tx, first, "Task/a", None)
        assert work_items.settle(tx, second, "Task/a", None)


def test_news_of_a_patient_makes_their_open_items_due(database: Database) -> None:
    save(database, "Task/a", next_action_at=LATER)
    save(database, "Task/b", next_action_at=NOW - timedelta(days=1))
    save(database, "Task/c", next_action_at=LATER, patient="bob")
    save(database, "Task/d", next_action_at=None, open=False)
    with database.begin() as tx:
        work_items.due_now(tx, "ann", NOW)
    times = [next_at(database, f"Task/{one}") for one in "abcd"]
    assert times == [NOW, NOW - timedelta(days=1), LATER, None]


DUE: Final[Mapping[str, Callable[[Tx], Any]]] = {
    "claimed": lambda tx: work_items.claim_due(tx, NOW, 500, LEASE),
    "claimed within a stretch": lambda tx: work_items.claim_due(
        tx, NOW, 500, LEASE, work_items.Span(first=(0, 0), last=(microseconds(NOW), 1 << 60))
    ),
    "cut into stretches": lambda tx: work_items.due_spans(tx, NOW, 100, 4000),
}


@pytest.fixture
def crowded(database: Database) -> Database:
    """Much open work that nobody has to look at yet, and twenty items that are due."""
    with database.begin() as tx:
        for number in range(1000):
            work_items.add(tx, item(f"Task/resting-{number}", next_action_at=LATER + timedelta(seconds=number)))
        for number in range(20):
            work_items.add(tx, item(f"Task/due-{number}", next_action_at=NOW - timedelta(seconds=number)))
    with database.begin() as tx:
        tx.execute(text("ANALYZE"))
    return database


@pytest.mark.parametrize("way", DUE)
def test_what_is_due_is_found_without_reading_what_is_not(crowded: Database, way: str) -> None:
    """As the database itself says how it reads: by the index of what comes next, on each of both kinds."""
    run: list[tuple[str, Any]] = []
    with crowded.begin() as tx:
        tx.flush()

        def note(_connection: object, _cursor: object, said: str, values: Any, *_rest: object) -> None:
            run.append((said, values))

        event.listen(tx.connection, "before_cursor_execute", note)
        assert DUE[way](tx)
        said, values = next(one for one in run if one[0].lstrip().startswith("SELECT"))
        event.remove(tx.connection, "before_cursor_execute", note)
        explain = "EXPLAIN" if crowded.dialect == "postgresql" else "EXPLAIN QUERY PLAN"
        plan = " ".join(str(row) for row in tx.connection.exec_driver_sql(f"{explain} {said}", values).all())
    assert "ix_work_item_next" in plan, plan
    assert "SCAN work_item" not in plan, plan
    assert "Seq Scan" not in plan, plan


@pytest.mark.parametrize("way", DUE)
def test_closed_work_and_work_that_waits_for_nothing_is_never_due(database: Database, way: str) -> None:
    save(database, "Task/due", "Task/due-too")
    save(database, "Task/closed", open=False)
    save(database, "Task/never", next_action_at=None)
    save(database, "Task/later", next_action_at=LATER)
    with database.begin() as tx:
        found = DUE[way](tx)
    if isinstance(found, work_items.Claim):
        assert {one.ref for one in found.items} == {"Task/due", "Task/due-too"}
    else:
        assert [one.items for one in found] == [2]
