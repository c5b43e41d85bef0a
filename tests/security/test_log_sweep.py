"""The sweep that every server of a run goes through at its end: what it would find, and that it finds it."""

from __future__ import annotations

import json

import pytest

from fhir_tracker import records
from fhir_tracker.storage.database import Database
from tests.support.clinic import MONDAY, author
from tests.support.log_sweep import leaks, told

PERSON = {
    "resourceType": "Patient",
    "id": "p",
    "name": [{"family": "Kanarienvogel", "given": ["Wilhelmina"], "text": "W. Kanarienvogel"}],
    "birthDate": "1931-07-13",
    "identifier": [{"value": "MRN-730915"}, {"value": "12345"}],
    "telecom": [{"system": "phone", "value": "+1 555 010 4477"}],
    "address": [{"line": ["14 Sparrow Lane"]}],
}
TASK = {
    "resourceType": "Task",
    "id": "t",
    "status": "requested",
    "intent": "order",
    "note": [{"text": "mentioned-a-canary-in-the-note"}],
}
SECRETS = [
    *("Kanarienvogel", "Wilhelmina", "1931-07-13", "MRN-730915", "+1 555 010 4477", "14 Sparrow Lane"),
    "mentioned-a-canary-in-the-note",
]


@pytest.fixture
def stocked(database: Database, ready_url: str) -> str:
    """The address of a database with one synthetic patient and a Task with a note."""
    with database.begin() as tx:
        for body in (PERSON, TASK):
            records.save(tx, json.loads(json.dumps(body)), author(MONDAY))
    return ready_url


@pytest.mark.security("L1", "S53")
def test_what_a_database_tells_of_people_and_in_notes_is_known(stocked: str) -> None:
    assert told(stocked) >= set(SECRETS)
    assert "12345" not in told(stocked), "a short number may stand in any line"


@pytest.mark.security("L1", "S53")
def test_a_name_that_an_id_was_made_of_says_no_more_than_the_id(stocked: str, database: Database) -> None:
    with database.begin() as tx:
        records.save(tx, {"resourceType": "Patient", "id": "north-Kanarienvogel-7"}, author(MONDAY))
    assert set(SECRETS) - told(stocked) == {"Kanarienvogel"}


@pytest.mark.security("L1", "S53")
@pytest.mark.parametrize("secret", SECRETS)
def test_each_of_them_is_found_wherever_it_stands_in_a_log(stocked: str, secret: str) -> None:
    clean = "2026-03-02T14:00:00.000Z INFO api.edge request route=/fhir/{type}/{id} status=200 ms=12345\n" * 50
    assert leaks(clean, stocked) == []
    (found, *_) = leaks(f'{clean}WARNING x "could not read {secret}"\n{clean}', stocked)
    assert "could not read" in found


@pytest.mark.security("L1")
@pytest.mark.parametrize("url", ["sqlite:////nowhere/t.db", "postgresql://127.0.0.1:1/none"])
def test_a_database_that_is_away_tells_nothing(url: str) -> None:
    assert told(url) == set()
