"""Programs are read once and kept; what was rolled back or replaced since is never used."""

from __future__ import annotations

from contextlib import suppress

import pytest

from fhir_tracker import programs, publishing
from fhir_tracker.model.program import Program
from fhir_tracker.storage.database import Database
from tests.support.clinic import MONDAY, RING, author


def titled(title: str) -> str:
    return RING.replace("title: Ring after discharge", f"title: {title}", 1)


def publish(database: Database, title: str, *, fails: bool = False) -> None:
    with suppress(LookupError), database.begin() as tx:
        publishing.publish(tx, titled(title), author(MONDAY))
        assert title_of(programs.load(tx, "ring")) == title
        if fails:
            raise LookupError


def title_of(program: Program | None) -> str | None:
    return program.title if program else None


@pytest.mark.parametrize("version", [None, 1])
def test_a_version_that_was_rolled_back_is_not_kept(database: Database, version: int | None) -> None:
    publish(database, "Lost", fails=True)
    with database.read() as tx:
        assert programs.load(tx, "ring", version) is None
    publish(database, "Kept")
    with database.read() as tx:
        assert title_of(programs.load(tx, "ring", version)) == "Kept"


def test_the_active_version_is_the_one_of_each_transaction_and_old_ones_stay(database: Database) -> None:
    for number in (1, 2, 3):
        publish(database, f"Number {number}")
        with database.read() as tx:
            assert title_of(programs.load(tx, "ring")) == f"Number {number}"
            old = [title_of(programs.load(tx, "ring", version)) for version in (1, 2, 3, 4)]
        assert old == [f"Number {one}" if one <= number else None for one in (1, 2, 3, 4)]


def test_two_databases_of_one_process_keep_apart(database: Database, tmp_path_factory: pytest.TempPathFactory) -> None:
    from fhir_tracker.storage.schema import prepare

    other = Database.open(f"sqlite:///{tmp_path_factory.mktemp('other') / 'other.db'}")
    prepare(other)
    publish(database, "One")
    publish(other, "Other")
    for opened, title in ((database, "One"), (other, "Other")):
        for _ in range(2):
            with opened.read() as tx:
                assert title_of(programs.load(tx, "ring", 1)) == title
    other.close()
