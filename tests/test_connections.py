"""What a connection may be called and where it may point, who is next, and what stays when it goes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_tracker import connections, intake
from fhir_tracker.errors import Conflict, NotFound, UsageError
from fhir_tracker.intake import Received
from fhir_tracker.model.author import Author
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.storage import connections as stored
from fhir_tracker.storage import cursors, resources
from fhir_tracker.storage.cursors import Cursor
from fhir_tracker.storage.database import Database, Tx

NOW = datetime(2024, 5, 6, 12, 0, tzinfo=UTC)
URL = "https://ehr.example/fhir/"
VIEWER = worker_viewer("sync")


def mirror(tx: Tx, key: str, id_: str = "1") -> None:
    """One resource as it comes from a connection."""
    raw = f'{{"resourceType":"Patient","id":"{id_}"}}'.encode()
    entry = intake.read_entry(raw, "Patient", lambda resource: resource | {"id": f"{key}-{resource['id']}"})
    assert isinstance(entry, Received)
    intake.take_page(tx, [entry], key, Author(viewer=VIEWER, origin=f"ehr:{key}", at=NOW))


def test_a_connection_is_kept_without_its_closing_slash(database: Database) -> None:
    with database.begin() as tx:
        added = connections.add(tx, "clinic-1", URL, now=NOW, types=["Patient", "Patient", "Task"])
        assert connections.get(tx, "clinic-1") == added
    assert (added.base_url, added.types) == ("https://ehr.example/fhir", ("Patient", "Task"))
    assert (added.state, added.last_attempt_at, added.last_error, added.created_at) == ("new", None, None, NOW)


def test_a_key_is_taken_once_and_a_missing_one_is_named(database: Database) -> None:
    with database.begin() as tx:
        with pytest.raises(NotFound, match="there are: none"):
            connections.get(tx, "clinic")
        connections.add(tx, "clinic", URL, now=NOW)
        with pytest.raises(Conflict, match="choose another key"):
            connections.add(tx, "clinic", URL, now=NOW)
        with pytest.raises(NotFound, match="there are: clinic"):
            connections.get(tx, "clinics")
        with pytest.raises(NotFound):
            connections.remove(tx, "clinics")


@pytest.mark.parametrize(
    ("there", "new", "refused"),
    [
        ("clinic", "clinic-b", True),
        ("clinic-b", "clinic", True),
        ("clinic", "clinic-", True),
        ("a", "a-b-c", True),
        ("a-b-c", "a", True),
        ("a-b", "a-b-c", True),
        ("clinic", "clinics", False),
        ("clinic", "clini", False),
        ("clinic-a", "clinic-b", False),
        ("a-b", "a-bc", False),
        ("a-bc", "a-b", False),
        ("1", "11", False),
    ],
)
def test_a_key_that_continues_another_is_refused_and_any_other_is_not(
    database: Database, there: str, new: str, refused: bool
) -> None:
    with database.begin() as tx:
        connections.add(tx, there, URL, now=NOW)
        if refused:
            with pytest.raises(Conflict, match="make the same ids"):
                connections.add(tx, new, URL, now=NOW)
        else:
            connections.add(tx, new, URL, now=NOW)
        assert [one.key for one in stored.all(tx)] == sorted([there] if refused else [there, new])


def test_a_key_is_refused_for_what_a_removed_connection_left_behind(database: Database) -> None:
    with database.begin() as tx:
        connections.add(tx, "clinic", URL, now=NOW)
        mirror(tx, "clinic")
        connections.remove(tx, "clinic")
        with pytest.raises(Conflict, match="clinic and clinic-b"):
            connections.add(tx, "clinic-b", URL, now=NOW)
        connections.add(tx, "clinic", URL, now=NOW)
        connections.add(tx, "north", URL, now=NOW)


@pytest.mark.parametrize("key", ["", "A", "a b", "a_b", "x" * 21, "a/b", "ü", "a\n", "a.b", "a|b"])
def test_a_key_that_could_not_begin_an_id_is_refused(database: Database, key: str) -> None:
    with pytest.raises(UsageError, match="connection key"):
        connections.checked_key(key)
    with database.begin() as tx, pytest.raises(UsageError):
        connections.add(tx, key, URL, now=NOW)


ADDRESSES = [
    ("https://ehr.example/fhir", "https://ehr.example/fhir"),
    ("https://ehr.example/fhir///", "https://ehr.example/fhir"),
    ("http://127.0.0.1:8080/fhir", "http://127.0.0.1:8080/fhir"),
    ("http://[::1]:8080/r4", "http://[::1]:8080/r4"),
    ("https://ehr.example", "https://ehr.example"),
    ("https://ehr.example/a/b%20c", "https://ehr.example/a/b%20c"),
]


@pytest.mark.parametrize(("given_", "kept"), ADDRESSES)
def test_an_address_is_kept_as_base(given_: str, kept: str) -> None:
    assert connections.checked_base_url(given_) == kept


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ehr.example",
        "//ehr.example/fhir",
        "ftp://e/f",
        "file:///etc/passwd",
        "https://",
        "https:///fhir",
        "https://u:p@e/f",
        "https://u@e/f",
        "https://e/f?x=1",
        "https://e/f?",
        "https://e/f#x",
        "http://e:99999/",
        "http://e:0/",
        "http://e:x/",
        "http://[::1/",
        "http://e/ f",
        "http://e/f\n",
        "http://ë/f",
        "javascript:alert(1)",
    ],
)
def test_an_address_that_is_no_fhir_base_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="--base-url"):
        connections.checked_base_url(url)


CHECKS = (connections.checked_key, connections.checked_base_url, connections.checked_subscribe, connections.seconds)


@given(st.text(max_size=60))
def test_no_text_makes_the_checks_do_anything_but_accept_or_refuse(text: str) -> None:
    for check in CHECKS:
        with suppress(UsageError):
            check(text)


@pytest.mark.parametrize("options", [{}, {"auth": "none"}, {"auth": "basic", "secret_file": "/run/secrets/x"}])
def test_authentication_is_kept_as_told(database: Database, options: dict[str, Any]) -> None:
    with database.begin() as tx:
        assert connections.add(tx, "clinic", URL, now=NOW, options=options).options == options
        with pytest.raises(UsageError, match="--auth"):
            connections.add(tx, "other", URL, now=NOW, options={"auth": "smart"})


@pytest.mark.parametrize(
    ("types", "kept"),
    [((), ()), (["Task", "Patient"], ("Task", "Patient")), (["Task", "Patient", "Task"], ("Task", "Patient"))],
)
def test_types_keep_their_order_and_come_once(types: Sequence[str], kept: tuple[str, ...]) -> None:
    assert connections.checked_types(types) == kept


@pytest.mark.parametrize("types", [["Nonsense"], ["Patient", "patient"], [""], ["Patient,Task"], ["*"]])
def test_a_type_that_is_none_of_fhir_r4_is_refused(types: list[str]) -> None:
    with pytest.raises(UsageError, match="Not a FHIR R4 resource type"):
        connections.checked_types(types)


@pytest.mark.parametrize("how", ["websocket", "", "None"])
def test_other_ways_to_subscribe_are_refused(how: str) -> None:
    with pytest.raises(UsageError, match="is one of auto, rest-hook, backport, none"):
        connections.checked_subscribe(how)


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("5m", 300), ("2h", 7200), ("15", 15), ("1s", 1), ("7d", 604_800), ("1.5m", 90)]
)
def test_durations_are_read(text: str, seconds: int) -> None:
    assert connections.seconds(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "0s", "8d", "-1s", "soon", "500ms", "99999999999s", "1 s", "1w", "s", "1s2s", "٣s"]
)
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="duration"):
        connections.seconds(text)


@pytest.mark.parametrize(
    ("poll", "pauses"),
    [
        (30, [30, 60, 120, 240, 480, 900, 900]),
        (1, [1, 2, 4, 8, 16, 32, 64]),
        (600, [600, 900, 900, 900, 900, 900, 900]),
        (900, [900] * 7),
        (3600, [3600] * 7),
        (604_800, [604_800] * 7),
    ],
)
def test_pauses_double_up_to_a_quarter_of_an_hour_and_are_never_shorter_than_the_interval(
    poll: int, pauses: list[int]
) -> None:
    assert [connections.pause_after(poll, failures) / timedelta(seconds=1) for failures in range(7)] == pauses
    assert connections.pause_after(poll, 10_000) == connections.pause_after(poll, 13)


@given(st.integers(1, connections.LONGEST_POLL), st.integers(0, 10_000))
def test_a_pause_never_shrinks_with_more_failures_and_is_bounded(poll: int, failures: int) -> None:
    pause = connections.pause_after(poll, failures)
    interval = timedelta(seconds=poll)
    assert interval <= pause <= max(connections.LONGEST_PAUSE, interval)
    assert connections.pause_after(poll, failures + 1) >= pause


def test_a_removed_connection_forgets_how_far_it_came_and_keeps_what_it_brought(database: Database) -> None:
    with database.begin() as tx:
        connections.add(tx, "clinic", URL, now=NOW)
        connections.add(tx, "north", URL, now=NOW)
        for key in ("clinic", "north"):
            mirror(tx, key)
            cursors.save(tx, Cursor(connection=key, type="Patient", watermark=NOW, updated_at=NOW))
        removed = connections.remove(tx, "clinic")
        assert removed.key == "clinic"
        assert cursors.of_connection(tx, "clinic") == []
        assert len(cursors.of_connection(tx, "north")) == 1
        assert resources.ids_of(tx, "clinic", "Patient") == {"1": "clinic-1"}
        assert [one.key for one in stored.all(tx)] == ["north"]
        again = connections.add(tx, "clinic", URL, now=NOW)
        assert again.state == "new"


def test_a_key_with_data_of_one_server_is_not_given_to_another(database: Database) -> None:
    other = "http://127.0.0.1:2/fhir"
    with database.begin() as tx:
        for key in ("clinic", "empty"):
            connections.add(tx, key, URL, now=NOW)
        mirror(tx, "clinic")
        for key in ("clinic", "empty"):
            connections.remove(tx, key)
        with pytest.raises(Conflict, match="--moved"):
            connections.add(tx, "clinic", other, now=NOW)
        assert connections.add(tx, "empty", other, now=NOW).base_url == other
        assert connections.add(tx, "clinic", other, now=NOW, moved=True).base_url == other
        connections.remove(tx, "clinic")
        assert connections.add(tx, "clinic", other, now=NOW).state == "new"


@pytest.mark.parametrize(
    ("state", "age", "under_way"),
    [("new", 0, True), ("new", 119, True), ("new", 120, False), ("ok", 0, False), ("failing", 0, False)],
)
def test_a_first_load_is_under_way_while_it_makes_progress(
    database: Database, state: str, age: int, under_way: bool
) -> None:
    with database.begin() as tx:
        assert not connections.first_load_under_way(tx, NOW)
        connections.add(tx, "clinic", URL, now=NOW)
        assert not connections.first_load_under_way(tx, NOW)
        cursors.save(tx, Cursor(connection="clinic", type="Patient", updated_at=NOW - timedelta(seconds=age)))
        if state == "ok":
            stored.note_success(tx, "clinic", NOW)
        if state == "failing":
            stored.note_failure(tx, "clinic", NOW, "it answers 503")
        assert connections.first_load_under_way(tx, NOW) is under_way
