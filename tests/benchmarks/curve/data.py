"""Synthetic Tasks in any number, written in bulk: the same values come up in the same share at every size."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from fhir_tracker.fhir.body import with_meta, write_json
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.search_values import extract
from fhir_tracker.model.author import Author
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.storage import resources
from fhir_tracker.storage.database import Database

NOW = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
AUTHOR = Author(viewer=worker_viewer("bench"), origin="bench", at=NOW)
SYSTEM = "https://fhir-tracker.example/made-up"
TASKS_EACH = 20
OWNERS = 200
CODES = 20
STATUSES = ("requested", "accepted", "in-progress", "on-hold", "completed")
PERFORMERS = ("rn", "coordinator", "provider", "front-desk", "admin")
_BATCH = 1000


def task(number: int) -> Resource:
    """Task `number`; priority `stat` never meets the performer `admin`, though both are frequent."""
    performer = PERFORMERS[number * 7 % 5]
    priority = "stat" if performer != "admin" and number % 3 == 0 else "routine"
    start = NOW - timedelta(minutes=number % 500_000)
    return {
        "resourceType": "Task",
        "id": f"curve-t{number}",
        "identifier": [{"system": f"{SYSTEM}/numbers", "value": f"T-{number:09d}"}],
        "status": STATUSES[number // 3 % 5],
        "intent": "order",
        "priority": priority,
        "code": {"coding": [{"system": SYSTEM, "code": f"work-{number % CODES}"}]},
        "description": "Synthetic data for a benchmark; there is no such patient. " * 6,
        "for": {"reference": f"Patient/curve-p{number // TASKS_EACH}"},
        "owner": {"reference": f"Practitioner/curve-o{number % OWNERS}"},
        "authoredOn": start.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "performerType": [{"coding": [{"system": SYSTEM, "code": performer}]}],
        "restriction": {"period": {"end": (start + timedelta(days=2)).strftime("%Y-%m-%dT%H:%M:%SZ")}},
    }


def patient(number: int) -> Resource:
    """The patient of twenty Tasks, with an identifier to chain by."""
    return {
        "resourceType": "Patient",
        "id": f"curve-p{number}",
        "identifier": [{"system": f"{SYSTEM}/patients", "value": f"P-{number:08d}"}],
        "name": [{"family": f"Synthetic{number}", "given": ["Curve"]}],
    }


def fill(database: Database, start: int, end: int) -> None:
    """Add the Tasks `start` to `end` and their patients, a thousand a transaction."""
    for first in range(start, end, _BATCH):
        with database.begin() as tx:
            for resource in _some(first, min(first + _BATCH, end)):
                stamped = with_meta(resource, id=str(resource["id"]), version="1", last_updated=NOW)
                patient_id = str(resource.get("for", {}).get("reference", resource["id"])).removeprefix("Patient/")
                new = resources.NewVersion(
                    type=str(resource["resourceType"]),
                    id=str(resource["id"]),
                    version=1,
                    updated_at=NOW,
                    body=write_json(stamped),
                    patient=patient_id,
                    op="create",
                )
                resources.save(tx, new, extract(stamped), AUTHOR)


def _some(first: int, end: int) -> Iterator[Resource]:
    for number in range(first, end):
        if number % TASKS_EACH == 0:
            yield patient(number // TASKS_EACH)
        yield task(number)
