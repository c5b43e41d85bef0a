"""The change log: every reader gets every change once, however the writers' commits overlap."""

from __future__ import annotations

import random
import threading
from collections import Counter
from contextlib import suppress
from dataclasses import replace

import pytest

from fhir_tracker import clock
from fhir_tracker.storage import changes
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.tables import change
from tests.storage.samples import NOW, VIEWER, locked, put, put_all, task

WRITERS, EACH = 8, 25


def read_on(database: Database, name: str, limit: int = 7) -> list[changes.Change]:
    with database.begin() as tx:
        some = changes.read_since(tx, VIEWER, name, limit)
        if some:
            changes.advance(tx, name, some[-1])
        return some


def test_a_reader_goes_on_where_it_stood_and_others_are_not_moved(database: Database) -> None:
    put_all(database, [task(f"t{number}") for number in range(10)])
    assert [one.id for one in read_on(database, "one")] == [f"t{number}" for number in range(7)]
    assert [one.id for one in read_on(database, "one")] == ["t7", "t8", "t9"]
    assert read_on(database, "one") == []
    assert len(read_on(database, "two", 100)) == 10
    with database.begin() as tx:
        assert changes.head(tx) >= 10
        assert (changes.lag(tx, "one"), changes.lag(tx, "three")) == (0, 10)
        changes.start_at_head(tx, "three")
        assert changes.read_since(tx, VIEWER, "three", 9) == []


def test_readers_who_read_together_stand_at_the_same_place_and_others_where_they_stood(database: Database) -> None:
    put_all(database, [task(f"t{number}") for number in range(4)])
    with database.begin() as tx:
        found = changes.read_since(tx, VIEWER, "one", 3)
        assert changes.side_by_side(tx, ["one", "two", "three", "four"]) == [["one", "two", "three", "four"]]
        changes.advance(tx, "two", found[0])
        changes.advance(tx, "one", found[-1], "two", "three")
        assert changes.side_by_side(tx, ["one", "two", "three", "four"]) == [["one", "two", "three"], ["four"]]
        assert [changes.lag(tx, name) for name in ("one", "two", "three", "four")] == [1, 1, 1, 4]
        for name in ("one", "two", "three"):
            assert [one.id for one in changes.read_since(tx, VIEWER, name, 9)] == ["t3"]


@pytest.mark.parametrize(("transaction", "sequence"), [(0, -1), (0, 0), (0, 1), (-1, 9**9), (1, -1), (9**9, -1)])
def test_what_comes_after_a_place_goes_by_the_transaction_and_then_by_the_sequence(
    database: Database, transaction: int, sequence: int
) -> None:
    put_all(database, [task(f"t{number}") for number in range(5)])
    with database.begin() as tx:
        every = changes.read_since(tx, VIEWER, "everything", 9)
        stands = (every[2].txid + transaction, every[2].seq + sequence)
        changes.advance(tx, "one", replace(every[2], txid=stands[0], seq=stands[1]))
        found = changes.read_since(tx, VIEWER, "one", 9)
        assert [one.id for one in found] == [one.id for one in every if (one.txid, one.seq) > stands]
        assert changes.lag(tx, "one") == len(found)
        assert changes.side_by_side(tx, ["one"]) == ([["one"]] if found else [])


def test_who_stands_at_the_end_of_a_long_log_does_not_walk_it(database: Database) -> None:
    with database.begin() as tx:
        rows = [("Task", f"t{number}", number) for number in range(3000)]
        listed = [{"type": kind, "id": id_, "k": k} for kind, id_, k in rows]
        same = {"version": 1, "op": "create", "origin": "api", "who": "test", "at": NOW, "txid": 1}
        tx.execute(change.insert(), [one | same for one in listed])
    with database.begin() as tx:
        last = changes.read_since(tx, VIEWER, "one", 5000)[-1]
        changes.advance(tx, "one", last)
    with database.begin() as tx:
        asked = changes._settled(tx).where(changes._after((last.txid, last.seq))).order_by(change.c.txid, change.c.seq)
        words = asked.limit(9).compile(tx.connection, compile_kwargs={"literal_binds": True})
        explain = "EXPLAIN ANALYZE" if database.dialect == "postgresql" else "EXPLAIN QUERY PLAN"
        plan = " ".join(str(row) for row in tx.connection.exec_driver_sql(f"{explain} {words}").all())
    assert "ix_change_txid_seq" in plan
    assert "Rows Removed by Filter" not in plan
    assert database.dialect == "postgresql" or "SEARCH" in plan


def test_a_change_says_what_who_and_where_from(database: Database) -> None:
    with database.begin() as tx:
        put(tx, task("a"))
        put(tx, task("a"), 2, op="delete")
    made, gone = read_on(database, "test")
    assert (made.ref, made.version, made.op, made.origin, made.who, made.patient) == (
        "Task/a",
        1,
        "create",
        "api",
        VIEWER.who,
        "ann",
    )
    assert (gone.version, gone.op, gone.patient) == (2, "delete", "ann")
    with database.read() as tx:
        assert changes.read_since(tx, locked("bob"), "bob", 9) == []


def test_a_reader_who_rolls_back_reads_the_same_again(database: Database) -> None:
    put_all(database, [task("a")])
    with suppress(LookupError), database.begin() as tx:
        changes.advance(tx, "test", changes.read_since(tx, VIEWER, "test", 9)[-1])
        raise LookupError
    assert [one.id for one in read_on(database, "test")] == ["a"]


def test_nothing_is_missed_while_eight_writers_commit_across_each_other(database: Database) -> None:
    def write(writer: int) -> None:
        chance = random.Random(writer)
        for number in range(EACH):
            with database.begin() as tx:
                put(tx, task(f"w{writer}-{number}"))
                if database.dialect == "postgresql":
                    clock.pause(chance.random() / 50)
                put(tx, task(f"w{writer}-{number}", status="accepted"), 2)

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(WRITERS)]
    for one in threads:
        one.start()
    seen: Counter[tuple[str, int]] = Counter()
    while any(one.is_alive() for one in threads):
        seen.update((one.id, one.version) for one in read_on(database, "test", 50))
    while some := read_on(database, "test", 50):
        seen.update((one.id, one.version) for one in some)
    expected = {
        (f"w{writer}-{number}", version) for writer in range(WRITERS) for number in range(EACH) for version in (1, 2)
    }
    assert (set(seen) ^ expected, set(seen.values())) == (set(), {1})


def test_what_commits_late_with_a_low_number_is_read_later(database: Database) -> None:
    if database.dialect == "sqlite":
        put_all(database, [task("early")])
        assert [one.id for one in read_on(database, "test")] == ["early"]
        return
    with database.begin() as slow:
        put(slow, task("slow"))
        put_all(database, [task("quick")])
        assert read_on(database, "test") == []
    assert [one.id for one in read_on(database, "test")] == ["slow", "quick"]
