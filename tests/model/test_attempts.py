"""What a Communication tells of an attempt, in our codes and in the words that EHRs write."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_tracker.model.attempts import channel_of, minutes_told, outcome_of
from fhir_tracker.model.vocabulary import CHANNELS, OUTCOMES, TIME_SPENT

MODES = "http://terminology.hl7.org/CodeSystem/v3-ParticipationMode"


def said(text: str) -> dict[str, Any]:
    return {"text": text}


@pytest.mark.parametrize(
    ("medium", "channel"),
    [
        *[([{"coding": [{"code": one}]}], one) for one in CHANNELS],
        ([{"coding": [{"system": MODES, "code": "PHONE"}]}], "phone"),
        ([{"coding": [{"system": MODES, "code": "MAILWRIT"}]}], "letter"),
        ([said("Phone call to mobile")], "phone"),
        ([said("Text Message")], "sms"),
        ([said("MyChart message")], "portal"),
        ([said("E-Mail")], "email"),
        ([{"coding": [{"system": "urn:x", "code": "zz", "display": "Certified letter"}]}], "letter"),
        ([{"coding": [{"system": "urn:x", "code": "pigeon"}]}], "pigeon"),
        (said("Telephone"), "phone"),
        (None, ""),
        ("phone", ""),
        ([{"coding": [7, None]}], ""),
    ],
)
def test_a_channel_is_known_by_its_code_or_its_words(medium: object, channel: str) -> None:
    assert channel_of({"medium": medium}) == channel


@pytest.mark.parametrize(
    ("status", "reason", "outcome"),
    [
        *[("not-done", {"coding": [{"code": one}]}, one) for one in OUTCOMES],
        ("completed", said("Left voicemail"), "left-message"),
        ("not-done", said("No Answer"), "no-answer"),
        ("not-done", said("Unable to reach patient"), "no-answer"),
        ("completed", said("Spoke with daughter"), "reached"),
        ("completed", said("Unsuccessful"), "no-answer"),
        ("completed", said("Could not be reached"), "no-answer"),
        ("completed", said("Patient not contacted"), "no-answer"),
        ("not-done", said("No contact"), "no-answer"),
        ("completed", said("Contact made, successful"), "reached"),
        ("completed", said("Reached voicemail"), "left-message"),
        ("not-done", said("Number disconnected"), "wrong-number"),
        ("not-done", said("Patient refused"), "declined"),
        ("not-done", said("Mail returned to sender"), "bounced"),
        ("not-done", {"coding": [{"system": "urn:x", "code": "system-error"}]}, "system-error"),
        ("completed", None, "reached"),
        ("not-done", None, ""),
        ("in-progress", None, ""),
    ],
)
def test_an_outcome_is_known_by_its_code_or_its_words(status: str, reason: object, outcome: str) -> None:
    told = {"status": status} | ({} if reason is None else {"statusReason": reason})
    assert outcome_of(told) == outcome


@pytest.mark.parametrize("channel", ["letter", "email", "sms", "portal"])
def test_what_was_only_sent_has_reached_nobody(channel: str) -> None:
    sent = {"status": "completed", "medium": [{"coding": [{"code": channel}]}], "sent": "2026-03-09"}
    assert outcome_of(sent) == "left-message"
    assert outcome_of(sent | {"received": "2026-03-09"}) == "reached"
    assert outcome_of(sent | {"sender": {"reference": "Patient/ann"}}) == "reached"


def test_time_spent_is_a_period_with_both_ends() -> None:
    period = {"start": "2026-03-09T09:00:00Z", "end": "2026-03-09T09:10:00Z"}
    told = {"extension": [{"url": "urn:x"}, {"url": TIME_SPENT, "valuePeriod": period}]}
    assert minutes_told(told) == (period["start"], period["end"])
    assert minutes_told({"extension": [{"url": TIME_SPENT, "valuePeriod": {"start": period["start"]}}]}) is None
