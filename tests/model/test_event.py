"""Resources as the events that rules look at."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.model.event import event_of
from fhir_tracker.model.program import Duration
from fhir_tracker.model.work import Event

SEEN = datetime(2026, 3, 9, 13, tzinfo=UTC)
SUBJECT = {"subject": {"reference": "Patient/synthetic-1"}}


def seen(resource: Resource) -> Event:
    event = event_of(resource, seen_at=SEEN)
    assert event is not None
    return event


def test_a_discharge_is_an_encounter_with_its_class_and_its_end() -> None:
    event = seen(
        {
            "resourceType": "Encounter",
            "id": "e",
            "status": "finished",
            "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "IMP"},
            "period": {"start": "2026-03-01T10:00:00Z", "end": "2026-03-06T15:00:00Z"},
            **SUBJECT,
        }
    )
    assert (event.ref, event.status, event.patient) == ("Encounter/e", "finished", "synthetic-1")
    assert event.codes == ("http://terminology.hl7.org/CodeSystem/v3-ActCode|IMP",)
    assert event.start == datetime(2026, 3, 1, 10, tzinfo=UTC)
    assert event.at == datetime(2026, 3, 6, 15, tzinfo=UTC)


def test_an_appointment_belongs_to_its_patient_participant() -> None:
    event = seen(
        {
            "resourceType": "Appointment",
            "id": "a",
            "status": "noshow",
            "start": "2026-03-09T09:00:00-04:00",
            "serviceType": [{"coding": [{"code": "tcm-visit"}]}],
            "participant": [{"actor": {"reference": "Patient/synthetic-1"}, "status": "accepted"}],
        }
    )
    assert (event.patient, event.status, event.start) == ("synthetic-1", "noshow", SEEN)
    assert event.codes == ("|tcm-visit",)


@pytest.mark.parametrize(
    ("extra", "status"),
    [
        ({"clinicalStatus": {"coding": [{"code": "active"}]}}, "active"),
        ({"clinicalStatus": {"coding": [{"code": "resolved"}]}}, "resolved"),
        ({}, "active"),
        ({"verificationStatus": {"coding": [{"code": "refuted"}]}}, "entered-in-error"),
    ],
)
def test_a_condition_has_its_clinical_status(extra: Resource, status: str) -> None:
    assert seen({"resourceType": "Condition", "id": "c", **SUBJECT, **extra}).status == status


def test_an_attempt_keeps_channel_outcome_and_what_it_was_about() -> None:
    event = seen(
        {
            "resourceType": "Communication",
            "id": "c",
            "status": "not-done",
            "statusReason": {"coding": [{"code": "no-answer"}]},
            "medium": [{"coding": [{"code": "phone"}]}],
            "basedOn": [{"reference": "Task/t1"}],
            "sent": "2026-03-09T13:00:00Z",
            **SUBJECT,
        }
    )
    assert (event.detail["channel"], event.detail["outcome"]) == ("phone", "no-answer")
    assert event.about == ("Task/t1",)


def test_what_rules_do_not_look_at_is_no_event() -> None:
    assert event_of({"resourceType": "Goal", "id": "c", **SUBJECT}, seen_at=SEEN) is None
    assert event_of({"resourceType": "Flag", "id": "f", "status": "active"}, seen_at=SEEN) is None


@pytest.mark.parametrize(
    ("start", "end", "at"),
    [(None, None, SEEN), (datetime(2026, 1, 1, tzinfo=UTC), None, datetime(2026, 1, 1, tzinfo=UTC))],
)
def test_an_event_is_at_its_end_else_its_start_else_when_it_was_seen(
    start: datetime | None, end: datetime | None, at: datetime
) -> None:
    assert Event(ref="Flag/f", type="Flag", status="active", patient="p", start=start, end=end, seen_at=SEEN).at == at


@pytest.mark.parametrize(
    ("amount", "working", "text"), [(1, False, "1 day"), (2, False, "2 days"), (1, True, "1 business day")]
)
def test_a_duration_reads_as_it_is_written(amount: int, working: bool, text: str) -> None:
    assert str(Duration(amount=amount, unit="days", working=working)) == text
