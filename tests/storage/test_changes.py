"""The change log: every reader gets every change once, however the writers' commits overlap."""

from __future__ import annotations

import random
import threading
from collections import Counter
from contextlib import suppress

from fhir_tracker import clock
from fhir_tracker.storage import changes
from fhir_tracker.storage.database import Database
from tests.storage.samples import VIEWER, locked, put, put_all, task

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
