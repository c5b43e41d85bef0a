"""The watch that every test of a run is under finds what it is there to find, and lets nothing else fail."""

from __future__ import annotations

import importlib
import json
import logging
import sqlite3
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote_plus

import httpx
import psycopg
import pytest
import redis
import respx
from httpx import Response

from fhir_tracker import records
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.tables import metadata
from scripts.budgets import ROOT
from subscriptions.key_sets import fetch_key_set
from tests.leak_watch import SHOWING, database_of, findings, search_answer, shows
from tests.peers.redis.server import RedisServer, written_to
from tests.support.clinic import MONDAY, author
from tests.support.log_sweep import OF_PEOPLE, STORE, books, found_in, spellings

NAME, BORN = "Kanarienvögel-O'Neill", "1931-07-13"
PERSON = {"resourceType": "Patient", "id": "p", "name": [{"family": NAME}], "birthDate": BORN}
SPELLED = [NAME, json.dumps(NAME)[1:-1], quote_plus(NAME), BORN]
FAILED_JOB = """
INSERT INTO job (id, kind, key, payload, run_at, token, attempts, state, last_error)
VALUES (7, 'rules', 'x', '{{}}', 0, 0, 1, 'waiting', 'no {}')
"""
SAYS = "import sys; sys.stdout.write(sys.argv[2]); sys.stderr.write(sys.argv[3])"


@pytest.fixture
def stocked(database: Database, ready_url: str) -> str:
    """The address of a database with one synthetic patient."""
    with database.begin() as tx:
        records.save(tx, json.loads(json.dumps(PERSON)), author(MONDAY))
    return ready_url


@pytest.mark.security("L1", "S53")
@pytest.mark.parametrize("said", SPELLED)
@pytest.mark.parametrize("where", [2, 3])
def test_what_a_process_says_is_searched_at_its_end_whether_the_test_looks_or_not(
    stocked: str, said: str, where: int
) -> None:
    words = [sys.executable, "-c", SAYS, stocked, "nothing", "nothing"]
    words[where + 2] = f"could not read {said} there"
    subprocess.run(words, capture_output=True, check=True)
    (found,) = findings.take()
    assert "could not read" in found


@pytest.mark.security("L1", "S53")
def test_what_a_process_writes_to_its_log_is_searched_too(stocked: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("ab") as output:
        process = subprocess.Popen([sys.executable, "-c", SAYS, stocked, NAME, ""], stdout=output)
        process.wait()
        process.wait()
    (found,) = findings.take()
    assert NAME in found


@pytest.mark.security("L1", "S53")
def test_a_process_runs_at_debug_unless_the_test_says_otherwise(stocked: str) -> None:
    asked = "import os; print(os.environ.get('FHIR_TRACKER_LOG_LEVEL'))"
    for env, level in (
        (None, "DEBUG"),
        ({"FHIR_TRACKER_LOG_LEVEL": "ERROR"}, "ERROR"),
        ({"FHIR_TRACKER_DATABASE": stocked}, "DEBUG"),
    ):
        run = subprocess.run(
            [sys.executable, "-c", asked, stocked], env=env, capture_output=True, text=True, check=True
        )
        assert run.stdout.strip() == level
    plain = subprocess.run([sys.executable, "-c", asked], env={}, capture_output=True, text=True, check=True)
    assert plain.stdout.strip() == "None", "a process without a database is left alone"


@pytest.mark.security("L1", "S53")
@pytest.mark.parametrize(
    ("table", "statement"),
    [
        ("setting", "INSERT INTO setting (key, value) VALUES ('last', '{}')"),
        ("job", FAILED_JOB),
    ],
)
def test_a_row_outside_of_the_store_is_searched_at_the_end_of_a_process(
    stocked: str, table: str, statement: str
) -> None:
    _execute(stocked, statement.format(BORN))
    assert any(row.startswith(f"{table}: ") and BORN in row for row in books(stocked))
    subprocess.run([sys.executable, "-c", "", stocked], check=True)
    (found,) = findings.take()
    assert f"a row of {BORN!r} in '{table}" in found.replace('"', "'")


def _execute(url: str, statement: str) -> None:
    if url.startswith("sqlite:///"):
        with sqlite3.connect(url.removeprefix("sqlite:///")) as file:
            file.execute(statement)
        file.close()
    else:
        with psycopg.connect(url) as server:
            server.execute(statement.encode())


@pytest.mark.security("L1", "S53")
def test_what_a_broker_is_given_is_searched_packed_or_not_and_gone_or_not(stocked: str, tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    try:
        with redis.Redis.from_url(server.url) as client:
            client.lpush("celery", json.dumps({"body": "W1tdLCB7InBhdGllbnQiOiAiMTkzMS0wNy0xMyJ9XQ=="}))
            client.lpop("celery")
            client.hset("meta", "who", NAME)
        env = {"FHIR_TRACKER_DATABASE": stocked, "FHIR_TRACKER_REDIS_URL": server.url}
        subprocess.run([sys.executable, "-c", ""], env=env, check=True)
    finally:
        server.stop()
    found = findings.take()
    assert len(found) == 2
    assert all("Redis was given" in one for one in found)
    assert written_to("redis://127.0.0.1:1/0") == []


@pytest.mark.security("L1", "S53")
@pytest.mark.parametrize("logger", ["api.edge", "subscriptions.sync", "some.library", "multipart"])
def test_records_of_all_loggers_are_searched_as_they_would_be_written(stocked: str, logger: str) -> None:
    log = logging.getLogger(logger)
    log.debug("read %s", BORN)
    log.info("read", extra={"fields": {"who": NAME}})
    try:
        raise ValueError(NAME)
    except ValueError:
        log.debug("failed", exc_info=True)
    findings.search_records([stocked])
    assert len(findings.take()) == 2, "a message and a field; of an error only its kind and places are ever written"


@pytest.mark.security("L1", "L2", "S53")
def test_addresses_that_the_product_asks_are_searched_and_those_that_a_test_asks_are_not(stocked: str) -> None:
    url = f"http://127.0.0.1:9/keys?birthdate={BORN}"
    with respx.mock:
        respx.get(url).mock(return_value=Response(200, json={"keys": []}))
        httpx.get(url)
        findings.search_records([stocked])
        assert findings.take() == []
        fetch_key_set(url)
    findings.search_records([stocked])
    (found,) = findings.take()
    assert url in found


@pytest.mark.security("L1", "L2")
def test_addresses_that_an_answer_leads_on_to_are_searched(stocked: str) -> None:
    with respx.mock:
        respx.get("http://tracker.example/").mock(return_value=Response(303, headers={"Location": f"/?find={BORN}"}))
        httpx.get("http://tracker.example/")
    findings.search_records([stocked])
    (found,) = findings.take()
    assert f"/?find={BORN}" in found


@pytest.mark.security("L1")
@pytest.mark.parametrize(
    ("words", "is_shown"),
    [
        *((("fhir-tracker", *one, "--json"), True) for one in SHOWING),
        *((one, True) for one in SHOWING),
        (("fhir-tracker", "sync", "clinic", "--once"), False),
        (("fhir-tracker", "quarantine", "list"), False),
        (("fhir-tracker", "audit", "verify"), False),
        (("fhir-tracker", "serve", "--open"), False),
    ],
)
def test_only_commands_whose_purpose_it_is_may_show_patients_and_never_on_standard_error(
    stocked: str, words: tuple[str, ...], is_shown: bool
) -> None:
    assert shows(words) is is_shown
    search_answer(words, NAME, "", stocked)
    assert bool(findings.take()) is not is_shown
    search_answer(words, "", NAME, stocked)
    assert len(findings.take()) == 1


@pytest.mark.parametrize(
    ("words", "settings", "database"),
    [
        (["x", "--database", "sqlite:////tmp/a.db"], {"FHIR_TRACKER_DATABASE": "sqlite:////b"}, "sqlite:////tmp/a.db"),
        (["x", "--database=postgresql://h/n"], {}, "postgresql://h/n"),
        (["x"], {"FHIR_TRACKER_DATABASE": "sqlite:////b"}, "sqlite:////b"),
        (["x"], {}, ""),
    ],
)
def test_the_database_of_a_process_is_its_argument_else_its_setting(
    words: list[str], settings: dict[str, str], database: str
) -> None:
    assert database_of(words, settings) == database


@pytest.mark.parametrize("text", [NAME, BORN, "14 Sparrow Lane", "+1 555 010 4477", 'a"b\\c'])
def test_a_text_is_found_in_every_spelling_and_nowhere_else(text: str) -> None:
    for spelled in spellings(text):
        assert found_in(["nothing here", f"x{spelled}y"], [text])
    assert found_in(["nothing here", text[:-1]], [text]) == []


def test_what_is_not_searched_is_there_and_says_why(database: Database) -> None:
    for path in (ROOT / "fhir_tracker" / "storage").glob("*_tables.py"):
        importlib.import_module(f"fhir_tracker.storage.{path.stem}")
    columns = {(table.name, column.name) for table in metadata.tables.values() for column in table.columns}
    assert set(STORE) <= {table for table, _ in columns}
    assert set(OF_PEOPLE) <= columns
    assert all((*STORE.values(), *OF_PEOPLE.values(), *SHOWING.values()))
