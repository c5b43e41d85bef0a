"""From resources to the read models of rules and queues, live and from hostile input."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir_tracker import projection, records
from fhir_tracker.fhir.dates import instant
from fhir_tracker.model.event import EVENT_TYPES, event_of
from fhir_tracker.model.patient import summary_of
from fhir_tracker.model.task import task_item
from fhir_tracker.model.vocabulary import HOLD_EVENT, HOLD_UNTIL, ROLE_SYSTEM, WORK_SYSTEM
from fhir_tracker.model.work import LONGEST, Event, WorkItem
from fhir_tracker.records import Remote
from fhir_tracker.storage import events, patients, work_items
from fhir_tracker.storage.database import Database
from tests.support.clinic import COORDINATOR, MONDAY, SYSTEM, Clinic, appointment, author, encounter

HOUR = timedelta(hours=1)
ANN = {"reference": "Patient/ann"}


@pytest.fixture
def clinic(database: Database) -> Clinic:
    return Clinic(database)


def seen(clinic: Clinic, ref: str) -> Event | None:
    with clinic.database.read() as tx:
        return events.find(tx, SYSTEM, ref)


def flags(clinic: Clinic, patient: str) -> tuple[str, ...]:
    with clinic.database.read() as tx:
        found = patients.find(tx, SYSTEM, patient)
    assert found is not None
    return found.flags


def plain_task(id_: str = "t", **members: object) -> dict[str, Any]:
    base = {"resourceType": "Task", "id": id_, "status": "requested", "intent": "order", "for": ANN}
    return base | {"authoredOn": instant(MONDAY), "code": {"text": "Call back"}} | members


def due(moment: datetime) -> dict[str, Any]:
    return {"restriction": {"period": {"end": instant(moment)}}}


def test_an_appointment_is_an_event_with_its_service_and_times(clinic: Clinic) -> None:
    clinic.put(appointment("ann", MONDAY, id_="a", status="noshow"), MONDAY)
    event = seen(clinic, "Appointment/a")
    assert event is not None
    assert (event.status, event.patient, event.codes) == ("noshow", "ann", ("http://example.org/service|visit",))
    assert (event.start, event.end) == (MONDAY, MONDAY + timedelta(minutes=20))


def test_an_encounter_is_an_event_that_ends_with_its_period(clinic: Clinic) -> None:
    clinic.put(encounter("ann", MONDAY, id_="e") | {"appointment": [{"reference": "Appointment/a"}]}, MONDAY)
    event = seen(clinic, "Encounter/e")
    assert event is not None
    assert (event.status, event.end, event.about) == ("finished", MONDAY, ("Appointment/a",))
    assert any(code.endswith("|IMP") for code in event.codes)


EXAMPLES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "AllergyIntolerance": (
        {"patient": ANN, "code": {"coding": [{"code": "penicillin"}]}, "recordedDate": instant(MONDAY)},
        {"status": "active", "codes": ("|penicillin",), "start": MONDAY},
    ),
    "ClaimResponse": (
        {
            "status": "active",
            "patient": ANN,
            "use": "preauthorization",
            "outcome": "queued",
            "created": instant(MONDAY),
            "request": {"reference": "Claim/c"},
        },
        {"status": "active", "start": MONDAY, "about": ("Claim/c",), "detail": {"authorization": "pending"}},
    ),
    "Coverage": (
        {"status": "active", "beneficiary": ANN, "period": {"start": instant(MONDAY)}},
        {"status": "active", "start": MONDAY},
    ),
    "DetectedIssue": (
        {
            "status": "final",
            "patient": ANN,
            "code": {"coding": [{"code": "DRG"}]},
            "identifiedDateTime": instant(MONDAY),
        },
        {"status": "final", "codes": ("|DRG",), "start": MONDAY},
    ),
    "Immunization": (
        {
            "status": "completed",
            "patient": ANN,
            "vaccineCode": {"coding": [{"code": "flu"}]},
            "occurrenceDateTime": instant(MONDAY),
        },
        {"status": "completed", "codes": ("|flu",), "start": MONDAY},
    ),
    "MedicationRequest": (
        {
            "status": "active",
            "subject": ANN,
            "medicationCodeableConcept": {"coding": [{"code": "metformin"}]},
            "authoredOn": instant(MONDAY),
        },
        {"status": "active", "codes": ("|metformin",), "start": MONDAY},
    ),
    "Procedure": (
        {
            "status": "completed",
            "subject": ANN,
            "code": {"coding": [{"code": "eye-exam"}]},
            "performedPeriod": {"start": instant(MONDAY), "end": instant(MONDAY + HOUR)},
        },
        {"status": "completed", "codes": ("|eye-exam",), "start": MONDAY, "end": MONDAY + HOUR},
    ),
    "CarePlan": (
        {
            "status": "active",
            "subject": ANN,
            "period": {"start": "2026-03-01"},
            "category": [{"coding": [{"code": "x"}]}],
        },
        {"status": "active", "codes": ("|x",), "start": datetime(2026, 3, 1, tzinfo=UTC)},
    ),
    "ChargeItem": (
        {
            "status": "billable",
            "subject": ANN,
            "code": {"text": "Care coordination"},
            "occurrencePeriod": {"start": instant(MONDAY), "end": instant(MONDAY + timedelta(minutes=20))},
            "service": [{"reference": "Task/t"}],
        },
        {"status": "billable", "start": MONDAY, "end": MONDAY + timedelta(minutes=20), "about": ("Task/t",)},
    ),
    "Consent": (
        {
            "status": "active",
            "patient": ANN,
            "scope": {"coding": [{"system": "s", "code": "treatment"}]},
            "category": [{"coding": [{"code": "do-not-call"}]}],
            "dateTime": instant(MONDAY),
            "provision": {"type": "deny"},
        },
        {"status": "active", "codes": ("|do-not-call", "s|treatment"), "start": MONDAY},
    ),
    "DiagnosticReport": (
        {
            "status": "final",
            "subject": ANN,
            "code": {"coding": [{"code": "ct"}]},
            "issued": instant(MONDAY),
            "encounter": {"reference": "Encounter/e"},
        },
        {"status": "final", "codes": ("|ct",), "start": MONDAY, "about": ("Encounter/e",)},
    ),
    "Communication": (
        {"status": "not-done", "subject": ANN, "sent": instant(MONDAY), "about": [{"reference": "Task/t"}]},
        {"status": "not-done", "about": ("Task/t",), "start": MONDAY},
    ),
    "Condition": (
        {"subject": ANN, "clinicalStatus": {"coding": [{"code": "resolved"}]}, "code": {"coding": [{"code": "c"}]}},
        {"status": "resolved", "codes": ("|c",)},
    ),
    "DocumentReference": (
        {
            "status": "current",
            "subject": ANN,
            "date": instant(MONDAY),
            "context": {"encounter": [{"reference": "Encounter/e"}]},
        },
        {"status": "current", "about": ("Encounter/e",), "start": MONDAY},
    ),
    "Flag": (
        {"status": "active", "subject": ANN, "code": {"coding": [{"system": "s", "code": "fall"}]}},
        {"status": "active", "codes": ("s|fall",)},
    ),
    "Observation": (
        {
            "status": "final",
            "subject": ANN,
            "code": {"coding": [{"code": "a1c"}]},
            "effectiveDateTime": instant(MONDAY),
        },
        {"status": "final", "codes": ("|a1c",), "start": MONDAY},
    ),
    "QuestionnaireResponse": (
        {"status": "completed", "subject": ANN, "authored": instant(MONDAY)},
        {"status": "completed", "start": MONDAY},
    ),
    "ServiceRequest": (
        {"status": "active", "subject": ANN, "authoredOn": instant(MONDAY), "code": {"coding": [{"code": "r"}]}},
        {"status": "active", "codes": ("|r",), "start": MONDAY},
    ),
}


@pytest.mark.parametrize("type_", sorted(EXAMPLES))
def test_each_type_that_rules_look_at_is_an_event(clinic: Clinic, type_: str) -> None:
    body, wanted = EXAMPLES[type_]
    clinic.put({"resourceType": type_, "id": "x", **body}, MONDAY)
    event = seen(clinic, f"{type_}/x")
    assert event is not None
    assert (event.type, event.patient) == (type_, "ann")
    assert {name: getattr(event, name) for name in wanted} == wanted


def test_every_event_type_has_an_example_here() -> None:
    assert {*EXAMPLES, "Appointment", "Encounter"} == EVENT_TYPES


def test_a_refuted_condition_never_counts() -> None:
    body = {"resourceType": "Condition", "id": "c", "subject": ANN, "clinicalStatus": {"coding": [{"code": "active"}]}}
    refuted = body | {"verificationStatus": {"coding": [{"code": "refuted"}]}}
    event = event_of(refuted, seen_at=MONDAY)
    assert event is not None
    assert event.status == "entered-in-error"


def test_an_event_that_moves_to_another_patient_leaves_the_first(clinic: Clinic) -> None:
    for name in ("ann", "bob"):
        clinic.patient(name)
    flag = {
        "resourceType": "Flag",
        "id": "f",
        "status": "active",
        "subject": ANN,
        "code": {"coding": [{"code": "fall"}]},
    }
    clinic.put(flag, MONDAY)
    assert flags(clinic, "ann") == ("fall",)
    clinic.put(flag | {"subject": {"reference": "Patient/bob"}}, MONDAY)
    assert (flags(clinic, "ann"), flags(clinic, "bob")) == ((), ("fall",))


def test_an_event_that_is_nobodys_any_more_is_gone(clinic: Clinic) -> None:
    clinic.put(appointment("ann", MONDAY, id_="a", status="booked"), MONDAY)
    clinic.put(appointment("ann", MONDAY, id_="a", status="booked") | {"participant": []}, MONDAY)
    assert seen(clinic, "Appointment/a") is None


def test_the_patients_summary_names_the_active_flags_in_whatever_order_things_arrive(clinic: Clinic) -> None:
    flag = {
        "resourceType": "Flag",
        "id": "f",
        "status": "active",
        "subject": ANN,
        "code": {"coding": [{"code": "fall"}]},
    }
    clinic.put(flag, MONDAY)
    clinic.patient("ann")
    assert flags(clinic, "ann") == ("fall",)
    clinic.put(flag | {"status": "inactive"}, MONDAY)
    assert flags(clinic, "ann") == ()
    clinic.put(flag, MONDAY)
    clinic.remove("Flag/f", MONDAY)
    assert flags(clinic, "ann") == ()


def test_a_deleted_patient_has_no_summary(clinic: Clinic) -> None:
    clinic.patient("ann")
    clinic.remove("Patient/ann", MONDAY)
    with clinic.database.read() as tx:
        assert patients.find(tx, SYSTEM, "ann") is None


def test_a_task_gives_a_work_item_with_every_field() -> None:
    body = plain_task(
        businessStatus={"coding": [{"code": "own"}]},
        basedOn=[{"reference": "ServiceRequest/s"}, {"reference": "CarePlan/p"}],
        performerType=[{"coding": [{"system": ROLE_SYSTEM, "code": "rn"}]}],
        owner={"reference": "Practitioner/nurse"},
        priority="urgent",
        focus={"reference": "Appointment/a"},
        extension=[
            {"url": HOLD_UNTIL, "valueDateTime": instant(MONDAY + HOUR)},
            {"url": HOLD_EVENT, "valueCode": "document.arrived"},
        ],
        **due(MONDAY + 2 * HOUR),
    )
    assert task_item(body, None, mirrored=False, created_at=MONDAY + HOUR) == WorkItem(
        ref="Task/t",
        kind="task",
        title="Call back",
        patient="ann",
        plan="CarePlan/p",
        status="own",
        fhir_status="requested",
        role="rn",
        owner="Practitioner/nurse",
        due_at=MONDAY + 2 * HOUR,
        priority="urgent",
        created_at=MONDAY,
        status_since=MONDAY,
        assigned_since=MONDAY,
        hold_until=MONDAY + HOUR,
        hold_event="document.arrived",
        focus="Appointment/a",
    )


def test_a_program_task_gives_a_work_item_in_the_programs_words(clinic: Clinic) -> None:
    clinic.patient("ann")
    clinic.discharge("ann", MONDAY)
    item = clinic.task("ann", "first-call")
    assert (item.program, item.program_version, item.code, item.title) == ("ring", 1, "first-call", "First call")
    assert (item.status, item.fhir_status, item.clock, item.open) == ("to-call", "requested", "running", True)
    assert (item.role, item.owner, item.due_at) == ("care-coordinator", None, MONDAY + timedelta(days=2))
    assert item.plan is not None
    assert item.plan.startswith("CarePlan/")


def test_what_is_due_on_a_day_has_that_whole_day() -> None:
    body = plain_task(restriction={"period": {"end": "2026-03-09"}})
    item = task_item(body, None, mirrored=False, created_at=MONDAY)
    assert item.due_at == datetime(2026, 3, 9, 23, 59, 59, tzinfo=UTC)


def test_an_ehrs_own_task_is_outside_work_and_never_ruled(clinic: Clinic) -> None:
    remote = Remote(connection="ehr", id="1", version="1", body="{}", content_hash="h")
    body = plain_task(
        instantiatesCanonical=clinic.program.canonical, code={"coding": [{"system": WORK_SYSTEM, "code": "escalation"}]}
    )
    with clinic.database.begin() as tx:
        records.save(tx, body, author(MONDAY, origin="ehr:ehr"), remote=remote)
    item = clinic.item("Task/t")
    assert (item.kind, item.program, item.next_action_at) == ("outside", None, None)


def test_every_way_of_changing_a_task_leaves_its_rows(clinic: Clinic) -> None:
    clinic.put(plain_task(), MONDAY)
    role: dict[str, Any] = {"performerType": [{"coding": [{"system": ROLE_SYSTEM, "code": "rn"}]}]}
    clinic.put(
        plain_task(status="accepted", priority="stat", owner={"reference": "Practitioner/n"}, **role), MONDAY + HOUR
    )
    clinic.put(plain_task(status="accepted", priority="stat", **role, **due(MONDAY)), MONDAY + 2 * HOUR, COORDINATOR)
    rows = [(row.what, row.before, row.after, row.who) for row in clinic.log("Task/t")]
    assert rows == [
        ("status", None, "requested", "Device/test"),
        ("status", "requested", "accepted", "Device/test"),
        ("owner", None, "Practitioner/n", "Device/test"),
        ("role", None, "rn", "Device/test"),
        ("priority", "routine", "stat", "Device/test"),
        ("owner", "Practitioner/n", None, "Practitioner/coordinator"),
        ("due", None, MONDAY.isoformat(), "Practitioner/coordinator"),
    ]


def test_a_write_that_changes_nothing_leaves_no_row(clinic: Clinic) -> None:
    clinic.put(plain_task(), MONDAY)
    clinic.put(plain_task(description="other words"), MONDAY + HOUR)
    assert len(clinic.log("Task/t")) == 1


def test_status_and_owner_know_since_when(clinic: Clinic) -> None:
    clinic.put(plain_task(), MONDAY)
    clinic.put(plain_task(owner={"reference": "Practitioner/n"}), MONDAY + HOUR)
    clinic.put(plain_task(status="accepted", owner={"reference": "Practitioner/n"}), MONDAY + 2 * HOUR)
    item = clinic.item("Task/t")
    assert (item.status_since, item.assigned_since) == (MONDAY + 2 * HOUR, MONDAY + HOUR)


def test_a_new_due_time_or_a_reopening_starts_a_cycle_and_nothing_else_does(clinic: Clinic) -> None:
    steps: list[tuple[dict[str, Any], int]] = [
        (plain_task(**due(MONDAY)), 0),
        (plain_task(**due(MONDAY), priority="stat"), 0),
        (plain_task(**due(MONDAY + HOUR)), 1),
        (plain_task(**due(MONDAY + HOUR), status="completed"), 1),
        (plain_task(**due(MONDAY + HOUR), status="in-progress"), 2),
        (plain_task(status="in-progress"), 3),
    ]
    for minute, (body, cycle) in enumerate(steps):
        clinic.put(body, MONDAY + timedelta(minutes=minute))
        assert clinic.item("Task/t").cycle == cycle


def test_attempts_are_counted_on_the_task_they_are_about(clinic: Clinic) -> None:
    clinic.put(plain_task(), MONDAY)
    clinic.put(plain_task("other"), MONDAY)
    clinic.attempt("Task/t", MONDAY)
    clinic.attempt("Task/t", MONDAY + HOUR, channel="sms", outcome="left-message")
    item = clinic.item("Task/t")
    assert (item.attempts, item.last_attempt_at, item.last_attempt_outcome) == (2, MONDAY + HOUR, "left-message")
    assert clinic.item("Task/other").attempts == 0


def test_an_attempt_entered_in_error_or_deleted_does_not_count(clinic: Clinic) -> None:
    clinic.put(plain_task(), MONDAY)
    first, second = clinic.attempt("Task/t", MONDAY), clinic.attempt("Task/t", MONDAY + HOUR)
    clinic.put(clinic.resource(first.ref) | {"status": "entered-in-error"}, MONDAY + HOUR)
    assert clinic.item("Task/t").attempts == 1
    clinic.remove(second.ref, MONDAY + HOUR)
    item = clinic.item("Task/t")
    assert (item.attempts, item.last_attempt_at) == (0, None)


def test_an_attempt_moved_to_another_task_counts_there_only(clinic: Clinic) -> None:
    clinic.put(plain_task(), MONDAY)
    clinic.put(plain_task("other"), MONDAY)
    attempt = clinic.attempt("Task/t", MONDAY)
    other = [{"reference": "Task/other"}]
    clinic.put(clinic.resource(attempt.ref) | {"basedOn": other, "about": other}, MONDAY)
    assert (clinic.item("Task/t").attempts, clinic.item("Task/other").attempts) == (0, 1)


def test_a_deleted_task_is_out_of_the_queues_and_its_rows_stay(clinic: Clinic) -> None:
    clinic.put(plain_task(owner={"reference": "Practitioner/n"}), MONDAY)
    clinic.remove("Task/t", MONDAY + HOUR)
    with clinic.database.read() as tx:
        assert work_items.find(tx, SYSTEM, "Task/t") is None
    assert [(row.what, row.after) for row in clinic.log("Task/t")][-1] == ("status", "deleted")


def test_a_task_that_comes_back_after_its_deletion_is_in_a_new_cycle(clinic: Clinic) -> None:
    clinic.put(plain_task(**due(MONDAY)), MONDAY)
    clinic.put(plain_task(**due(MONDAY + HOUR)), MONDAY)
    clinic.remove("Task/t", MONDAY + HOUR)
    clinic.put(plain_task(**due(MONDAY + HOUR)), MONDAY + 2 * HOUR)
    assert clinic.item("Task/t").cycle == 2
    assert [(row.before, row.after) for row in clinic.log("Task/t") if row.what == "status"][-1] == (
        "deleted",
        "requested",
    )


def test_a_care_plan_is_work_only_when_it_is_of_a_program(clinic: Clinic) -> None:
    plan = {"resourceType": "CarePlan", "id": "p", "status": "active", "intent": "plan", "subject": ANN}
    clinic.put(plan | {"instantiatesCanonical": [clinic.program.canonical]}, MONDAY)
    assert clinic.item("CarePlan/p").kind == "plan"
    clinic.put(plan, MONDAY)
    with clinic.database.read() as tx:
        assert work_items.find(tx, SYSTEM, "CarePlan/p") is None


def test_a_change_makes_the_patients_open_work_due_for_a_look(clinic: Clinic) -> None:
    clinic.patient("ann")
    clinic.discharge("ann", MONDAY)
    clinic.sweep(MONDAY)
    assert clinic.task("ann", "first-call").next_action_at == MONDAY + timedelta(days=2)
    clinic.put(appointment("ann", MONDAY + HOUR, id_="a", status="booked"), MONDAY + HOUR)
    assert clinic.task("ann", "first-call").next_action_at == MONDAY + HOUR


@pytest.mark.parametrize("length", [3000, 100_000])
def test_texts_of_any_length_can_be_projected(clinic: Clinic, length: int) -> None:
    long = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=length))
    code = {"coding": [{"system": ROLE_SYSTEM, "code": long}]}
    reference = {"reference": f"CarePlan/{long}"}
    body = plain_task(
        performerType=[code], owner=reference, focus=reference, basedOn=[reference], businessStatus=code, priority=long
    )
    clinic.put(body | {"code": code, "for": {"reference": f"Patient/{long}"}}, MONDAY)
    assert clinic.item("Task/t").patient is None


def test_a_plan_with_texts_of_any_length_can_be_projected(clinic: Clinic) -> None:
    long = "".join(random.Random(2).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=10_000))
    plan = {"resourceType": "CarePlan", "id": "p", "intent": "plan", "subject": ANN}
    body = {"instantiatesCanonical": [clinic.program.canonical], "author": {"reference": f"Practitioner/{long}"}}
    clinic.put(plan | body | {"status": "active"}, MONDAY)
    item = clinic.item("CarePlan/p")
    assert (item.open, item.owner) == (True, f"Practitioner/{long}"[:LONGEST])
    clinic.put(plan | body | {"status": long}, MONDAY + HOUR)
    assert clinic.item("CarePlan/p").status == long[:LONGEST]


LEAF = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**12), 10**12),
    st.sampled_from(
        ["", "active", "Patient/ann", "Patient/", "2026-02-30", "0001-01-01T00:00:00+14:00", "9999-12-31", "|"]
    ),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20),
)
NAMES = st.sampled_from(
    "coding code system text reference value period start end status extension url valueDateTime actor given family "
    "display language subject for participant attachment encounter".split()
)
VALUE = st.recursive(
    LEAF, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=4)), max_leaves=12
)
MEMBERS = st.sampled_from(
    "status code category type class serviceType start end period sent date about basedOn partOf participant subject for "
    "patient owner performerType restriction businessStatus statusReason instantiatesCanonical extension focus note name "
    "identifier telecom birthDate gender deceasedBoolean communication content context clinicalStatus verificationStatus "
    "medium sender authoredOn priority title author created input output meta text".split()
)
TYPES = st.sampled_from([*sorted(EVENT_TYPES), "Task", "Patient"])


@settings(max_examples=300, deadline=None)
@given(type_=TYPES, members=st.dictionaries(MEMBERS, VALUE, max_size=8))
def test_no_shape_of_a_resource_makes_a_model_raise(type_: str, members: dict[str, Any]) -> None:
    body = {**members, "resourceType": type_, "id": "x"}
    event_of(body, seen_at=MONDAY)
    summary_of(body, "ehr")
    task_item(body, None, mirrored=True, created_at=MONDAY)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(type_=TYPES, members=st.dictionaries(MEMBERS, VALUE, max_size=8))
def test_no_shape_of_a_resource_makes_a_write_fail(database: Database, type_: str, members: dict[str, Any]) -> None:
    body = {**members, "resourceType": type_, "id": "x"}
    remote = Remote(connection="ehr", id="x", version="1", body="{}", content_hash="h")
    with database.begin() as tx:
        records.save(tx, body, author(MONDAY, origin="ehr:ehr"), remote=remote)
    with database.begin() as tx:
        projection.set_flags(tx, "ann")
