"""Many reads by one statement, on connections that outlive the server's restart, and audit rows written together."""

from __future__ import annotations

import threading
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from fhir_tracker.errors import Fault, Incorrect, Unavailable
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.storage import audit, resources, trail
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.glance import Glance, NeedsTransaction
from fhir_tracker.storage.schema import prepare
from fhir_tracker.storage.trail import Access
from tests.peers.postgres.server import Postgres
from tests.storage.samples import NOW, VIEWER, locked, put, put_all, task

WANTED = ["a", "b", "gone", "none"]


def rows_of(database: Database) -> list[Access]:
    with database.read() as tx:
        found = audit.list(tx, VIEWER)
    told = Access._fields[2:]
    return [Access(row.at, Viewer(who=row.who), *(getattr(row, name) for name in told)) for row in reversed(found)]


def test_each_viewer_is_given_what_they_may_see_and_nothing_else(database: Database) -> None:
    put_all(database, [task("a", "ann"), task("b", "bob"), task("gone", "ann")])
    with database.begin() as tx:
        put(tx, task("gone", "ann"), 2, op="delete", body="")
    viewers = [VIEWER, locked("ann"), locked("bob"), locked("' OR true --")]
    with database.drivers.take() as driver, database.read() as tx:
        glance = Glance(driver, database.dialect)
        glance.fetch((viewer, "Task", id_) for viewer in viewers for id_ in WANTED)
        for viewer in viewers:
            for id_ in WANTED:
                assert resources.find(glance, viewer, "Task", id_) == resources.find(tx, viewer, "Task", id_)
        assert resources.find(glance, VIEWER, "Task", "a") is not None
        assert resources.find(glance, locked("bob"), "Task", "a") is None


def test_what_was_not_fetched_and_everything_else_takes_a_transaction(database: Database) -> None:
    with database.drivers.take() as driver:
        glance = Glance(driver, database.dialect)
        glance.fetch([(VIEWER, "Task", "a")])
        assert resources.find(glance, VIEWER, "Task", "a") is None
        for id_, viewer in (("b", VIEWER), ("a", locked("ann"))):
            with pytest.raises(NeedsTransaction):
                resources.find(glance, viewer, "Task", id_)
        with pytest.raises(NeedsTransaction):
            resources.history(glance, VIEWER, "Task", "a", count=1)
        with pytest.raises(NeedsTransaction):
            put(glance, task("a"))


def test_a_statement_that_fails_leaves_the_connection_usable(database: Database) -> None:
    with database.drivers.take() as driver:
        for _ in range(3):
            with pytest.raises(Incorrect):
                driver.rows("SELECT %s", ["\ud800"])
        assert list(driver.rows("SELECT 1", [])) == [(1,)]


def test_connections_are_used_again_and_closed_with_the_database(ready_url: str) -> None:
    with closing(Database.open(ready_url)) as database:
        with database.drivers.take() as first, database.drivers.take() as second:
            assert first is not second
        with database.drivers.take() as third:
            assert third in (first, second)
        late = database.drivers.take()
        driver = late.__enter__()
    late.__exit__(None, None, None)
    assert driver.rows is not None
    if database.dialect == "postgresql":
        assert driver.is_lost


def test_a_read_survives_the_restart_of_the_server_and_says_when_it_is_away(own_postgres: Postgres) -> None:
    with closing(Database.open(own_postgres.url(own_postgres.create()))) as database:
        prepare(database)
        put_all(database, [task("a")])

        def found() -> resources.Stored | None:
            with database.drivers.take() as driver:
                glance = Glance(driver, database.dialect)
                glance.fetch([(VIEWER, "Task", "a")])
                return resources.find(glance, VIEWER, "Task", "a")

        assert found()
        own_postgres.restart()
        assert found()
        own_postgres.kill()
        for _ in range(2):
            with pytest.raises(Unavailable):
                found()
        own_postgres.restart()
        assert found()


def test_rows_written_together_are_those_written_one_by_one(database: Database) -> None:
    rows = [
        Access(NOW, Viewer(who="Device/x"), "read", "Task/a", "ann", "success", "r-1", {}),
        Access(
            NOW,
            Viewer(who="Device/é\U0001f600"),
            "search",
            "Task",
            None,
            "error",
            "r-2",
            {"parameters": ["a'", '"'], "found": 3},
        ),
        Access(NOW.replace(microsecond=123456), Viewer(who=""), "call", "", None, "denied", "", {"status": 401}),
    ]
    with database.begin() as tx:
        for row in rows:
            audit.add(tx, **row._asdict())
    trail.add(database, rows)
    assert rows_of(database) == rows * 2


def test_rows_are_there_for_others_when_the_call_returns(postgres: Postgres) -> None:
    name = postgres.create()
    with closing(Database.open(postgres.url(name))) as database:
        prepare(database)
        with psycopg.connect(postgres.url(name), autocommit=True) as other:
            for number in range(5):
                trail.add(
                    database, [Access(NOW, Viewer(who="me"), "read", "Task/a", None, "success", "r", {})] * (number + 1)
                )
                counted = other.execute("SELECT count(*), max(seq) - min(seq) + 1 FROM audit").fetchone()
                assert counted is not None
                assert counted[0] == (number + 1) * (number + 2) // 2
    postgres.drop(name)


def some_access(number: int, ref: str = "Task/a") -> Access:
    return Access(NOW, Viewer(who="Device/x"), "read", ref, "ann", "success", f"r-{number}", {})


@pytest.mark.security("B1", "S55")
@pytest.mark.parametrize("bad", ["\ud800", "Task/\ud800\udc00x\udfff"])
def test_rows_of_which_one_cannot_be_held_are_none_of_them_written(database: Database, bad: str) -> None:
    for place in (0, 7, 20):
        rows = [some_access(number) for number in range(21)]
        rows[place] = some_access(place, bad)
        with pytest.raises(Incorrect):
            trail.add(database, rows)
        assert rows_of(database) == []
    trail.add(database, [some_access(1)])
    assert rows_of(database) == [some_access(1)], "and the connection is good for those that can"


@pytest.mark.security("B1")
def test_rows_written_from_many_threads_are_all_there_while_others_write(database: Database) -> None:
    def reads(thread: int) -> None:
        for number in range(12):
            trail.add(database, [some_access(thread * 1000 + number * 20 + one) for one in range(1 + number % 3)])

    threads = [threading.Thread(target=reads, args=(thread,)) for thread in range(4)]
    for one in threads:
        one.start()
    for number in range(10):
        put_all(database, [task(f"t{number}")])
    for one in threads:
        one.join()
    written = {row.request_id for row in rows_of(database)}
    asked = {f"r-{thread * 1000 + n * 20 + one}" for thread in range(4) for n in range(12) for one in range(1 + n % 3)}
    assert written >= asked
    with database.read() as tx:
        assert len(resources.find_many(tx, VIEWER, [f"Task/t{n}" for n in range(10)])) == 10


@pytest.mark.security("B1")
def test_who_waits_in_vain_for_a_turn_to_write_is_told_and_nothing_is_left_open(database: Database) -> None:
    with database.begin() as tx:
        put(tx, task("a"))
        if database.dialect == "sqlite":
            with pytest.raises(Fault):
                trail.add(database, [some_access(1)])
    trail.add(database, [some_access(2)])
    assert [row.request_id for row in rows_of(database)][-1:] == ["r-2"]


@pytest.mark.security("B1")
def test_what_sqlite_refuses_leaves_no_transaction_behind(tmp_path: Path) -> None:
    good = ("INSERT INTO restricted_patient (patient) VALUES (?)", ("ann",))
    with closing(Database.open(f"sqlite:///{tmp_path / 'tracker.db'}")) as database:
        prepare(database)
        for bad, error in (("INSERT INTO nowhere VALUES (?)", Unavailable), (good[0], Fault)):
            with database.writing() as driver, pytest.raises(error):
                driver.run_together([good, (bad, ("ann",))])
            with database.read() as tx:
                assert tx.ask("SELECT count(*) FROM restricted_patient", []) == [(0,)]
        put_all(database, [task("after")])
