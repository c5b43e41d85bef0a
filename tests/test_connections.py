from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fhir_tracker import connections
from fhir_tracker.errors import Conflict, NotFound, UsageError
from fhir_tracker.storage.database import Database

NOW = datetime(2024, 5, 6, 12, 0, tzinfo=UTC)
URL = "https://ehr.example/fhir/"


def test_a_connection_is_kept_without_its_closing_slash(database: Database) -> None:
    with database.begin() as tx:
        added = connections.add(tx, "clinic-1", URL, now=NOW, types=["Patient", "Patient", "Task"])
        assert connections.get(tx, "clinic-1") == added
    assert (added.base_url, added.types) == ("https://ehr.example/fhir", ("Patient", "Task"))


def test_a_key_is_taken_once_and_a_missing_one_is_named(database: Database) -> None:
    with database.begin() as tx:
        connections.add(tx, "clinic", URL, now=NOW)
        with pytest.raises(Conflict, match="choose another key"):
            connections.add(tx, "clinic", URL, now=NOW)
        with pytest.raises(NotFound, match="there are: clinic"):
            connections.get(tx, "clinics")


@pytest.mark.parametrize("key", ["", "A", "a b", "a_b", "x" * 21, "a/b", "ü"])
def test_a_key_that_could_not_begin_an_id_is_refused(key: str) -> None:
    with pytest.raises(UsageError, match="connection key"):
        connections.checked_key(key)


@pytest.mark.parametrize(
    "url",
    [
        "ehr.example",
        "ftp://e/f",
        "https://",
        "https://u:p@e/f",
        "https://e/f?x=1",
        "https://e/f#x",
        "http://e:99999/",
        "http://e/ f",
    ],
)
def test_an_address_that_is_no_fhir_base_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="--base-url"):
        connections.checked_base_url(url)


@pytest.mark.parametrize(
    "options", [{"auth": "basic"}, {"auth": "smart"}, {"auth": "none", "secret_file": "/x"}, {"secret_file": "/x"}]
)
def test_authentication_that_makes_no_sense_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="--auth"):
        connections.checked_options(options)


def test_unknown_types_and_later_ways_to_subscribe_are_refused() -> None:
    with pytest.raises(UsageError, match="Nonsense"):
        connections.checked_types(["Patient", "Nonsense"])
    with pytest.raises(UsageError, match="later version"):
        connections.checked_subscribe("rest-hook")


@pytest.mark.parametrize(("text", "seconds"), [("30s", 30), ("5m", 300), ("2h", 7200), ("15", 15)])
def test_durations_are_read(text: str, seconds: int) -> None:
    assert connections.seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "0s", "8d", "-1s", "soon", "500ms", "99999999999s"])
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="duration"):
        connections.seconds(text)


def test_pauses_double_and_are_capped_but_never_shorter_than_the_interval() -> None:
    assert [connections.pause_after(30, failures) // timedelta(seconds=1) for failures in (0, 1, 2, 50)] == [
        30,
        60,
        120,
        900,
    ]
    assert connections.pause_after(3600, 50) == timedelta(hours=1)
