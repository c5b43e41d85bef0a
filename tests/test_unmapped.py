"""Codes that no table knows: one open Task names them all, and who closes it is asked about new ones only."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from fhir_tracker import intake, records, task_resources
from fhir_tracker.fhir.body import write_json
from fhir_tracker.fhir.checks import check
from fhir_tracker.intake import Received
from fhir_tracker.model.author import Author
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.storage import resources
from fhir_tracker.storage.database import Database
from fhir_tracker.unmapped import task_id
from mappings import Source, mapping_named

NOW = datetime(2026, 3, 9, 9, tzinfo=UTC)
AUTHOR = Author(viewer=worker_viewer("sync"), origin="ehr:clinic", at=NOW)
SOURCE = Source(key="clinic", base_url="https://ehr.example/fhir")
SITE = "urn:oid:1.2.840.114350.1"
Take = Callable[..., None]


@pytest.fixture
def take(database: Database) -> Take:
    epic = mapping_named("epic")

    def taken(id_: str, *codes: str) -> None:
        visit = {
            "resourceType": "Appointment",
            "id": id_,
            "status": "booked",
            "serviceType": [{"coding": [{"system": SITE, "code": code}]} for code in codes],
            "participant": [{"actor": {"reference": "Patient/1"}, "status": "accepted"}],
        }
        entry = intake.read_entry(write_json(visit).encode(), "Appointment", lambda one: epic.to_tracker(one, SOURCE))
        assert isinstance(entry, Received)
        with database.begin() as tx:
            assert intake.take_page(tx, [entry], "clinic", AUTHOR).applied == 1

    return taken


def told(database: Database, number: int) -> dict[str, Any]:
    with database.read() as tx:
        stored = resources.find(tx, AUTHOR.viewer, "Task", task_id("clinic", "appointment-type", number))
        return records.resource_of(stored) if stored else {}


def test_the_codes_are_named_in_one_open_task_that_is_right_fhir(database: Database, take: Take) -> None:
    take("1", "1004")
    take("2", "1004", "1005")
    first = told(database, 1)
    assert first["status"] == "requested"
    assert first["code"]["coding"][0]["code"] == "unmapped-code"
    assert f"{SITE}|1004, {SITE}|1005." in first["reasonCode"]["text"]
    assert not [issue for issue in check(first) if issue.severity == "error"]
    assert not told(database, 2)


def test_what_was_named_is_not_named_again_and_the_task_is_left_alone(database: Database, take: Take) -> None:
    take("1", "1004")
    before = told(database, 1)["meta"]["versionId"]
    take("2", "1004")
    assert told(database, 1)["meta"]["versionId"] == before


def test_after_it_is_completed_only_new_codes_open_another(database: Database, take: Take) -> None:
    take("1", "1004")
    with database.begin() as tx:
        done = task_resources.with_status(told(database, 1), None, "completed", NOW)
        records.save(tx, done, AUTHOR)
    take("2", "1004")
    assert not told(database, 2)
    take("3", "1006")
    assert f"{SITE}|1006." in told(database, 2)["reasonCode"]["text"]
    assert "1004" not in told(database, 2)["reasonCode"]["text"]


def test_a_site_with_very_many_codes_makes_one_task_and_no_more(database: Database, take: Take) -> None:
    take("1", *[f"{number:04}" for number in range(700)])
    take("2", "9999")
    assert "and 460 more" in told(database, 1)["reasonCode"]["text"]
    assert len(told(database, 1)["reasonCode"]["text"]) < 4000
    assert not told(database, 2)
