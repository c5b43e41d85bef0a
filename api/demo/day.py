"""The demo day: what happens in the EHR and by which request, and what the tracker is expected to make of it."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from api.demo import sights
from api.demo.ehr import FhirApi
from api.demo.records import ZONE, moment
from api.demo.sights import Expectation
from fhir_tracker.fhir.json_types import Resource

SNOMED = "http://snomed.info/sct"
TEST_DATA = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "HTEST"}
TCM_VISIT = {
    "coding": [{"system": "https://fhir-tracker.example/CodeSystem/service", "code": "tcm-visit"}],
    "text": "Transitional care visit",
}


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Where a step acts: the EHR's FHIR API, the remote ids of the cast, the time."""

    ehr: FhirApi
    cast: Mapping[str, str]
    now: datetime


@dataclass(frozen=True, kw_only=True)
class Step:
    """One happening: `who` of the cast it is about, `act` writes to the EHR and answers with what was written.

    `needs_work`: the day begins only when the tracker has work about them from the records as loaded.
    """

    at: float
    title: str
    why: str
    who: str
    act: Callable[[Scene, str], Resource]
    expect: Mapping[str, Expectation]
    needs_work: bool = True


def missed(scene: Scene, patient: str) -> Resource:
    """The visit booked for half an hour ago is marked as missed."""
    visit = scene.ehr.read(f"Appointment/tcm-{patient}")
    return scene.ehr.update({**visit, "status": "noshow"})


def called_off(scene: Scene, patient: str) -> Resource:
    """The patient cancels the visit."""
    visit = scene.ehr.read(f"Appointment/tcm-{patient}")
    return scene.ehr.update({**visit, "status": "cancelled", "cancelationReason": {"text": "No transport that day"}})


def sent_home(scene: Scene, patient: str) -> Resource:
    """The inpatient stay ends now."""
    stay = scene.ehr.read(f"Encounter/stay-{patient}")
    ended = {**stay["period"], "end": _clock(scene.now)}
    home = {"dischargeDisposition": {"text": "Home"}}
    return scene.ehr.update({**stay, "status": "finished", "period": ended, "hospitalization": home})


def seen_urgently(scene: Scene, patient: str) -> Resource:
    """An urgent care visit of half an hour ends now."""
    return scene.ehr.create(
        {
            "resourceType": "Encounter",
            "meta": {"tag": [TEST_DATA]},
            "status": "finished",
            "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
            "type": [{"coding": [{"system": SNOMED, "code": "702927004", "display": "Urgent care clinic"}]}],
            "subject": {"reference": f"Patient/{patient}"},
            "period": {"start": _clock(scene.now - timedelta(minutes=30)), "end": _clock(scene.now)},
            "reasonCode": [{"text": "Shortness of breath"}],
        }
    )


def note_filed(scene: Scene, patient: str) -> Resource:
    """The provider files the visit's note."""
    text = "Progress note of a synthetic patient. Not a real record."
    title = "Progress note"
    return scene.ehr.create(
        {
            "resourceType": "DocumentReference",
            "meta": {"tag": [TEST_DATA]},
            "status": "current",
            "docStatus": "final",
            "type": {"coding": [{"system": "http://loinc.org", "code": "11506-3", "display": title}], "text": title},
            "subject": {"reference": f"Patient/{patient}"},
            "date": _clock(scene.now),
            "content": [
                {"attachment": {"contentType": "text/plain", "data": base64.b64encode(text.encode()).decode()}}
            ],
        }
    )


def booked_again(scene: Scene, patient: str) -> Resource:
    """The front desk books a new visit."""
    local = scene.now.astimezone(ZONE)
    return scene.ehr.create(
        {
            "resourceType": "Appointment",
            "meta": {"tag": [TEST_DATA]},
            "status": "booked",
            "serviceType": [TCM_VISIT],
            "description": "Transitional care visit",
            "start": moment("@+3bT10:00", local),
            "end": moment("@+3bT10:30", local),
            "minutesDuration": 30,
            "participant": [{"actor": {"reference": f"Patient/{patient}"}, "status": "accepted"}],
        }
    )


DAY = (
    Step(
        at=4,
        title="A patient does not come",
        why="The front desk marks the transitional care visit as missed.",
        who="noshow",
        act=missed,
        expect={
            "Work appears: book a new visit": sights.new_task("reschedule-visit"),
            "The patient's page shows it": sights.on_page("Reschedule the missed visit"),
        },
    ),
    Step(
        at=14,
        title="An urgent care visit ends",
        why="Its follow-up call is due in seconds, and nobody in this demo makes it.",
        who="urgent",
        needs_work=False,
        act=seen_urgently,
        expect={
            "A plan opens with a call that is due": sights.new_task_due("urgent-care-call"),
            "The late call escalates to the nurses": sights.escalated(1, "rn"),
            "Then to the provider": sights.escalated(2, "provider"),
            "Then to the clinic admin": sights.escalated(3, "clinic-admin"),
        },
    ),
    Step(
        at=28,
        title="A patient is discharged",
        why="The hospital stay ends; the transitional care clock starts.",
        who="discharged",
        needs_work=False,
        act=sent_home,
        expect={
            "A transitional care plan opens": sights.new_plan("tcm"),
            "The first call has a due time": sights.new_task_due("first-call"),
            "The patient's page shows it": sights.on_page("First call after discharge"),
        },
    ),
    Step(
        at=44,
        title="A visit is cancelled",
        why="The patient calls: no transport that day.",
        who="cancelled",
        act=called_off,
        expect={"Work appears: book a new visit": sights.new_task("reschedule-visit")},
    ),
    Step(
        at=60,
        title="A missing note is filed",
        why="The provider signs the note of the visit three days ago.",
        who="documented",
        act=note_filed,
        expect={"The missing-note work closes by itself": sights.closed_by_itself("write-note")},
    ),
    Step(
        at=76,
        title="The missed visit is booked again",
        why="The patient who did not come has a new appointment.",
        who="noshow",
        act=booked_again,
        expect={"The booking work closes by itself": sights.closed_by_itself("reschedule-visit")},
    ),
)


def written(resource: Resource) -> str:
    """The request of a step in words: an id chosen here was a PUT, one the server gave a POST."""
    kind, version = resource["resourceType"], resource["meta"]["versionId"]
    verb = f"POST /{kind}" if version == "1" else f"PUT /{kind}/{resource['id']}"
    return f'{verb}  "status": "{resource["status"]}"'


def _clock(now: datetime) -> str:
    return now.astimezone(ZONE).replace(microsecond=0).isoformat()
