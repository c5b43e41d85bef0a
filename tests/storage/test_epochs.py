"""The security epoch grows with each change of rights, is seen by other connections at once, and is read once for many."""

from __future__ import annotations

import threading

import pytest

from fhir_tracker import clock
from fhir_tracker.errors import Conflict
from fhir_tracker.storage import epochs
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.epochs import Watch
from fhir_tracker.storage.glance import Glance


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
