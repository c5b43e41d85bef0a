"""Each try to reach a patient: every channel and outcome as FHIR, counted on the work, and nothing from the future."""

from __future__ import annotations

from datetime import timedelta

import pytest

from fhir_tracker import outreach
from fhir_tracker.errors import Incorrect
from fhir_tracker.fhir.checks import check
from fhir_tracker.fhir.dates import instant
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.model.vocabulary import CHANNELS, OUTCOMES
from fhir_tracker.model.work import WorkItem
from fhir_tracker.storage.database import Database
from tests.support.clinic import COORDINATOR, MONDAY, SYSTEM, Clinic

HOUR = timedelta(hours=1)


@pytest.fixture
def clinic(database: Database) -> Clinic:
    made = Clinic(database)
    made.patient("ann")
    made.discharge("ann", MONDAY)
    return made


def tried(clinic: Clinic, attempt: outreach.Attempt, viewer: Viewer = COORDINATOR) -> str:
    with clinic.acting(MONDAY + HOUR, viewer) as (tx, by):
        return outreach.log_attempt(tx, clinic_item(clinic), attempt, by).ref


def clinic_item(clinic: Clinic) -> WorkItem:
    return clinic.task("ann", "first-call")


def attempt(channel: str = "phone", outcome: str = "no-answer", note: str = "") -> outreach.Attempt:
    return outreach.Attempt(channel=channel, outcome=outcome, at=MONDAY + HOUR, note=note)


def test_every_channel_with_every_outcome_is_a_valid_communication(clinic: Clinic) -> None:
    item = clinic_item(clinic)
    for channel in CHANNELS:
        for outcome in OUTCOMES:
            body = clinic.resource(tried(clinic, attempt(channel, outcome)))
            assert [issue for issue in check(body) if issue.severity in ("error", "fatal")] == []
            assert body["status"] == ("completed" if outcome == "reached" else "not-done")
            assert body["medium"][0]["coding"][0] == {
                "system": "https://fhir-tracker.example/CodeSystem/outreach-channel",
                "code": channel,
                "display": CHANNELS[channel],
            }
            assert body["statusReason"]["coding"][0]["code"] == outcome
            assert body["basedOn"] == [{"reference": item.ref}]
            assert body["about"] == [{"reference": item.ref}, {"reference": item.plan}]
            assert body["sent"] == instant(MONDAY + HOUR)
    found = clinic_item(clinic)
    assert found.attempts == len(CHANNELS) * len(OUTCOMES)
    assert found.last_attempt_at == MONDAY + HOUR


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        (attempt(channel="pigeon"), "Communication.medium"),
        (attempt(channel=""), "Communication.medium"),
        (attempt(channel="Phone"), "Communication.medium"),
        (attempt(outcome="maybe"), "Communication.statusReason"),
        (attempt(outcome=""), "Communication.statusReason"),
        (
            outreach.Attempt(channel="phone", outcome="reached", at=MONDAY + HOUR + timedelta(microseconds=1)),
            "Communication.sent",
        ),
    ],
)
def test_what_cannot_be_is_refused_and_says_where(clinic: Clinic, wrong: outreach.Attempt, where: str) -> None:
    with pytest.raises(Incorrect) as refused:
        tried(clinic, wrong)
    assert [issue.expression for issue in refused.value.issues] == [where]
    assert clinic.stored("Communication") == []
    assert clinic_item(clinic).attempts == 0


@pytest.mark.parametrize(
    ("viewer", "sender"),
    [
        (COORDINATOR, {"reference": "Practitioner/coordinator", "display": "The coordinator"}),
        (Viewer(who="PractitionerRole/r", name="R"), {"reference": "PractitionerRole/r", "display": "R"}),
        (SYSTEM, {"display": "test"}),
        (Viewer(who="client-7"), {"display": "client-7"}),
    ],
)
def test_the_sender_is_who_tried(clinic: Clinic, viewer: Viewer, sender: dict[str, str]) -> None:
    assert clinic.resource(tried(clinic, attempt(), viewer))["sender"] == sender


@pytest.mark.parametrize("note", ["", "Spoke with the daughter", "<script>&amp;\u00e9\U0001f4de"])
def test_a_note_is_kept_to_the_letter(clinic: Clinic, note: str) -> None:
    body = clinic.resource(tried(clinic, attempt(note=note)))
    assert [one["text"] for one in body.get("note", ())] == ([note] if note else [])


def test_an_attempt_is_proven_and_the_last_one_shown_is_the_latest_made(clinic: Clinic) -> None:
    first = clinic.attempt(clinic_item(clinic).ref, MONDAY + 2 * HOUR, outcome="left-message")
    tried(clinic, attempt(outcome="wrong-number"))
    (act,) = clinic.provenance(first.ref)
    assert act["activity"]["coding"][0]["code"] == "CREATE"
    item = clinic_item(clinic)
    assert (item.attempts, item.last_attempt_outcome) == (2, "left-message")


def test_an_attempt_entered_in_error_counts_no_more(clinic: Clinic) -> None:
    ref = tried(clinic, attempt())
    clinic.put(clinic.resource(ref) | {"status": "entered-in-error"}, MONDAY + 2 * HOUR)
    assert clinic_item(clinic).attempts == 0
    clinic.put(clinic.resource(ref) | {"status": "not-done"}, MONDAY + 3 * HOUR)
    assert clinic_item(clinic).attempts == 1
    clinic.remove(ref, MONDAY + 4 * HOUR)
    assert (clinic_item(clinic).attempts, clinic_item(clinic).last_attempt_at) == (0, None)


def test_work_of_no_patient_can_be_tried_too(clinic: Clinic) -> None:
    clinic.put({"resourceType": "Task", "id": "t", "status": "requested", "intent": "order"}, MONDAY)
    stored = clinic.attempt("Task/t", MONDAY + HOUR)
    body = clinic.resource(stored.ref)
    assert ("subject" in body, body["about"]) == (False, [{"reference": "Task/t"}])
