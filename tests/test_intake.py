from __future__ import annotations

from datetime import UTC, datetime

import pytest

from fhir_tracker import connections, intake
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.intake import EntryRefused, Received, Tally, Unusable
from fhir_tracker.model.author import Author
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.storage import quarantine, resources
from fhir_tracker.storage.database import Database

NOW = datetime(2024, 5, 6, 12, 0, tzinfo=UTC)
AUTHOR = Author(viewer=worker_viewer("sync"), origin="ehr:clinic", at=NOW)


def translate(resource: Resource) -> Resource:
    return resource | {"id": f"clinic-{resource['id']}"}


def received(text: str) -> Received:
    entry = intake.read_entry(text.encode(), "Patient", translate)
    assert isinstance(entry, Received)
    return entry


def test_a_page_is_counted_entry_by_entry(database: Database) -> None:
    with database.begin() as tx:
        connections.add(tx, "clinic", "https://ehr.example/fhir", now=NOW)
        entries: list[Received | Unusable] = [
            received('{"resourceType":"Patient","id":"a"}'),
            received('{"resourceType":"Patient","id":"a"}'),
            intake.unusable("Patient", "", "no id", "{}"),
        ]
        tally = intake.take_page(tx, entries, "clinic", AUTHOR)
        assert tally == Tally(fetched=3, applied=1, unchanged=1, quarantined=1)
        assert quarantine.open_count(tx) == 1
        assert intake.take_page(tx, [], "clinic", AUTHOR) == Tally()


def test_an_unusable_entry_never_raises_and_keeps_its_text_without_nul() -> None:
    for raw in (b"", b"\xff", b'{"resourceType":"Patient","id":"a","x":"\x00"}', b"[" * 100_000):
        entry = intake.read_entry(raw, "Patient", translate)
        assert isinstance(entry, Unusable)
        assert "\0" not in entry.body


def test_an_entry_that_cannot_be_written_undoes_its_transaction_and_names_itself(database: Database) -> None:
    good = received('{"resourceType":"Patient","id":"a"}')
    bad = received('{"resourceType":"Patient","id":"b"}')
    bad.resource["meta"] = "not an object, and past the reading"
    bad.resource["name"] = {1: object()}
    with pytest.raises(EntryRefused) as caught, database.begin() as tx:
        intake.take_page(tx, [good, bad], "clinic", AUTHOR)
    assert caught.value.entry is bad
    with database.read() as tx:
        assert resources.ids_of(tx, "clinic", "Patient") == {}


def test_a_deletion_is_applied_once_and_only_if_it_is_the_younger(database: Database) -> None:
    text = '{"resourceType":"Patient","id":"a","meta":{"versionId":"5"}}'
    with database.begin() as tx:
        intake.take_page(tx, [received(text)], "clinic", AUTHOR)
        assert not intake.take_deletion(tx, "Patient", "a", "4", "clinic", AUTHOR)
        assert not intake.take_deletion(tx, "Patient", "unknown", "4", "clinic", AUTHOR)
        assert intake.take_deletion(tx, "Patient", "a", "6", "clinic", AUTHOR)
        assert not intake.take_deletion(tx, "Patient", "a", "6", "clinic", AUTHOR)


def test_a_change_says_that_it_came_from_the_ehr(database: Database) -> None:
    with database.begin() as tx:
        intake.take_page(tx, [received('{"resourceType":"Patient","id":"a"}')], "clinic", AUTHOR)
        version = resources.history(tx, AUTHOR.viewer, "Patient", "clinic-a", count=1)[0]
    assert version.origin == "ehr:clinic"
