from __future__ import annotations

import psycopg
import pytest

from tests.peers.postgres.server import Postgres

pytestmark = pytest.mark.peer


def test_a_real_postgresql_answers_and_keeps_its_durable_defaults(postgres: Postgres) -> None:
    with psycopg.connect(postgres.url("postgres")) as connection:
        shown = connection.execute("select current_setting('fsync'), current_setting('synchronous_commit')").fetchone()
    assert int(postgres.version.split(".")[0]) >= 14
    assert shown == ("on", "on")


def test_the_unix_socket_answers_too(postgres: Postgres) -> None:
    with psycopg.connect(postgres.socket_url("postgres")) as connection:
        assert connection.execute("select 1").fetchone() == (1,)


def test_what_was_committed_is_there_after_kill_and_restart(own_postgres: Postgres) -> None:
    with psycopg.connect(own_postgres.url("postgres"), autocommit=True) as connection:
        connection.execute("create table kept (n int)")
        connection.execute("insert into kept values (42)")
    own_postgres.kill()
    own_postgres.restart()
    with psycopg.connect(own_postgres.url("postgres")) as connection:
        assert connection.execute("select n from kept").fetchone() == (42,)


def test_each_test_gets_an_empty_database(database_url: str) -> None:
    assert database_url.startswith(("sqlite:///", "postgresql://"))
    if database_url.startswith("postgresql://"):
        with psycopg.connect(database_url) as connection:
            tables = connection.execute("select count(*) from pg_tables where schemaname = 'public'").fetchone()
        assert tables == (0,)
