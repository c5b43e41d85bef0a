"""Group commit: every work is done once or not at all, and hears which."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text, update
from sqlalchemy.exc import DBAPIError

from fhir_tracker.errors import Busy, Fault, Incorrect, NotFound, Unavailable, VersionConflict
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.storage import audit, changes, epochs, resources
from fhir_tracker.storage.database import Database, LateWrite, Tx
from fhir_tracker.storage.group import MOST_WAITING, GroupWriter
from fhir_tracker.storage.tables import resource
from tests.storage.samples import NOW, VIEWER, found, put, task
from tests.storage.test_killed import ROOT, read_acknowledged
from tests.support.sessions import sessions, wait_until_ended

WRITER = """
import sys
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.storage import audit
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.group import GroupWriter
from tests.storage.samples import NOW, put, task
writer = GroupWriter(Database.open(sys.argv[1]))
def work_of(name):
    def work(tx):
        put(tx, task(name))
        audit.add(tx, at=NOW, viewer=Viewer(who="Device/test"), action="create", ref=f"Task/{name}")
        return name
    return work
def told(name, error):
    print(name if error is None else f"failed {error!r}", flush=True)
for number in range(100_000):
    while True:
        try:
            writer.submit(work_of(f"t{number}"), told)
            break
        except Exception:
            pass
"""


@pytest.fixture
def writer(database: Database) -> Iterator[GroupWriter]:
    with closing(GroupWriter(database)) as opened:
        yield opened


def creating(id_: str) -> Callable[[Tx], str]:
    """A work that only adds."""

    def work(tx: Tx) -> str:
        put(tx, task(id_))
        audit.add(tx, at=NOW, viewer=Viewer(who="Device/test"), action="create", ref=f"Task/{id_}")
        return id_

    return work


def changing(id_: str) -> Callable[[Tx], int]:
    """A work that reads and writes the next version of what is there."""

    def work(tx: Tx) -> int:
        before = resources.find(tx, VIEWER, "Task", id_)
        return put(tx, task(id_), before.version + 1 if before else 1).version

    return work


def failing(work: Callable[[Tx], object], error: Exception) -> Callable[[Tx], object]:
    """A work that does all that another does, and then fails."""

    def both(tx: Tx) -> object:
        work(tx)
        raise error

    return both


def held(writer: GroupWriter) -> tuple[threading.Event, Future[object]]:
    """Hold the writer up in a work until the event is set, so that what comes next waits together."""
    started, go_on = threading.Event(), threading.Event()

    def wait(tx: Tx) -> None:
        started.set()
        assert go_on.wait(60)

    future: Future[object] = writer.run(wait)
    assert started.wait(60)
    return go_on, future


def trail(database: Database) -> list[str]:
    with database.read() as tx:
        return [one.ref for one in reversed(audit.list(tx, VIEWER, limit=10_000))]


def test_a_group_that_expects_as_many_as_came_before_goes_on_without_them(
    database: Database, writer: GroupWriter
) -> None:
    go_on, first = held(writer)
    together = [writer.run(creating(f"a{number}")) for number in range(5)]
    go_on.set()
    assert [one.result(60) for one in together] == [f"a{number}" for number in range(5)]
    first.result(60)
    for number in range(3):
        assert writer.run(creating(f"b{number}")).result(60) == f"b{number}"
    assert len(trail(database)) == 8


def test_a_group_that_expects_more_is_committed_when_the_writer_closes(database: Database) -> None:
    with closing(GroupWriter(database)) as writer:
        go_on, first = held(writer)
        together = [writer.run(creating(f"a{number}")) for number in range(5)]
        go_on.set()
        for one in together:
            one.result(60)
        last = writer.run(creating("last"))
    assert last.result(60) == "last"
    first.result(60)


def test_each_work_gives_its_own_result_in_one_transaction(database: Database, writer: GroupWriter) -> None:
    go_on, first = held(writer)
    futures = [writer.run(creating(f"t{number}")) for number in range(50)]
    go_on.set()
    assert first.result(60) is None
    assert [future.result(60) for future in futures] == [f"t{number}" for number in range(50)]
    assert trail(database) == [f"Task/t{number}" for number in range(50)]
    with database.begin() as tx:
        seen = changes.read_since(tx, VIEWER, "test", 1000)
    assert [one.id for one in seen] == [f"t{number}" for number in range(50)]
    if database.dialect == "postgresql":
        assert len({one.txid for one in seen}) <= 10


def test_a_work_that_fails_takes_nothing_with_it(database: Database, writer: GroupWriter) -> None:
    go_on, _ = held(writer)
    good = [writer.run(creating("a")), writer.run(creating("b"))]
    lost = writer.run(failing(creating("lost"), NotFound("There is none.")))
    odd = writer.run(failing(creating("odd"), ZeroDivisionError()))
    good.append(writer.run(creating("c")))
    go_on.set()
    assert [one.result(60) for one in good] == ["a", "b", "c"]
    assert isinstance(lost.exception(20), NotFound)
    assert isinstance(odd.exception(20), ZeroDivisionError)
    assert found(database, "Task", "status=requested") == ["a", "b", "c"]
    assert trail(database) == ["Task/a", "Task/b", "Task/c"]


def test_a_work_that_fails_after_it_wrote_is_undone_and_the_others_stay(
    database: Database, writer: GroupWriter
) -> None:
    assert writer.run(creating("x")).result(60) == "x"
    go_on, _ = held(writer)
    futures: list[Future[object]] = [writer.run(creating("a")), writer.run(changing("x"))]
    bad = writer.run(failing(changing("x"), NotFound("No.")))
    futures += [writer.run(changing("x")), writer.run(creating("b"))]
    go_on.set()
    assert [one.result(60) for one in futures] == ["a", 2, 3, "b"]
    assert isinstance(bad.exception(20), NotFound)
    with database.read() as tx:
        stored = resources.find(tx, VIEWER, "Task", "x")
    assert stored is not None
    assert stored.version == 3
    assert sorted(trail(database)) == ["Task/a", "Task/b", "Task/x"]


def test_of_two_that_create_the_same_one_wins_and_the_rest_is_written_once(
    database: Database, writer: GroupWriter
) -> None:
    for name in ("first", "second"):
        assert writer.run(creating(name)).result(60) == name
    go_on, _ = held(writer)
    futures = [writer.run(creating(name)) for name in ("a", "same", "b", "same", "c")]
    go_on.set()
    errors = [future.exception(20) for future in futures]
    assert [type(error) for error in errors] == [type(None), type(None), type(None), VersionConflict, type(None)]
    names = ["a", "b", "c", "first", "same", "second"]
    assert found(database, "Task", "status=requested") == names
    assert sorted(trail(database)) == [f"Task/{name}" for name in names]


def test_a_work_whose_look_finds_the_conflict_of_another_is_not_harmed(database: Database, writer: GroupWriter) -> None:
    assert writer.run(creating("x")).result(60) == "x"
    go_on, _ = held(writer)
    futures: list[Future[object]] = [
        writer.run(creating("a")),
        writer.run(creating("x")),
        writer.run(lambda tx: resources.find(tx, VIEWER, "Task", "none")),
        writer.run(changing("b")),
    ]
    go_on.set()
    assert [type(future.exception(20)) for future in futures] == [type(None), VersionConflict, type(None), type(None)]
    assert found(database, "Task", "status=requested") == ["a", "b", "x"]
    assert sorted(trail(database)) == ["Task/a", "Task/x"]


def test_a_work_that_passes_over_an_error_of_the_database_is_told_and_nobody_loses_by_it(
    database: Database, writer: GroupWriter
) -> None:
    def careless(tx: Tx) -> None:
        with suppress(VersionConflict):
            put(tx, task("x"))
            tx.flush()

    def very_careless(tx: Tx) -> None:
        with suppress(DBAPIError):
            tx.execute(text("SELECT * FROM nothing_of_that_name").columns())

    assert writer.run(creating("x")).result(60) == "x"
    go_on, _ = held(writer)
    futures: list[Future[object]] = [
        writer.run(changing("y")),
        writer.run(careless),
        writer.run(very_careless),
        writer.run(creating("b")),
    ]
    go_on.set()
    errors = [future.exception(20) for future in futures]
    assert (errors[0], errors[3]) == (None, None)
    assert isinstance(errors[1], Fault)
    assert isinstance(errors[2], Fault) == (database.dialect == "postgresql")
    assert found(database, "Task", "status=requested") == ["b", "x", "y"]


@pytest.mark.parametrize("is_warm", [False, True])
def test_a_value_that_cannot_be_held_harms_only_its_own_work(
    database: Database, writer: GroupWriter, *, is_warm: bool
) -> None:
    if is_warm:
        assert [writer.run(creating(name)).result(60) for name in ("w1", "w2")] == ["w1", "w2"]

    def spoil(tx: Tx) -> None:
        audit.add(tx, at=NOW, viewer=Viewer(who="\ud800"), action="read", ref="Task/1")

    go_on, _ = held(writer)
    futures: list[Future[object]] = [writer.run(creating("a")), writer.run(spoil), writer.run(creating("b"))]
    go_on.set()
    assert [type(future.exception(20)) for future in futures] == [type(None), Incorrect, type(None)]
    assert trail(database)[-2:] == ["Task/a", "Task/b"]


def test_a_statement_the_database_refuses_harms_only_its_own_work(database: Database, writer: GroupWriter) -> None:
    go_on, _ = held(writer)
    before = writer.run(creating("a"))
    broken = writer.run(lambda tx: tx.execute(text("SELECT * FROM nothing_of_that_name").columns()))
    after = writer.run(creating("b"))
    go_on.set()
    assert broken.exception(60) is not None
    assert [before.result(60), after.result(60)] == ["a", "b"]
    assert trail(database) == ["Task/a", "Task/b"]


class NoMore(Exception):
    """Somebody may not write any more."""


def under(condition: Callable[[], None], name: str, *, reads: bool = False) -> Callable[[Tx], str]:
    """A work that writes a task, which is to be kept only where the condition holds at the end."""

    def work(tx: Tx) -> str:
        if reads:
            assert resources.find(tx, VIEWER, "Task", name) is None
        put(tx, task(name))
        tx.conditions.append(condition)
        return name

    return work


def refused() -> None:
    raise NoMore


@pytest.mark.security("S50")
@pytest.mark.parametrize("reads", [False, True], ids=["only added", "after a statement"])
def test_what_may_not_be_kept_at_the_end_is_undone_alone(database: Database, writer: GroupWriter, reads: bool) -> None:
    gate, asked = threading.Event(), list[str]()
    held = writer.run(lambda tx: gate.wait(10))

    def fine() -> None:
        asked.append("fine")

    futures = {
        name: writer.run(under(refused if name in "bd" else fine, name, reads=reads), alone=name == "d")
        for name in "abcde"
    }
    gate.set()
    assert held.result(20)
    for name, future in futures.items():
        if name in "bd":
            with pytest.raises(NoMore):
                future.result(20)
        else:
            assert future.result(20) == name
    assert found(database, "Task", "") == ["a", "c", "e"]
    assert asked


@pytest.mark.security("S50")
def test_a_condition_is_asked_when_everything_else_is_done_and_its_error_leaves_nothing(database: Database) -> None:
    late = database.begin_late()
    under(refused, "late")(late.tx)
    with pytest.raises(NoMore):
        late.commit()
    late.roll_back()
    with pytest.raises(NoMore), database.begin() as tx:
        under(refused, "begun", reads=True)(tx)
    assert found(database, "Task", "") == []


@dataclass
class Right:
    """Somebody's right to write, found out in an epoch; it counts how often it was asked about."""

    database: Database
    epoch: int
    asked: int = 0

    def check(self) -> None:
        self.asked += 1
        with self.database.read() as tx:
            if epochs.epoch(tx) != self.epoch:
                raise NoMore

    def work(self, name: str, *, reads: bool = False) -> Callable[[Tx], str]:
        def work(tx: Tx) -> str:
            if reads:
                assert resources.find(tx, VIEWER, "Task", name) is None
            put(tx, task(name))
            tx.premises.setdefault(epochs.premise(self.epoch), []).append(self.check)
            return name

        return work


def late_write(database: Database) -> LateWrite:
    """One that has keys at hand, so that to add something takes no statement."""
    with database.begin() as tx:
        tx.keys.take()
    return database.begin_late()


def bumped(database: Database) -> int:
    with database.begin() as tx:
        epochs.bump(tx)
        return epochs.epoch(tx)


@pytest.mark.security("S50")
@pytest.mark.parametrize("bumps", [0, 1, 3])
@pytest.mark.parametrize("reads", [False, True], ids=["only added", "after a statement"])
def test_what_stands_under_a_premise_that_holds_is_kept_and_where_it_goes_along_nothing_else_is_asked(
    database: Database, bumps: int, reads: bool
) -> None:
    present = [bumped(database) for _ in range(bumps)][-1] if bumps else 0
    right, late = Right(database, present), late_write(database)
    for name in ("one", "two"):
        right.work(name, reads=reads)(late.tx)
    late.commit()
    assert found(database, "Task", "") == ["one", "two"]
    assert right.asked == (0 if database.dialect == "postgresql" and not reads else 2)


@pytest.mark.security("S50", "A2")
@pytest.mark.parametrize("before", [0, 2])
@pytest.mark.parametrize("reads", [False, True], ids=["only added", "after a statement"])
def test_nothing_is_written_by_who_lost_a_right_before_the_commit_whichever_process_took_it(
    database: Database, ready_url: str, before: int, reads: bool
) -> None:
    present = [bumped(database) for _ in range(before)][-1] if before else 0
    late = late_write(database)
    Right(database, present).work("late", reads=reads and database.dialect == "postgresql")(late.tx)
    with closing(Database.open(ready_url)) as other:
        bumped(other)
    with pytest.raises(NoMore):
        late.commit()
    late.roll_back()
    assert found(database, "Task", "") == []


@pytest.mark.security("S50")
def test_of_a_group_only_those_are_undone_whose_premise_does_not_hold(database: Database, writer: GroupWriter) -> None:
    old, new = Right(database, bumped(database)), Right(database, bumped(database))
    for turn, order in enumerate(((old, old), (old, new), (new, old, new), (new, new), (old,))):
        go_on, _ = held(writer)
        futures = [(right, writer.run(right.work(f"{turn}-{at}"))) for at, right in enumerate(order)]
        go_on.set()
        for right, future in futures:
            if right is old:
                with pytest.raises(NoMore):
                    future.result(20)
            else:
                assert future.result(20)
    assert found(database, "Task", "") == ["1-1", "2-0", "2-2", "3-0", "3-1"]


@pytest.mark.security("S50")
def test_conditions_without_a_premise_are_asked_beside_one_that_holds(database: Database) -> None:
    late = late_write(database)
    Right(database, 0).work("held")(late.tx)
    late.tx.conditions.append(refused)
    with pytest.raises(NoMore):
        late.commit()
    late.roll_back()
    assert found(database, "Task", "") == []


@pytest.mark.security("S50")
@pytest.mark.parametrize("ready_url", ["postgresql"], indirect=True)
def test_where_a_premise_does_not_hold_and_nobody_minds_nothing_is_kept_either(database: Database) -> None:
    late = late_write(database)
    put(late.tx, task("nobodys"))
    late.tx.premises[epochs.premise(7)] = []
    with pytest.raises(Fault):
        late.commit()
    late.roll_back()
    assert found(database, "Task", "") == []


def test_works_run_in_order_and_see_what_came_before(writer: GroupWriter) -> None:
    futures = [writer.run(changing("x")) for _ in range(40)]
    assert [future.result(60) for future in futures] == list(range(1, 41))


def test_a_work_alone_has_a_transaction_of_its_own(database: Database, writer: GroupWriter) -> None:
    go_on, _ = held(writer)
    alone = writer.run(creating("alone"), alone=True)
    assert alone.result(60) == "alone"
    assert found(database, "Task", "status=requested") == ["alone"]
    go_on.set()
    failed = writer.run(failing(creating("lost"), NotFound("No.")), alone=True)
    assert isinstance(failed.exception(60), NotFound)


def test_too_many_waiting_works_are_refused_and_the_accepted_ones_done(database: Database, writer: GroupWriter) -> None:
    go_on, _ = held(writer)
    futures = [writer.run(lambda tx: None) for _ in range(MOST_WAITING)]
    with pytest.raises(Busy):
        writer.run(creating("one more"))
    go_on.set()
    assert [future.result(60) for future in futures] == [None] * MOST_WAITING
    assert writer.run(creating("later")).result(60) == "later"


def test_what_was_accepted_is_written_before_the_end_and_nothing_after(database: Database) -> None:
    writer = GroupWriter(database)
    go_on, _ = held(writer)
    futures = [writer.run(creating(f"t{number}")) for number in range(20)]
    alone = writer.run(creating("alone"), alone=True)
    ending = threading.Thread(target=writer.close)
    ending.start()
    go_on.set()
    ending.join(60)
    assert not ending.is_alive()
    assert [future.result(0) for future in futures] == [f"t{number}" for number in range(20)]
    assert alone.result(0) == "alone"
    with pytest.raises(Unavailable):
        writer.run(creating("late"))
    assert len(found(database, "Task", "status=requested&_count=100")) == 21


def test_others_write_meanwhile_and_neither_loses_anything(database: Database, writer: GroupWriter) -> None:
    def beside() -> None:
        for number in range(30):
            with database.begin() as tx:
                put(tx, task(f"beside{number}"))

    other = threading.Thread(target=beside)
    other.start()
    futures = [writer.run(creating(f"t{number}") if number % 3 else changing("x")) for number in range(90)]
    assert all(future.exception(60) is None for future in futures)
    other.join()
    assert len(found(database, "Task", "status=requested&_count=200")) == 30 + 60 + 1


def test_a_deadlock_with_somebody_else_ends_with_everything_of_ours_written(own_database: Database) -> None:
    with closing(GroupWriter(own_database)) as writer:
        for name in ("a", "b"):
            writer.run(creating(name)).result(60)
        locked, go_on = threading.Event(), threading.Event()

        def cross() -> None:
            with suppress(Busy), own_database.begin() as tx:
                tx.execute(update(resource).where(resource.c.id == "b").values(content_hash="cross"))
                locked.set()
                assert go_on.wait(60)
                tx.execute(update(resource).where(resource.c.id == "a").values(content_hash="cross"))

        def both(tx: Tx) -> int:
            tx.execute(update(resource).where(resource.c.id == "a").values(content_hash="group"))
            assert locked.wait(60)
            go_on.set()
            tx.execute(update(resource).where(resource.c.id == "b").values(content_hash="group"))
            return 1

        other = threading.Thread(target=cross)
        other.start()
        hold, _ = held(writer)
        futures: list[Future[object]] = [writer.run(creating("c")), writer.run(both), writer.run(creating("d"))]
        hold.set()
        assert [future.exception(60) for future in (futures[0], futures[2])] == [None, None]
        other.join(60)
        assert len(found(own_database, "Task", "status=requested")) == 4
        assert futures[1].result(60) == 1


@pytest.fixture
def own_database(request: pytest.FixtureRequest) -> Iterator[Database]:
    """A PostgreSQL database: SQLite has one writer and no deadlocks."""
    server = request.getfixturevalue("postgres")
    name = server.create(template=request.getfixturevalue("prepared_name"))
    with closing(Database.open(server.url(name))) as opened:
        yield opened
    server.drop(name)


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["create", "change", "fail", "fail late"]), st.integers(0, 4)),
        min_size=1,
        max_size=40,
    )
)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_mix_of_works_leaves_what_they_would_one_by_one(database: Database, steps: list[tuple[str, int]]) -> None:
    prefix = f"r{random.Random(repr(steps)).getrandbits(60):x}-{len(trail(database))}-"
    with closing(GroupWriter(database)) as writer:
        futures: list[tuple[str, str, Future[object]]] = []
        for number, (kind, which) in enumerate(steps):
            id_ = f"{prefix}{which}" if kind in ("change", "fail late") else f"{prefix}n{number}"
            work: Callable[[Tx], object] = creating(id_) if kind in ("create", "fail") else changing(id_)
            if kind.startswith("fail"):
                work = failing(work, NotFound("No."))
            futures.append((kind, id_, writer.run(work)))
    expected: dict[str, int] = {}
    for kind, id_, future in futures:
        if kind.startswith("fail"):
            assert isinstance(future.exception(0), NotFound)
        else:
            expected[id_] = expected.get(id_, 0) + 1
            assert future.exception(0) is None
    with database.read() as tx:
        stored = {one.id: one.version for one in resources.scan(tx, VIEWER, ["Task"], limit=100_000)}
    assert {id_: version for id_, version in stored.items() if id_.startswith(prefix)} == expected


def test_what_a_killed_process_answered_is_there_exactly_once(database: Database, ready_url: str) -> None:
    known = sessions(ready_url)
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, ready_url], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    told = read_acknowledged(process, 200)
    os.kill(process.pid, signal.SIGKILL)
    told += [line.strip() for line in process.communicate()[0].splitlines() if line.strip()]
    wait_until_ended(ready_url, known)
    assert len(told) >= 200
    assert not [line for line in told if line.startswith("failed")]
    kept = trail(database)
    assert len(kept) == len(set(kept))
    assert {f"Task/{name}" for name in told[:-1]} <= set(kept)
    with database.read() as tx:
        stored = {one.ref for one in resources.scan(tx, VIEWER, ["Task"], limit=100_000)}
    assert stored == set(kept)


def test_a_writer_that_lives_through_a_restart_of_postgresql_goes_on(own_postgres: object, tmp_path: Path) -> None:
    from fhir_tracker.storage.schema import prepare
    from tests.peers.postgres.server import Postgres

    assert isinstance(own_postgres, Postgres)
    with closing(Database.open(own_postgres.url(own_postgres.create()))) as opened:
        prepare(opened)
        with closing(GroupWriter(opened)) as writer:
            assert writer.run(creating("before")).result(60) == "before"
            own_postgres.kill()
            assert isinstance(writer.run(creating("lost")).exception(60), Unavailable)
            own_postgres.restart()
            assert writer.run(creating("after")).result(60) == "after"
        assert found(opened, "Task", "status=requested") == ["after", "before"]
