"""Each try to reach a patient: every channel and outcome as FHIR, counted on the work, and nothing from the future."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from fhir_tracker import outreach, outreach_account, writes
from fhir_tracker.errors import Incorrect, RuleBroken
from fhir_tracker.fhir.checks import check
from fhir_tracker.fhir.dates import instant
from fhir_tracker.model.sight import EVERYTHING
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.model.vocabulary import CHANNELS, CONTACT_USED, OUT_OF_HOURS, OUTCOMES, TIME_SPENT
from fhir_tracker.model.work import WorkItem
from fhir_tracker.storage.database import Database
from tests.support.clinic import COORDINATOR, MONDAY, RING, SYSTEM, Clinic, author, encounter

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
        (
            Viewer(who="PractitionerRole/r", name="R", sight=EVERYTHING),
            {"reference": "PractitionerRole/r", "display": "R"},
        ),
        (SYSTEM, {"display": "test"}),
        (Viewer(who="client-7", sight=EVERYTHING), {"display": "client-7"}),
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


NIGHT = MONDAY + 12 * HOUR
RULES = """attempts: 3, over: 2 days, quiet: {from: "20:00", to: "08:00"}, outside: """


def strict(database: Database, outside: str) -> Clinic:
    """The ring clinic with quiet hours, and a patient with two numbers and no wish for texts."""
    made = Clinic(
        database,
        RING.replace("role: care-coordinator\n", f"role: care-coordinator\n    outreach: {{{RULES}{outside}}}\n"),
    )
    telecom = [
        {"system": "phone", "value": "555-0100", "rank": 2},
        {"system": "phone", "value": "555-0199", "rank": 1},
    ]
    made.put({"resourceType": "Patient", "id": "ann", "telecom": telecom}, MONDAY)
    flag = {"coding": [{"system": "https://fhir-tracker.example/CodeSystem/flag", "code": "do-not-text"}]}
    made.put(
        {"resourceType": "Flag", "id": "f", "status": "active", "code": flag, "subject": {"reference": "Patient/ann"}},
        MONDAY,
    )
    made.discharge("ann", MONDAY)
    return made


def extensions(body: dict[str, object]) -> dict[str, object]:
    found = body.get("extension", [])
    assert isinstance(found, list)
    return {one["url"]: next(value for name, value in one.items() if name != "url") for one in found}


def communication(ref: str, channel: str, sent: str) -> dict[str, object]:
    """As a client of the API writes it: no more than FHIR asks for."""
    return {
        "resourceType": "Communication",
        "status": "not-done",
        "statusReason": {"text": "No answer"},
        "medium": [{"text": channel}],
        "subject": {"reference": "Patient/ann"},
        "basedOn": [{"reference": ref}],
        "sent": sent,
    }


def test_a_policy_refuses_an_attempt_at_night_or_one_that_is_not_wanted_from_page_and_api_alike(
    database: Database,
) -> None:
    clinic = strict(database, "refuse")
    item = clinic_item(clinic)
    night = outreach.Attempt(channel="phone", outcome="no-answer", at=NIGHT)
    with clinic.acting(NIGHT) as (tx, by), pytest.raises(RuleBroken, match="Phone at a quiet time: Mon 22:00"):
        outreach.log_attempt(tx, item, night, by)
    with (
        clinic.acting(NIGHT) as (tx, by),
        pytest.raises(RuleBroken, match="Text message: the patient does not want it"),
    ):
        writes.create(tx, communication(item.ref, "Text", instant(MONDAY + HOUR)), by)
    with clinic.acting(NIGHT) as (tx, by), pytest.raises(RuleBroken, match="quiet from 20:00 to 08:00"):
        writes.update(tx, "Communication", "new", communication(item.ref, "Telephone", instant(NIGHT)), by)
    assert clinic.stored("Communication") == []
    with clinic.acting(NIGHT) as (tx, by):
        writes.create(tx, communication(item.ref, "Telephone", instant(MONDAY + HOUR)), by)
    found = clinic_item(clinic)
    assert (found.attempts, found.last_attempt_outcome) == (1, "no-answer")


def test_a_policy_that_warns_keeps_the_attempt_and_marks_it(database: Database) -> None:
    clinic = strict(database, "warn")
    body = clinic.resource(clinic.attempt(clinic_item(clinic).ref, NIGHT).ref)
    said = extensions(body)
    assert str(said[OUT_OF_HOURS]).startswith("Phone at a quiet time: Mon 22:00")
    assert said[CONTACT_USED] == {"system": "phone", "value": "555-0199"}
    assert [issue for issue in check(body) if issue.severity in ("error", "fatal")] == []
    clinic.put(body | {"id": "ehr"}, NIGHT)
    assert clinic_item(clinic).attempts == 2


def test_a_policy_that_allows_marks_nothing(database: Database) -> None:
    clinic = strict(database, "allow")
    body = clinic.resource(clinic.attempt(clinic_item(clinic).ref, NIGHT).ref)
    assert OUT_OF_HOURS not in extensions(body)


def test_a_wrong_number_is_not_tried_again(database: Database) -> None:
    clinic = strict(database, "warn")
    ref = clinic_item(clinic).ref
    clinic.attempt(ref, MONDAY + HOUR, outcome="wrong-number")
    body = clinic.resource(clinic.attempt(ref, MONDAY + 2 * HOUR).ref)
    assert extensions(body)[CONTACT_USED] == {"system": "phone", "value": "555-0100"}


def test_time_spent_is_kept_and_has_its_bounds(clinic: Clinic) -> None:
    made = outreach.Attempt(channel="phone", outcome="reached", at=MONDAY + HOUR, spent=timedelta(minutes=12))
    body = clinic.resource(tried(clinic, made))
    start = instant(MONDAY + timedelta(minutes=48))
    assert extensions(body)[TIME_SPENT] == {"start": start, "end": instant(MONDAY + HOUR)}
    for spent in (timedelta(hours=13), timedelta(minutes=-1)):
        wrong = outreach.Attempt(channel="phone", outcome="reached", at=MONDAY + HOUR, spent=spent)
        with pytest.raises(Incorrect, match="time spent"), clinic.database.begin() as tx:
            outreach.log_attempt(tx, clinic_item(clinic), wrong, author(MONDAY + HOUR))


STAGES = """stages:
  - {code: under-way, is: active, title: Under way, means: Care goes on}
  - {code: resting, is: on-hold, title: Resting, means: Waiting}
"""


def pausing(database: Database, outside: str) -> Clinic:
    """The clinic with quiet hours, whose clocks stand still in hospital and while the plan is on hold."""
    text = RING.replace("role: care-coordinator\n", f"role: care-coordinator\n    outreach: {{{RULES}{outside}}}\n")
    made = Clinic(database, text.replace("\nstatuses:", f"\npauses: [hospital, plan-hold]\n{STAGES}statuses:"))
    made.put({"resourceType": "Patient", "id": "ann", "telecom": [{"system": "phone", "value": "555-0199"}]}, MONDAY)
    made.discharge("ann", MONDAY)
    return made


def admitted(clinic: Clinic, at: datetime, end: datetime | None = None) -> None:
    """The stay as the EHR tells it."""
    stay = encounter("ann", end or at, id_="again", status="finished" if end else "in-progress")
    period = {"start": instant(at)} | ({"end": instant(end)} if end else {})
    clinic.put(stay | {"period": period}, max(at, end or at))


def account_at(clinic: Clinic, at: datetime) -> outreach_account.Account:
    with clinic.database.read() as tx:
        return outreach_account.account(tx, COORDINATOR, clinic_item(clinic).ref, at)


def test_nobody_is_to_be_tried_in_hospital_and_again_from_the_discharge_on(database: Database) -> None:
    clinic = pausing(database, "refuse")
    assert account_at(clinic, MONDAY + HOUR).standing.next_at == MONDAY
    admitted(clinic, MONDAY + 2 * HOUR)
    inside = account_at(clinic, MONDAY + 3 * HOUR)
    assert (inside.standing.next_at, inside.words) == (
        None,
        "0 of 3 attempts; no tries while the patient is in hospital",
    )
    said = {one["name"]: one for one in inside.as_parameters()["parameter"]}
    assert said["settled"]["valueString"] == "no tries while the patient is in hospital"
    assert "nextContact" not in said
    ref, out = clinic_item(clinic).ref, MONDAY + 50 * HOUR
    with pytest.raises(RuleBroken, match="Phone while the patient is in hospital"):
        clinic.attempt(ref, MONDAY + 4 * HOUR)
    admitted(clinic, MONDAY + 2 * HOUR, out)
    assert account_at(clinic, out).standing.next_at == out
    assert account_at(clinic, out).now_against == ""
    clinic.attempt(ref, out)
    assert clinic_item(clinic).attempts == 1


def test_an_attempt_in_hospital_that_a_policy_only_warns_of_is_kept_and_says_so(database: Database) -> None:
    clinic = pausing(database, "warn")
    admitted(clinic, MONDAY + 2 * HOUR)
    body = clinic.resource(clinic.attempt(clinic_item(clinic).ref, MONDAY + 3 * HOUR).ref)
    assert extensions(body)[OUT_OF_HOURS] == "Phone while the patient is in hospital"
    clinic.put(encounter("ann", MONDAY, id_="again", status="entered-in-error"), MONDAY + 4 * HOUR)
    body = clinic.resource(clinic.attempt(clinic_item(clinic).ref, MONDAY + 5 * HOUR).ref)
    assert OUT_OF_HOURS not in extensions(body)


def test_a_plan_on_hold_stops_the_next_contact_on_the_page_as_for_the_rules(database: Database) -> None:
    clinic = pausing(database, "refuse")
    plan = next(one.ref for one in clinic.items("ann") if one.kind == "plan")
    held = clinic.resource(plan) | {"status": "on-hold"}
    with clinic.acting(MONDAY + HOUR) as (tx, by):
        writes.update(tx, "CarePlan", plan.split("/")[1], held, by)
    assert account_at(clinic, MONDAY + 2 * HOUR).words.endswith("no tries while the plan is on hold")
    with pytest.raises(RuleBroken, match="Phone while the plan is on hold"):
        clinic.attempt(clinic_item(clinic).ref, MONDAY + 3 * HOUR)
    active = clinic.resource(plan) | {"status": "active"}
    with clinic.acting(MONDAY + 5 * HOUR) as (tx, by):
        writes.update(tx, "CarePlan", plan.split("/")[1], active, by)
    assert account_at(clinic, MONDAY + 6 * HOUR).standing.next_at == MONDAY + 5 * HOUR
