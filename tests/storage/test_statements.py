"""SQL is made once for all connections of a process to the same kind and version of database, and answers stay apart."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Integer, String, bindparam, cast, literal, select

from fhir_tracker.storage import programs
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.statements import STATEMENTS, Statements
from tests.peers.postgres.server import Postgres


@dataclass(frozen=True)
class Kind:
    """What SQL depends on of a dialect of SQLAlchemy."""

    name: str
    server_version_info: tuple[int, ...]


def made_by(work: Callable[[], None]) -> int:
    """How many statements were compiled meanwhile."""
    before = set(STATEMENTS)
    work()
    return len(set(STATEMENTS) - before)


def test_what_one_opening_of_a_database_compiled_no_other_compiles_again(ready_url: str) -> None:
    odd = select(literal(7_302, Integer).label("only_here"), bindparam("said", type_=String))

    def ask(said: str) -> None:
        with closing(Database.open(ready_url)) as database:
            with database.begin() as tx:
                programs.all(tx)
                assert list(tx.execute(odd, [{"said": said}]).one()) == [7_302, said]
            with database.read() as tx:
                programs.all(tx)
                assert list(tx.execute(odd, [{"said": said}]).one()) == [7_302, said]

    ask("first")
    assert made_by(lambda: ask("second")) == 0


def test_what_is_asked_of_one_database_is_not_answered_by_another(prepared_file: Path, tmp_path: Path) -> None:
    files = [tmp_path / f"{name}.db" for name in ("north", "south")]
    for file in files:
        shutil.copyfile(prepared_file, file)
    asked = select(cast(bindparam("number"), Integer))
    with (
        closing(Database.open(f"sqlite:///{files[0]}")) as north,
        closing(Database.open(f"sqlite:///{files[1]}")) as south,
    ):
        with north.begin() as tx:
            tx.connection.exec_driver_sql("CREATE TABLE only_north (number INTEGER)")
        for number, database in enumerate((north, south, north)):
            with database.read() as tx:
                assert tx.execute(asked, [{"number": number}]).scalar_one() == number
                tables = tx.connection.exec_driver_sql("SELECT count(*) FROM sqlite_master WHERE name = 'only_north'")
                assert tables.scalar_one() == (database is north)


def test_each_kind_of_database_is_spoken_to_in_its_own_words(prepared_file: Path, postgres: Postgres) -> None:
    asked = select(cast(literal("5"), String(3)).label("words_of_its_own"))
    for url in (f"sqlite:///{prepared_file}", postgres.url("postgres")):
        with closing(Database.open(url)) as database, database.begin() as tx:
            assert tx.execute(asked).scalar_one() == "5"
    texts = {str(one) for one in STATEMENTS.values() if "words_of_its_own" in str(one)}
    assert len(texts) == 2, texts


def test_many_threads_of_two_openings_each_get_their_own_answer(ready_url: str) -> None:
    asked = [select(cast(bindparam("said"), String), literal(number, Integer)) for number in range(5)]
    wrong: list[object] = []

    def ask(database: Database, name: str) -> None:
        for turn in range(60):
            with database.read() as tx:
                found = tx.execute(asked[turn % 5], [{"said": f"{name}-{turn}"}]).one()
            if list(found) != [f"{name}-{turn}", turn % 5]:
                wrong.append(found)

    with closing(Database.open(ready_url)) as one, closing(Database.open(ready_url)) as two:
        threads = [threading.Thread(target=ask, args=(one if n % 2 else two, f"t{n}")) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


@pytest.mark.parametrize(
    ("other", "is_shared"),
    [
        (Kind("postgresql", (15, 18)), True),
        (Kind("postgresql", (16, 1)), False),
        (Kind("sqlite", (15, 18)), False),
    ],
)
def test_databases_of_one_kind_and_version_share_and_no_others(other: Kind, is_shared: bool) -> None:
    kept = Statements(10)
    kept[(Kind("postgresql", (15, 18)), "SELECT 1", ())] = "compiled"
    assert kept.get((other, "SELECT 1", ())) == ("compiled" if is_shared else None)
    assert kept.get((other, "SELECT 2", ()), "nothing") == "nothing"
    if is_shared:
        assert kept[(other, "SELECT 1", ())] == "compiled"
    else:
        with pytest.raises(KeyError):
            kept[(other, "SELECT 1", ())]


def test_statements_of_every_form_are_forgotten_before_they_fill_the_memory() -> None:
    kept, dialect = Statements(100), Kind("sqlite", (3, 40))
    for number in range(5_000):
        kept[(dialect, number)] = number
        assert kept.get((dialect, 0)) == 0, "what is asked for again and again stays"
        assert len(kept) <= 151
    assert kept.get((dialect, 4_999)) == 4_999
