"""Each type as the event that rules see: where its moments, codes and references are, and what odd shapes come to."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.model.event import EVENT_TYPES, event_of
from fhir_tracker.model.work import Event

SEEN = datetime(2026, 3, 9, 13, tzinfo=UTC)
ONE, TWO, THREE = "2026-01-01T10:00:00Z", "2026-02-01T10:00:00Z", "2026-03-01T10:00:00Z"
AT: dict[str, datetime] = {text: datetime.fromisoformat(text) for text in (ONE, TWO, THREE)}
CODE: dict[str, Any] = {"coding": [{"system": "urn:s", "code": "c"}], "text": "Words"}


def made(type_: str, **members: Any) -> Resource:
    who: Resource = {"subject": {"reference": "Patient/ann"}}
    if type_ == "Appointment":
        who = {"participant": [{"actor": {"reference": "Patient/ann"}}]}
    return {"resourceType": type_, "id": "x", "status": "s"} | who | members


def event(type_: str, **members: Any) -> Event:
    found = event_of(made(type_, **members), seen_at=SEEN)
    assert found is not None
    return found


@pytest.mark.parametrize("type_", sorted(EVENT_TYPES))
def test_the_barest_of_each_type_is_an_event_seen_when_it_came(type_: str) -> None:
    found = event(type_)
    assert (found.ref, found.type, found.patient) == (f"{type_}/x", type_, "ann")
    assert (found.start, found.end, found.at, found.seen_at) == (None, None, SEEN, SEEN)
    assert (found.codes, found.about) == ((), ())
    assert found.status == ("active" if type_ in ("AllergyIntolerance", "Condition") else "s")


@pytest.mark.parametrize("type_", sorted(EVENT_TYPES))
def test_without_a_patient_of_this_server_there_is_no_event(type_: str) -> None:
    body = {name: value for name, value in made(type_).items() if name not in ("subject", "participant")}
    assert event_of(body, seen_at=SEEN) is None
    assert event_of(body | {"subject": {"reference": "Group/g"}}, seen_at=SEEN) is None


@pytest.mark.parametrize(
    ("type_", "members", "start", "end"),
    [
        ("Appointment", {"start": ONE, "end": TWO}, ONE, TWO),
        ("CarePlan", {"period": {"start": ONE, "end": TWO}, "created": THREE}, ONE, TWO),
        ("CarePlan", {"created": THREE}, THREE, None),
        ("Communication", {"sent": ONE, "received": TWO}, ONE, None),
        ("Communication", {"received": TWO}, TWO, None),
        ("Condition", {"onsetDateTime": ONE, "recordedDate": TWO}, ONE, None),
        ("Condition", {"onsetPeriod": {"start": ONE}, "abatementPeriod": {"end": THREE}}, ONE, THREE),
        ("Condition", {"recordedDate": TWO, "abatementDateTime": THREE}, TWO, THREE),
        ("Condition", {"onsetString": "as a child"}, None, None),
        ("DocumentReference", {"date": ONE}, ONE, None),
        ("DocumentReference", {"content": [{"attachment": {"creation": TWO}}]}, TWO, None),
        ("DocumentReference", {"date": ONE, "content": [{"attachment": {"creation": TWO}}]}, ONE, None),
        ("Encounter", {"period": {"start": ONE, "end": TWO}}, ONE, TWO),
        ("Encounter", {"period": {"end": TWO}}, None, TWO),
        ("Flag", {"period": {"start": ONE}}, ONE, None),
        ("Observation", {"effectiveDateTime": ONE, "issued": TWO}, ONE, None),
        ("Observation", {"effectivePeriod": {"start": ONE, "end": TWO}}, ONE, None),
        ("Observation", {"effectiveInstant": ONE}, ONE, None),
        ("Observation", {"issued": TWO}, TWO, None),
        ("QuestionnaireResponse", {"authored": ONE}, ONE, None),
        ("ServiceRequest", {"authoredOn": ONE}, ONE, None),
    ],
)
def test_the_moments_are_found_where_each_type_keeps_them(
    type_: str, members: dict[str, Any], start: str | None, end: str | None
) -> None:
    found = event(type_, **members)
    assert (found.start, found.end) == (AT[start] if start else None, AT[end] if end else None)
    assert found.at == (AT[end] if end else AT[start] if start else SEEN)


@pytest.mark.parametrize(
    ("type_", "names"),
    [
        ("Appointment", ["serviceType", "appointmentType", "specialty", "serviceCategory"]),
        ("CarePlan", ["category"]),
        ("Communication", ["category", "topic"]),
        ("Condition", ["code", "category"]),
        ("DocumentReference", ["type", "category"]),
        ("Encounter", ["class", "type", "serviceType"]),
        ("Flag", ["code", "category"]),
        ("Observation", ["code", "category"]),
        ("ServiceRequest", ["code", "category"]),
    ],
)
def test_the_codes_of_each_element_are_told_once_in_order(type_: str, names: list[str]) -> None:
    for name in names:
        for value in (CODE, [CODE], [CODE, CODE], {"coding": [CODE["coding"][0]]}):
            assert event(type_, **{name: value}).codes == ("urn:s|c",), name
    several = {name: {"coding": [{"system": "urn:s", "code": name}]} for name in names}
    assert event(type_, **several).codes == tuple(f"urn:s|{name}" for name in names)


@pytest.mark.parametrize(
    ("type_", "members", "about"),
    [
        ("Appointment", {"basedOn": [{"reference": "ServiceRequest/1"}]}, ("ServiceRequest/1",)),
        ("Appointment", {"reasonReference": [{"reference": "Condition/1"}]}, ("Condition/1",)),
        (
            "CarePlan",
            {"addresses": [{"reference": "Condition/1"}, {"reference": "Condition/2"}]},
            ("Condition/1", "Condition/2"),
        ),
        ("Communication", {"about": [{"reference": "Task/1"}], "basedOn": [{"reference": "Task/1"}]}, ("Task/1",)),
        ("Communication", {"partOf": [{"reference": "Communication/1"}]}, ("Communication/1",)),
        ("Condition", {"encounter": {"reference": "Encounter/1"}}, ("Encounter/1",)),
        ("DocumentReference", {"context": {"encounter": [{"reference": "Encounter/1"}]}}, ("Encounter/1",)),
        ("DocumentReference", {"context": {"related": [{"reference": "Appointment/1"}]}}, ("Appointment/1",)),
        ("Encounter", {"appointment": [{"reference": "Appointment/1"}]}, ("Appointment/1",)),
        (
            "Observation",
            {"encounter": {"reference": "Encounter/1"}, "basedOn": [{"reference": "ServiceRequest/1"}]},
            ("Encounter/1", "ServiceRequest/1"),
        ),
        ("QuestionnaireResponse", {"basedOn": [{"reference": "Task/1"}]}, ("Task/1",)),
        ("ServiceRequest", {"encounter": {"reference": "Encounter/1"}}, ("Encounter/1",)),
    ],
)
def test_what_it_is_about_is_told_once(type_: str, members: dict[str, Any], about: tuple[str, ...]) -> None:
    assert event(type_, **members).about == about


ODD: list[Any] = [
    None,
    7,
    True,
    "",
    "text",
    [],
    {},
    [None],
    [[]],
    [{}],
    {"coding": None},
    {"coding": [None, 7, {}]},
    {"start": 7},
]


@pytest.mark.parametrize("type_", sorted(EVENT_TYPES))
@pytest.mark.parametrize(
    "name",
    [
        "period",
        "start",
        "end",
        "code",
        "category",
        "class",
        "type",
        "serviceType",
        "content",
        "context",
        "about",
        "basedOn",
        "medium",
        "note",
        "sender",
        "statusReason",
        "sent",
    ],
)
def test_odd_values_are_nothing_and_never_a_fault(type_: str, name: str) -> None:
    for odd in ODD:
        found = event(type_, **{name: odd})
        assert found.about == ()
        assert all("|" in code for code in found.codes)
        assert found.at == SEEN


@pytest.mark.parametrize("status", [None, 7, [], {"coding": []}])
def test_a_status_that_is_no_text_is_none(status: Any) -> None:
    assert event("Encounter", status=status).status == ""


@pytest.mark.parametrize(
    ("members", "detail"),
    [
        ({"medium": [{"coding": [{"code": "sms"}]}]}, {"channel": "sms"}),
        ({"status": "completed"}, {"outcome": "reached"}),
        (
            {"status": "completed", "statusReason": {"coding": [{"code": "declined"}]}},
            {"outcome": "declined", "reason": "declined"},
        ),
        ({"status": "not-done"}, {}),
        ({"note": [{"text": ""}, {"text": "Spoke"}, {"text": "again"}]}, {"note": "Spoke"}),
        ({"sender": {"display": "The nurse", "reference": "Practitioner/nurse"}}, {"by": "The nurse"}),
        ({"sender": {"reference": "Practitioner/nurse"}}, {"by": "Practitioner/nurse"}),
    ],
)
def test_an_attempt_tells_channel_outcome_note_and_who(members: dict[str, Any], detail: dict[str, str]) -> None:
    assert event("Communication", **members).detail == detail


@pytest.mark.parametrize(
    ("type_", "members", "title"),
    [
        ("Condition", {"code": CODE}, "Words"),
        ("Encounter", {"type": [CODE]}, "Words"),
        ("DocumentReference", {"type": CODE}, "Words"),
        ("Appointment", {"serviceType": [CODE]}, "Words"),
        ("Observation", {"code": {"coding": [{"code": "c", "display": "Shown"}]}}, "Shown"),
        ("Flag", {"code": {"coding": [{"code": "c"}]}}, "c"),
        ("Flag", {}, None),
    ],
)
def test_the_title_is_the_words_for_its_kind(type_: str, members: dict[str, Any], title: str | None) -> None:
    assert event(type_, **members).detail.get("title") == title
