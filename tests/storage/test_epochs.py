"""The security epoch grows with each change of rights, is seen by other connections at once, and is read once for many."""

from __future__ import annotations

import threading

import pytest

from fhir_tracker import clock
from fhir_tracker.errors import Conflict
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.storage import epochs, resources
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.epochs import Watch
from fhir_tracker.storage.glance import Glance, NeedsTransaction, OneStatement
from tests.storage.samples import VIEWER, locked, put_all, task


def seen(database: Database) -> int:
    with database.read() as tx:
        return epochs.epoch(tx)


def glanced(database: Database) -> int:
    with database.drivers.take() as driver:
        return epochs.epoch(Glance(driver, database.dialect))


def bump(database: Database) -> None:
    with database.begin() as tx:
        epochs.bump(tx)


def bump_and_fail(database: Database) -> None:
    with database.begin() as tx:
        epochs.bump(tx)
        raise Conflict("Something else went wrong.")


@pytest.mark.security("S50")
def test_the_epoch_begins_at_nought_and_grows_by_one_with_each_change(database: Database) -> None:
    before = seen(database)
    for more in range(1, 13):
        bump(database)
        assert seen(database) == glanced(database) == before + more


@pytest.mark.security("S50")
def test_a_change_that_is_undone_begins_no_epoch(database: Database) -> None:
    before = seen(database)
    with pytest.raises(Conflict):
        bump_and_fail(database)
    assert seen(database) == glanced(database) == before


@pytest.mark.security("S50")
def test_changes_at_the_same_time_all_count(database: Database) -> None:
    before = seen(database)
    threads = [threading.Thread(target=bump, args=(database,)) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert seen(database) == before + 8


@pytest.mark.security("S50")
def test_a_watch_reads_once_for_who_arrived_before_and_again_for_who_comes_after(database: Database) -> None:
    watch, early = Watch(database), clock.monotonic()
    first = watch.at(early)
    bump(database)
    assert watch.at(early) == first, "who came before the reading shares it"
    assert watch.at(clock.monotonic()) == first + 1, "who comes after the change sees it"


@pytest.mark.security("S50")
@pytest.mark.parametrize("bumps", [0, 1, 11])
def test_a_reading_of_resources_brings_the_epoch_along_by_the_same_statement(database: Database, bumps: int) -> None:
    put_all(database, [task("a", "ann"), task("b", "bob")])
    for _ in range(bumps):
        bump(database)
    watch, early = Watch(database), clock.monotonic()
    with database.drivers.take() as driver:
        glance = OneStatement(driver, database.dialect)
        watch.fetch(glance, [(VIEWER, "Task", id_) for id_ in ("a", "b", "none")])
        if bumps:
            assert watch.at(early, glance) == bumps
        assert [resources.find(glance, VIEWER, "Task", id_) is not None for id_ in ("a", "b", "none")] == [
            True,
            True,
            False,
        ]
        assert resources.find(glance, VIEWER, "Task", "a") == in_a_transaction(database, "a")
        bump(database)
        with pytest.raises(NeedsTransaction):
            watch.at(clock.monotonic(), glance)
    assert watch.at(clock.monotonic()) == bumps + 1, "what came along is no answer to who comes later"


@pytest.mark.security("S50")
@pytest.mark.parametrize(
    "wanted",
    [[], [(VIEWER, "Task", "none")], [(locked("bob"), "Task", "a")], [(VIEWER, "Patient", "a")]],
    ids=["nothing", "what is not there", "what is not shown", "what is of another type"],
)
def test_where_no_resource_is_found_the_epoch_is_asked_for(
    database: Database, wanted: list[tuple[Viewer, str, str]]
) -> None:
    put_all(database, [task("a", "ann")])
    bump(database)
    watch, early = Watch(database), clock.monotonic()
    with database.drivers.take() as driver:
        glance = Glance(driver, database.dialect)
        watch.fetch(glance, wanted)
        assert watch.at(early, glance) == 1


@pytest.mark.security("S50")
def test_of_several_statements_each_brings_an_epoch_that_is_no_older_than_the_reading(database: Database) -> None:
    put_all(database, [task("a", "ann")])
    bump(database)
    watch = Watch(database)
    seen_by = [VIEWER, locked("ann"), locked("bob")]
    with database.drivers.take() as driver:
        glance = Glance(driver, database.dialect)
        early = clock.monotonic()
        watch.fetch(glance, [(viewer, "Task", "a") for viewer in seen_by])
        bump(database)
        assert watch.at(early, glance) == 1
        assert watch.at(clock.monotonic(), glance) == 2
        assert [resources.find(glance, viewer, "Task", "a") is not None for viewer in seen_by] == [True, True, False]


def in_a_transaction(database: Database, id_: str) -> resources.Stored | None:
    with database.read() as tx:
        return resources.find(tx, VIEWER, "Task", id_)
