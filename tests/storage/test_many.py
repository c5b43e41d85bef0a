"""Many rows at once: added unless they are there, changed only where they are still what they were."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Table

from fhir_tracker.storage import many, work_items
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.running_tables import setting
from fhir_tracker.storage.tables import ix, ixd, ixn, ixs
from tests.storage.samples import NOW, VIEWER, item

MINUTE = timedelta(minutes=1)
ODD = "é\"\\{},'NULL\n%s"


def test_what_is_there_is_left_alone_and_the_rest_is_told(database: Database) -> None:
    with database.begin() as tx:
        columns = ("key", "value")
        assert many.add_new(tx, setting, columns, [("a", "1"), (ODD, ODD)], ("key",), "key") == {"a", ODD}
        rows = [(f"k{number}", "1") for number in range(130)]
        told = many.add_new(tx, setting, columns, [("a", "2"), *rows, ("k0", "2")], ("key",), "key")
        assert told == {f"k{number}" for number in range(130)}
        assert many.add_new(tx, setting, columns, [], ("key",), "key") == set()
        found = {row["key"]: row["value"] for row in tx.rows(setting.select())}
    assert (found["a"], found[ODD], found["k0"]) == ("1", ODD, "1")


def test_only_what_is_known_by_all_its_values_and_meets_the_condition_is_changed(database: Database) -> None:
    with database.begin() as tx:
        many.add_new(tx, setting, ("key", "value"), [("a", "1"), ("b", "2"), ("c", ODD)], ("key",), "key")
        asked = [("a", "1", "new"), ("b", "not it", "new"), ("c", ODD, ODD + ODD), ("d", "1", "new")]
        assert many.change(tx, setting, ("key", "value"), ("value",), asked) == {"a", "c"}
        assert many.change(tx, setting, ("key",), ("value",), [("a", "x"), ("b", "x")], only="value = '2'") == {"b"}
        assert many.change(tx, setting, ("key",), ("value",), []) == set()
        found = {row["key"]: row["value"] for row in tx.rows(setting.select())}
    assert found == {"a": "new", "b": "x", "c": ODD + ODD} | {k: v for k, v in found.items() if k not in "abc"}


def test_items_saved_together_are_as_saved_one_by_one_and_claims_on_them_end(database: Database) -> None:
    items = [item(f"Task/{n}", title=ODD, next_action_at=NOW, due_at=NOW if n % 2 else None) for n in range(70)]
    with database.begin() as tx:
        for one in items:
            work_items.save(tx, one)
    with database.begin() as tx:
        claim = work_items.claim_due(tx, NOW, 100, MINUTE)
        assert len(claim.items) == 70
    changed = [one.having(title="new", owner=ODD, next_action_at=None) for one in items[:40]]
    with database.begin() as tx:
        work_items.save_many(tx, changed)
        assert tx.let_go == {one.ref: claim.token for one in changed}
    with database.begin() as tx:
        planned = [(one.ref, claim.token, NOW + MINUTE) for one in items]
        assert work_items.settle_many(tx, planned) == {one.ref for one in items[40:]}
    with database.read() as tx:
        found = work_items.find_many(tx, VIEWER, [one.ref for one in items])
    assert [found[one.ref] for one in changed] == changed
    assert {found[one.ref].next_action_at for one in items[40:]} == {NOW + MINUTE}


def test_stretches_of_what_is_due_hold_each_item_once_and_are_claimed_alone(database: Database) -> None:
    with database.begin() as tx:
        for number in range(25):
            at = NOW - MINUTE * (number % 3) if number < 23 else NOW + MINUTE
            work_items.save(tx, item(f"Task/{number}", next_action_at=at))
    with database.read() as tx:
        spans = work_items.due_spans(tx, NOW, 10, 100)
        assert [one.items for one in spans] == [10, 10, 3]
        assert [one.items for one in work_items.due_spans(tx, NOW, 10, 15)] == [10, 5]
    seen: list[str] = []
    for span in reversed(spans):
        with database.begin() as tx:
            claim = work_items.claim_due(tx, NOW, 100, MINUTE, span)
            assert len(claim.items) == span.items
            seen += [one.ref for one in claim.items]
            assert work_items.claim_due(tx, NOW, 100, MINUTE, span).items == ()
    assert sorted(seen) == sorted(f"Task/{number}" for number in range(23))


def test_rows_are_added_where_they_are_missing_and_only_those_named_whole_are_taken_away(database: Database) -> None:
    far, low = 2**63 - 1, -(2**63)
    texts = [(1, ODD, 7, ""), (1, "", 7, ODD), (far, "\\N", low, "NULL"), *((2, f"t{n}", n, "x") for n in range(150))]
    numbers = [(5, 0.1, 7, 1e307), (5, -1e307, 7, 0.1), (5, 1 / 3, 8, 5e-324)]
    dates = [(low, low, 1, far), (0, 0, 0, 0)]
    named = {ixs: ("h", "v", "k", "exact"), ixn: ("h", "lo", "k", "hi"), ixd: ("h", "lo", "k", "hi")}
    every: list[tuple[Table, list[tuple[Any, ...]]]] = [(ixs, [*texts]), (ixn, [*numbers]), (ixd, [*dates])]
    with database.begin() as tx:
        for table, rows in every:
            for _ in range(2):
                many.add_missing(tx, table, named[table], [*rows, rows[0]])
            many.add_missing(tx, table, named[table], [])
            assert sorted(tuple[Any, ...](row.values()) for row in tx.rows(table.select())) == sorted(rows)
            near = [(row[0], row[1], row[2], row[0]) for row in rows[:1]] if table is not ixs else [(1, ODD, 8, "")]
            many.remove(tx, table, named[table], [*near, *rows[1:], *rows[1:]])
            many.remove(tx, table, named[table], [])
            assert [tuple[Any, ...](row.values()) for row in tx.rows(table.select())] == rows[:1]


@pytest.mark.parametrize("count", [1, 2, 64, 65, 300])
def test_any_number_of_rows_comes_and_goes(database: Database, count: int) -> None:
    rows = [(number % 3, number) for number in range(count)]
    with database.begin() as tx:
        many.add_missing(tx, ix, ("h", "k"), rows)
        assert len(tx.rows(ix.select())) == count
        many.remove(tx, ix, ("k", "h"), [(k, h) for h, k in rows if k % 2])
        assert {row["k"] for row in tx.rows(ix.select())} == set(range(0, count, 2))
