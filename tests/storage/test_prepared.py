from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_tracker.errors import Fault, Incorrect, Unavailable
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.drivers import Driver
from fhir_tracker.storage.literals import boolean_array, number_array, packed, packed_texts, text_array
from fhir_tracker.storage.prepared import MOST, Prepared, numbered
from tests.peers.postgres.server import Postgres

TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


@pytest.fixture
def connection(postgres: Postgres) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgres.url(postgres.create()).replace("+psycopg", ""), autocommit=True) as connection:
        yield connection


def test_places_of_values_are_numbered_in_order() -> None:
    assert numbered("SELECT %s::bigint, a FROM b WHERE c = %s") == b"SELECT $1::bigint, a FROM b WHERE c = $2"
    assert numbered("SELECT 1") == b"SELECT 1"


def test_rows_have_the_types_of_their_columns(connection: psycopg.Connection) -> None:
    prepared = Prepared(connection)
    sql = "SELECT %s::bigint, %s::text, true, NULL::text, 2.5::double precision WHERE 'b' = ANY(%s)"
    row = (7, "Zoë \\ \"'", True, None, 2.5)
    assert prepared.rows(sql, ["7", "Zoë \\ \"'", ["a", "b"]]) == [row]
    assert prepared.rows(sql, ["8", "", ["a"]]) == []
    assert prepared.rows(sql, ["8", "", []]) == []
    assert prepared.rows(sql, ["7", "Zoë \\ \"'", ["a", "b"]]) == [row]


def test_any_list_of_texts_arrives_as_it_is(connection: psycopg.Connection) -> None:
    prepared = Prepared(connection)

    @given(st.lists(TEXTS, max_size=5))
    def arrives(texts: list[str]) -> None:
        sql = "SELECT given FROM unnest(%s::text[]) WITH ORDINALITY AS one(given, at) ORDER BY at"
        assert [row[0] for row in prepared.rows(sql, [texts])] == texts

    arrives()


def test_any_whole_numbers_arrive_in_binary_by_either_way(connection: psycopg.Connection) -> None:
    prepared = Prepared(connection)
    prepared.run(b"CREATE TABLE kept (n bigint)", [])

    @given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=70))
    def arrive(numbers: list[int]) -> None:
        prepared.run(b"TRUNCATE kept", [])
        prepared.run(b"INSERT INTO kept SELECT unnest($1::bigint[])", [packed(numbers)])
        with psycopg.RawCursor(connection) as cursor:
            cursor.execute("INSERT INTO kept SELECT unnest($1::bigint[])", [packed(numbers)], prepare=True)
        assert prepared.rows("SELECT n FROM kept", []) == [(number,) for number in [*numbers, *numbers]]

    arrive()


def test_any_texts_arrive_in_binary_by_either_way(connection: psycopg.Connection) -> None:
    prepared = Prepared(connection)
    prepared.run(b"CREATE TABLE told (n text)", [])

    @given(st.lists(TEXTS, min_size=1, max_size=5))
    def arrive(texts: list[str]) -> None:
        prepared.run(b"TRUNCATE told", [])
        prepared.run(b"INSERT INTO told SELECT unnest($1::text[])", [packed_texts(texts)])
        with psycopg.RawCursor(connection) as cursor:
            cursor.execute("INSERT INTO told SELECT unnest($1::text[])", [packed_texts(texts)], prepare=True)
        assert prepared.rows("SELECT n FROM told", []) == [(one,) for one in [*texts, *texts]]

    arrive()


@pytest.mark.parametrize("text", ["cut\0here", "\ud800"])
def test_a_text_that_cannot_be_held_is_refused_in_binary_too(text: str) -> None:
    with pytest.raises(Incorrect):
        packed_texts(["a", text])


def test_a_number_of_more_than_64_bits_is_the_callers_mistake() -> None:
    with pytest.raises(Incorrect):
        packed([1, 1 << 63])


def test_a_text_with_the_character_zero_is_refused_and_never_cut(connection: psycopg.Connection) -> None:
    prepared = Prepared(connection)
    with pytest.raises(psycopg.DataError):
        prepared.rows("SELECT %s::text", ["cut\0here"])
    with pytest.raises((psycopg.DataError, Incorrect)):
        prepared.rows("SELECT 1 WHERE 'cut' = ANY(%s)", [["cut\0here"]])
    with pytest.raises(psycopg.DataError):
        prepared.run(b"SELECT $1::text", ["cut\0here"])


def test_a_value_of_an_unknown_kind_is_a_fault(connection: psycopg.Connection) -> None:
    with pytest.raises(Fault):
        Prepared(connection).rows("SELECT %s::bigint", [7])


def test_errors_are_those_of_the_driver_and_the_connection_goes_on(connection: psycopg.Connection) -> None:
    prepared = Prepared(connection)
    connection.execute("CREATE TABLE one (a text PRIMARY KEY)")
    prepared.run(b"INSERT INTO one VALUES ($1)", ["x"])
    with pytest.raises(psycopg.errors.UniqueViolation):
        prepared.run(b"INSERT INTO one VALUES ($1)", ["x"])
    with pytest.raises(psycopg.errors.UndefinedTable):
        prepared.rows("SELECT a FROM another WHERE a = %s", ["x"])
    assert prepared.rows("SELECT a FROM one WHERE a = %s", ["x"]) == [("x",)]


def test_statements_of_every_form_do_not_pile_up(connection: psycopg.Connection) -> None:
    prepared = Prepared(connection)
    for number in range(MOST + 20):
        assert prepared.rows(f"SELECT %s::bigint + {number}", ["1"]) == [(1 + number,)]
    held = connection.execute("SELECT count(*) FROM pg_prepared_statements").fetchone()
    assert held is not None
    assert held[0] <= MOST
    assert prepared.rows("SELECT %s::bigint + 3", ["1"]) == [(4,)]


def test_a_connection_that_the_server_ended_is_replaced(postgres: Postgres) -> None:
    database = Database.open(postgres.url(postgres.create()))
    with database.drivers.take() as driver:
        assert driver.rows("SELECT %s::bigint", ["1"]) == [(1,)]
        _end_the_other_sessions(database)
        assert driver.rows("SELECT %s::bigint", ["1"]) == [(1,)]
        _end_the_other_sessions(database)
        driver.run(b"SELECT $1::bigint", ["1"])
    database.close()


def test_a_server_that_has_gone_is_unavailable(postgres: Postgres) -> None:
    own = postgres.create()
    database = Database.open(postgres.url(own))
    with database.drivers.take() as driver:
        driver.rows("SELECT 1", [])
        _refuse_all(postgres, own)
        with pytest.raises(Unavailable):
            driver.rows("SELECT 1", [])
    database.close()


def test_arrays_are_written_as_postgresql_reads_them() -> None:
    assert number_array([1, None, 2.5]) == "{1, NULL, 2.5}"
    assert boolean_array([True, None, False]) == "{t,NULL,f}"
    assert text_array(['a"b', None, "c\\d"]) == '{"a\\"b",NULL,"c\\\\d"}'
    assert text_array([]) == "{}"


def _end_the_other_sessions(database: Database) -> None:
    engine = Driver(database._writer)
    others = "datname = current_database() AND pid <> pg_backend_pid()"
    engine.rows(f"SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE {others}", [])
    engine.close()


def _refuse_all(postgres: Postgres, own: str) -> None:
    with psycopg.connect(postgres.url("postgres").replace("+psycopg", ""), autocommit=True) as admin:
        admin.execute(f'ALTER DATABASE "{own}" ALLOW_CONNECTIONS false')
        admin.execute("SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE datname = %s", (own,))
