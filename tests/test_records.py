"""Writing resources: versions, If-Match, deletion and two writers at once."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from fhir_tracker import records
from fhir_tracker.errors import Busy, VersionConflict
from fhir_tracker.storage import changes, resources
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.resources import Stored
from tests.support.clinic import MONDAY, SYSTEM, author


def goal(**members: object) -> dict[str, Any]:
    return {"resourceType": "Goal", "id": "g", "lifecycleStatus": "active", **members}


def save(database: Database, resource: dict[str, Any], minutes: float = 0, *, if_match: int | None = None) -> Stored:
    with database.begin() as tx:
        return records.save(tx, resource, author(MONDAY + timedelta(minutes=minutes)), if_match=if_match)


def remove(database: Database, minutes: float = 0, *, if_match: int | None = None) -> Stored | None:
    with database.begin() as tx:
        return records.remove(tx, "Goal", "g", author(MONDAY + timedelta(minutes=minutes)), if_match=if_match)


def test_versions_grow_by_one_and_each_is_kept(database: Database) -> None:
    written = [save(database, goal(description={"text": str(n)}), n) for n in range(3)]
    assert [one.version for one in written] == [1, 2, 3]
    with database.read() as tx:
        history = resources.history(tx, SYSTEM, "Goal", "g", count=10)
    assert [(one.version, one.op) for one in history] == [(3, "update"), (2, "update"), (1, "create")]
    assert '"text":"0"' in (history[2].body or "").replace(" ", "")


@pytest.mark.parametrize("minutes", [[0, 0, 0], [0, -60, -120], [0, 0.000001, 0.00001]])
def test_last_updated_strictly_grows_whatever_the_clock_says(database: Database, minutes: list[float]) -> None:
    written = [save(database, goal(), at) for at in minutes]
    moments = [one.updated_at for one in written]
    assert moments == sorted(set(moments))
    stamps = [records.resource_of(one)["meta"]["lastUpdated"] for one in written]
    assert len(set(stamps)) == 3
    assert [records.resource_of(one)["meta"]["versionId"] for one in written] == ["1", "2", "3"]


def test_if_match_lets_only_the_present_version_through(database: Database) -> None:
    save(database, goal())
    save(database, goal(), if_match=1)
    with pytest.raises(VersionConflict, match="the present version is 2"):
        save(database, goal(), if_match=1)
    with pytest.raises(VersionConflict):
        remove(database, if_match=1)
    assert remove(database, if_match=2) is not None


def test_if_match_on_what_does_not_exist_is_a_conflict(database: Database) -> None:
    with pytest.raises(VersionConflict, match="no present version"):
        save(database, goal(), if_match=1)
    with pytest.raises(VersionConflict):
        remove(database, if_match=1)


def test_decimals_keep_their_digits_through_every_version(database: Database) -> None:
    target = {"detailQuantity": {"value": Decimal("1.00")}}
    first = save(database, goal(target=[target]))
    assert '"value":1.00' in first.body.replace(" ", "")
    second = save(database, records.resource_of(first))
    assert '"value":1.00' in second.body.replace(" ", "")


def test_create_gives_an_id_of_its_own(database: Database) -> None:
    with database.begin() as tx:
        made = [records.create(tx, goal(), author(MONDAY)) for _ in range(2)]
    assert len({one.id for one in made} | {"g"}) == 3


def test_delete_keeps_the_history_and_is_then_seen_as_deleted(database: Database) -> None:
    save(database, goal())
    removed = remove(database, 1)
    assert removed is not None
    assert (removed.version, removed.deleted, removed.body) == (2, True, "")
    with database.read() as tx:
        found = resources.find(tx, SYSTEM, "Goal", "g")
        first = resources.find_version(tx, SYSTEM, "Goal", "g", 1)
    assert found is not None
    assert found.deleted
    assert first is not None
    assert first.body
    assert remove(database, 2) is None


def test_what_was_deleted_can_be_written_again_as_a_new_version(database: Database) -> None:
    save(database, goal())
    remove(database)
    again = save(database, goal())
    assert (again.version, again.deleted) == (3, False)
    with database.read() as tx:
        ops = [one.op for one in resources.history(tx, SYSTEM, "Goal", "g", count=9)]
    assert ops == ["create", "delete", "create"]


def test_each_write_is_a_row_of_the_change_log_with_its_origin(database: Database) -> None:
    save(database, goal(subject={"reference": "Patient/ann"}))
    save(database, goal(subject={"reference": "Patient/ann"}))
    remove(database)
    with database.begin() as tx:
        rows = changes.read_since(tx, SYSTEM, "test", 10)
    assert [(one.ref, one.version, one.op) for one in rows] == [
        ("Goal/g", 1, "create"),
        ("Goal/g", 2, "update"),
        ("Goal/g", 3, "delete"),
    ]
    assert {(one.origin, one.who, one.patient) for one in rows} == {("staff", "Device/test", "ann")}


def test_a_write_that_fails_later_in_its_transaction_leaves_nothing(database: Database) -> None:
    with suppress(ZeroDivisionError), database.begin() as tx:
        records.save(tx, goal(), author(MONDAY))
        raise ZeroDivisionError
    with database.begin() as tx:
        assert resources.find(tx, SYSTEM, "Goal", "g") is None
        assert changes.read_since(tx, SYSTEM, "test", 10) == []


@pytest.mark.requirement(132)
def test_of_two_writers_with_one_if_match_one_wins(database: Database) -> None:
    for round_ in range(1, 6):
        save(database, goal())
        version = 2 * round_ - 1
        won, lost = _race(database, version)
        assert (won, lost) == (1, 1)


def _race(database: Database, version: int) -> tuple[int, int]:
    together = threading.Barrier(2)
    results: list[bool] = []

    def write(name: str) -> None:
        together.wait()
        try:
            save(database, goal(description={"text": name}), if_match=version)
            results.append(True)
        except (VersionConflict, Busy):
            results.append(False)

    writers = [threading.Thread(target=write, args=(name,)) for name in ("a", "b")]
    for one in writers:
        one.start()
    for one in writers:
        one.join()
    return results.count(True), results.count(False)


def test_fresh_ids_are_never_given_twice_among_threads_and_after_a_fork() -> None:
    given: list[str] = []
    threads = [
        threading.Thread(target=lambda: given.extend(records.fresh_id(MONDAY) for _ in range(2000))) for _ in range(4)
    ]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, " ".join(records.fresh_id(MONDAY) for _ in range(50)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    given += os.read(reading, 10_000).decode().split()
    given += [records.fresh_id(MONDAY) for _ in range(50)]
    assert len(set(given)) == len(given) == 8100


def test_a_first_version_never_goes_upon_what_somebody_else_wrote_meanwhile(database: Database) -> None:
    assert save(database, goal(), if_match=records.ABSENT).version == 1
    with pytest.raises(VersionConflict, match="there is a version now"):
        save(database, goal(), 1, if_match=records.ABSENT)
    remove(database, 2)
    assert save(database, goal(), 3, if_match=records.ABSENT).version == 3
