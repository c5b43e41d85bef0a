"""What an EHR sends of no use to a rule or a queue waits with its reason; everything else comes in, whatever is odd about it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fhir_tracker import intake, records
from fhir_tracker.intake import Received, Unusable
from fhir_tracker.model.author import Author
from fhir_tracker.model.viewer import open_viewer, worker_viewer
from fhir_tracker.storage import resources, work_items
from fhir_tracker.storage.database import Database
from mappings import mapping_named, mapping_names
from mappings.tables import STATUS_TYPES
from tests.api.staff.samples import NOW
from tests.mappings.fixtures import BASE, SOURCE

MINE = {"reference": "Patient/1"}


def visit(**members: Any) -> dict[str, Any]:
    there = [{"actor": MINE, "status": "accepted"}]
    return {"resourceType": "Appointment", "id": "x", "status": "booked", "participant": there, **members}


def task(**members: Any) -> dict[str, Any]:
    return {"resourceType": "Task", "id": "x", "status": "requested", "intent": "order", "for": MINE, **members}


def stay(**members: Any) -> dict[str, Any]:
    return {"resourceType": "Encounter", "id": "x", "status": "finished", "subject": MINE, **members}


NO_TIME = "is not a time that R4 knows, with its zone."
WAIT: list[tuple[str, dict[str, Any], str]] = [
    ("status of null", visit(status=None), "Appointment.status is not a code."),
    ("empty status", visit(status=""), "No code table knows the Appointment.status that was sent."),
    ("unknown status", visit(status="No Show"), "No code table knows the Appointment.status 'No Show'."),
    ("status in capitals", visit(status="Booked"), "No code table knows the Appointment.status 'Booked'."),
    ("zone of letters", visit(start="2026-03-10T09:00:00 EST"), f"Appointment.start {NO_TIME}"),
    ("zone of letters, no blank", visit(end="2026-03-10T09:30:00EDT"), f"Appointment.end {NO_TIME}"),
    ("no zone", visit(start="2026-03-10T09:00:00"), f"Appointment.start {NO_TIME}"),
    ("offset without colon", visit(start="2026-03-10T09:00:00-0500"), f"Appointment.start {NO_TIME}"),
    ("a day", visit(start="2026-03-10"), f"Appointment.start {NO_TIME}"),
    ("no day of the calendar", visit(start="2026-02-30T09:00:00Z"), f"Appointment.start {NO_TIME}"),
    ("seconds since 1970", visit(start=1773133200), f"Appointment.start {NO_TIME}"),
    ("time of null", visit(start=None), f"Appointment.start {NO_TIME}"),
    ("due with letters", task(restriction={"period": {"end": "03/10/2026"}}), f"Task.restriction.period.end {NO_TIME}"),
    ("a period that is a text", task(restriction={"period": "today"}), f"Task.restriction.period.end {NO_TIME}"),
    ("a discharge without zone", stay(period={"end": "2026-03-10T09:00"}), f"Encounter.period.end {NO_TIME}"),
    ("several patients", task(**{"for": [MINE, {"reference": "Patient/2"}]}), "Task.for is not one reference."),
    ("a patient as text", task(**{"for": "Patient/1"}), "Task.for is not one reference."),
    ("a patient of null", stay(subject=None), "Encounter.subject is not one reference."),
    ("participants as text", visit(participant="Patient/1"), "Appointment.participant is not a list of who takes part."),
    ("an actor as text", visit(participant=[{"actor": "Patient/1"}]), "Appointment.participant is not a list of"),
    ("a type of nobody's", {"resourceType": "Pirate", "id": "x"}, "The `resourceType` is not one of FHIR R4."),
    ("an endless id", task(id="x" * 300), "`id` is not a usable string."),
    *(
        (f"{one} without status", {"resourceType": one, "id": "x"}, f"The {one} has no `status`.")
        for one in sorted(STATUS_TYPES)
    ),
]  # fmt: skip

DEEP: dict[str, Any] = {"url": "urn:leaf", "valueString": "x"}
for _ in range(20):
    DEEP = {"url": "urn:branch", "extension": [DEEP]}
COME: list[tuple[str, dict[str, Any], str | None]] = [
    ("minutes alone", visit(start="2026-03-10T09:00Z", end="2026-03-10T09:30-05:00"), "clinic-1"),
    ("no patient", visit(participant=[{"actor": {"reference": "Practitioner/1"}, "status": "accepted"}]), None),
    ("no participant", visit(participant=[]), None),
    ("two patients", visit(participant=[{"actor": MINE}, {"actor": {"reference": "Patient/2"}}]), "clinic-1"),
    ("partial dates", task(authoredOn="2026-03", restriction={"period": {"end": "2026-03-10"}}), "clinic-1"),
    ("a forest of extensions", task(extension=[DEEP, *({"url": f"urn:{n}", "valueCode": "x"} for n in range(999))]), "clinic-1"),
    ("extensions of null", task(extension=[None], modifierExtension={}), "clinic-1"),
    ("a contained patient", task(contained=[{"resourceType": "Patient", "id": "p"}], **{"for": {"reference": "#p"}}), None),
    ("contained nonsense", task(contained=[{"resourceType": "Pirate"}, 7, None]), "clinic-1"),
    ("a reference to nothing contained", task(focus={"reference": "#nobody"}), "clinic-1"),
    ("a reference to a type of nobody's", task(focus={"reference": "Pirate/1"}), "clinic-1"),
    ("an identifier alone", task(**{"for": {"identifier": {"system": "urn:mrn", "value": "7"}}}), None),
    ("a name alone", task(**{"for": {"display": "somebody"}}), None),
    ("the server in capitals", task(**{"for": {"reference": "HTTPS://EHR.EXAMPLE/fhir/Patient/1"}}), "clinic-1"),
    ("the server with its port", task(**{"for": {"reference": "https://ehr.example:443/fhir/Patient/1"}}), "clinic-1"),
    ("the server without encryption", task(**{"for": {"reference": "http://ehr.example/fhir/Patient/1"}}), "clinic-1"),
    ("another server", task(**{"for": {"reference": "https://other.example/fhir/Patient/1"}}), None),
    ("unknown enums of little weight", task(intent="whim", priority="super"), "clinic-1"),
    ("members of nobody's", task(colour="red", note=[None, 7, {"text": "x"}]), "clinic-1"),
    ("texts where concepts belong", task(businessStatus="x", code="y", statusReason=7), "clinic-1"),
    ("a birthday of another land", {"resourceType": "Patient", "id": "1", "birthDate": "10/03/1950", "gender": "X"}, "clinic-1"),
    ("a name that is no list", {"resourceType": "Patient", "id": "1", "name": {"family": "Synthetic"}}, "clinic-1"),
    ("an end before its start", stay(period={"start": "2026-03-10T09:00:00Z", "end": "2026-03-09"}), "clinic-1"),
    ("a class of text", stay(**{"class": "inpatient"}), "clinic-1"),
    ("part of a resource", {"resourceType": "Task", "id": "x", "meta": {"tag": [{"code": "SUBSETTED"}]}}, None),
]  # fmt: skip


def read(vendor: str, sent: dict[str, Any]) -> Received | Unusable:
    type_ = sent["resourceType"] if sent["resourceType"] != "Pirate" else "Task"
    return intake.read_entry(
        json.dumps(sent).encode(), type_, lambda one: mapping_named(vendor).to_tracker(one, SOURCE)
    )


@pytest.mark.parametrize("vendor", mapping_names())
@pytest.mark.parametrize(("sent", "why"), [row[1:] for row in WAIT], ids=[row[0] for row in WAIT])
def test_what_no_rule_could_go_by_waits_with_its_reason(vendor: str, sent: dict[str, Any], why: str) -> None:
    found = read(vendor, sent)
    assert isinstance(found, Unusable)
    assert found.reason.startswith(why)
    assert json.loads(found.body) == sent


@pytest.fixture
def ready_url(tmp_path: Any, prepared_file: Any) -> str:
    """The subject is what comes in; the storage has tests of its own on each database."""
    (tmp_path / "t.db").write_bytes(prepared_file.read_bytes())
    return f"sqlite:///{tmp_path / 't.db'}"


def test_what_is_merely_odd_comes_in_and_belongs_to_whom_it_says(database: Database) -> None:
    author = Author(viewer=worker_viewer("sync"), origin="ehr:clinic", at=NOW)
    for vendor in mapping_names():
        for number, (what, sent, patient) in enumerate(COME):
            key = f"{vendor.replace('_', '-')}-{number}" if sent["resourceType"] != "Patient" else "1"
            entry = read(vendor, {**sent, "id": key})
            assert isinstance(entry, Received), (vendor, what)
            with database.begin() as tx:
                intake.take_page(tx, [entry], "clinic", author)
            with database.read() as tx:
                stored = resources.find(tx, open_viewer(), entry.type, entry.resource["id"])
                assert stored is not None, (vendor, what)
                assert stored.patient == patient, (vendor, what)
                assert records.resource_of(stored)["meta"]["source"] == f"{BASE}/{entry.type}/{key}"
                if entry.type == "Task":
                    item = work_items.find(tx, worker_viewer("queue"), f"Task/{stored.id}")
                    assert item is not None, (vendor, what)
                    assert item.patient == patient, (vendor, what)
