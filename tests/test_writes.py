"""Writing through the API: work of a program keeps the program's rules, and what is not ours is left alone."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from fhir_tracker import records, writes
from fhir_tracker.errors import Incorrect, MethodNotAllowed, RuleBroken, VersionConflict
from fhir_tracker.fhir.dates import instant
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.model.vocabulary import HOLD_UNTIL
from fhir_tracker.records import Remote
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.resources import Stored
from tests.support.clinic import EVERYONE, FRONT_DESK, MONDAY, RING, Clinic, author

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
BASE = "https://fhir-tracker.example"
ACTIVITY = f"{BASE}/ActivityDefinition/ring.first-call"
NOTE: dict[str, Any] = {"note": [{"text": "Will come"}]}


@pytest.fixture
def clinic(database: Database) -> Clinic:
    made = Clinic(database)
    made.patient("ann")
    return made


def task(**members: object) -> dict[str, Any]:
    base = {"resourceType": "Task", "status": "requested", "intent": "order", "for": {"reference": "Patient/ann"}}
    return base | members


def create(clinic: Clinic, body: dict[str, Any], viewer: Viewer = EVERYONE) -> Stored:
    with clinic.acting(MONDAY, viewer) as (tx, by):
        return writes.create(tx, body, by)


def change(
    clinic: Clinic, stored: Stored, viewer: Viewer = EVERYONE, at: timedelta = HOUR, **members: object
) -> Stored:
    body = {name: value for name, value in (clinic.resource(stored.ref) | members).items() if value is not None}
    with clinic.acting(MONDAY + at, viewer) as (tx, by):
        return writes.update(tx, stored.type, stored.id, body, by)[0]


def business(code: str) -> dict[str, Any]:
    return {"coding": [{"system": f"{BASE}/CodeSystem/ring-status", "code": code}]}


@pytest.mark.parametrize("canonical", [f"{ACTIVITY}|1", ACTIVITY])
def test_a_task_of_the_programs_work_gets_what_it_left_out(clinic: Clinic, canonical: str) -> None:
    stored = create(clinic, task(instantiatesCanonical=canonical))
    item = clinic.item(stored.ref)
    assert (item.program, item.program_version, item.code, item.status) == ("ring", 1, "first-call", "to-call")
    assert (item.role, item.due_at, item.title) == ("care-coordinator", MONDAY + 2 * DAY, "First call")
    body = clinic.resource(stored.ref)
    assert body["instantiatesCanonical"] == f"{ACTIVITY}|1"
    assert body["authoredOn"] == instant(MONDAY)
    assert clinic.provenance(stored.ref)[0]["activity"]["coding"][0]["code"] == "CREATE"
    clinic.sweep(MONDAY + 2 * DAY)
    assert [one.role for one in clinic.escalations("ann")] == ["rn"]


@pytest.mark.parametrize("canonical", [f"{BASE}/PlanDefinition/ring|1", f"{BASE}/PlanDefinition/ring"])
def test_a_task_can_name_the_program_and_its_work_by_code(clinic: Clinic, canonical: str) -> None:
    code = {"coding": [{"system": f"{BASE}/CodeSystem/ring-task", "code": "first-call"}]}
    stored = create(clinic, task(instantiatesCanonical=canonical, code=code))
    item = clinic.item(stored.ref)
    assert (item.code, item.role, item.due_at) == ("first-call", "care-coordinator", MONDAY + 2 * DAY)


def test_a_task_of_a_plan_is_due_from_the_plans_discharge(clinic: Clinic) -> None:
    clinic.discharge("ann", MONDAY - DAY)
    plan = next(item for item in clinic.items("ann") if item.kind == "plan")
    stored = create(clinic, task(instantiatesCanonical=ACTIVITY, basedOn=[{"reference": plan.ref}]))
    assert clinic.item(stored.ref).due_at == MONDAY + DAY


def test_what_a_task_says_itself_is_kept(clinic: Clinic) -> None:
    given = task(
        instantiatesCanonical=ACTIVITY,
        priority="stat",
        code={"text": "Ring her"},
        performerType=[{"coding": [{"code": "provider"}]}],
        restriction={"period": {"end": instant(MONDAY + 5 * DAY)}},
    )
    item = clinic.item(create(clinic, given).ref)
    assert (item.priority, item.title, item.role, item.due_at) == ("stat", "Ring her", "provider", MONDAY + 5 * DAY)


@pytest.mark.parametrize(
    "canonical",
    [
        f"{BASE}/PlanDefinition/none",
        f"{BASE}/PlanDefinition/ring|9",
        f"{ACTIVITY}|9",
        f"{BASE}/ActivityDefinition/ring.nothing|1",
    ],
)
def test_an_unknown_program_version_or_work_is_refused(clinic: Clinic, canonical: str) -> None:
    with pytest.raises(RuleBroken) as refused:
        create(clinic, task(instantiatesCanonical=canonical))
    assert refused.value.issues[0].expression == "Task.instantiatesCanonical"


def test_a_definition_of_somebody_else_makes_a_plain_task(clinic: Clinic) -> None:
    stored = create(clinic, task(instantiatesCanonical="http://example.org/PlanDefinition/theirs"))
    assert clinic.item(stored.ref).program is None


def test_a_status_that_the_program_does_not_have_is_refused(clinic: Clinic) -> None:
    with pytest.raises(RuleBroken, match="has no status"):
        create(clinic, task(instantiatesCanonical=ACTIVITY, status="draft"))
    with pytest.raises(RuleBroken, match="goes with status in-progress"):
        create(clinic, task(instantiatesCanonical=ACTIVITY, businessStatus=business("calling")))


def test_changing_only_the_status_moves_the_work_in_the_programs_words(clinic: Clinic) -> None:
    stored = create(clinic, task(instantiatesCanonical=ACTIVITY))
    change(clinic, stored, status="in-progress")
    assert clinic.item(stored.ref).status == "calling"
    assert clinic.resource(stored.ref)["businessStatus"]["coding"][0]["code"] == "calling"
    assert clinic.log(stored.ref)[-1].after == "calling"
    assert clinic.provenance(stored.ref)[-1]["activity"]["coding"][0]["code"] == "UPDATE"


def test_changing_only_the_business_status_moves_the_fhir_status_too(clinic: Clinic) -> None:
    stored = create(clinic, task(instantiatesCanonical=ACTIVITY))
    change(clinic, stored, businessStatus=business("calling"))
    assert clinic.resource(stored.ref)["status"] == "in-progress"


@pytest.mark.requirement(128)
def test_statuses_that_contradict_each_other_are_refused(clinic: Clinic) -> None:
    stored = create(clinic, task(instantiatesCanonical=ACTIVITY))
    with pytest.raises(RuleBroken, match="goes with status in-progress, not completed"):
        change(clinic, stored, businessStatus=business("calling"), status="completed")
    with pytest.raises(RuleBroken, match="not a status"):
        change(clinic, stored, businessStatus=business("eaten"))


def test_a_move_that_needs_fields_asks_for_each_of_them(clinic: Clinic) -> None:
    stored = create(clinic, task(instantiatesCanonical=ACTIVITY))
    with pytest.raises(RuleBroken) as refused:
        change(clinic, stored, status="completed")
    assert {issue.expression for issue in refused.value.issues if issue.severity == "error"} == {
        "Communication.statusReason",
        "Task.note",
    }
    clinic.attempt(stored.ref, MONDAY, outcome="reached")
    change(clinic, stored, status="completed", **NOTE)
    item = clinic.item(stored.ref)
    assert (item.open, item.status) == (False, "reached")
    assert clinic.log(stored.ref)[-1].note == "Will come"


def test_an_illegal_move_and_a_wrong_role_are_refused(clinic: Clinic) -> None:
    stored = create(clinic, task(instantiatesCanonical=ACTIVITY))
    clinic.attempt(stored.ref, MONDAY, outcome="reached")
    with pytest.raises(RuleBroken, match="Only care-coordinator or rn"):
        change(clinic, stored, FRONT_DESK, status="completed", **NOTE)
    change(clinic, stored, status="completed", **NOTE)
    with pytest.raises(RuleBroken, match="allowed next"):
        change(clinic, stored, status="requested", businessStatus=business("to-call"))


def test_a_hold_through_the_api_needs_its_end_in_the_future(clinic: Clinic) -> None:
    stored = create(clinic, task(instantiatesCanonical=ACTIVITY))
    for until, refused in ((MONDAY, True), (MONDAY + DAY, False)):
        hold: dict[str, Any] = {
            "extension": [{"url": HOLD_UNTIL, "valueDateTime": instant(until)}],
            "statusReason": {"text": "Wait"},
        }
        if refused:
            with pytest.raises(RuleBroken, match="future"):
                change(clinic, stored, status="on-hold", **hold)
        else:
            change(clinic, stored, status="on-hold", **hold)
    assert clinic.item(stored.ref).hold_until == MONDAY + DAY
    change(clinic, stored, at=2 * DAY, status="in-progress", businessStatus=None)
    assert clinic.item(stored.ref).hold_until is None


@pytest.mark.requirement(130)
def test_work_under_way_keeps_what_it_is(clinic: Clinic) -> None:
    stored = create(clinic, task(instantiatesCanonical=ACTIVITY))
    change(clinic, stored, instantiatesCanonical=None, authoredOn=None, code=None)
    body = clinic.resource(stored.ref)
    assert (body["instantiatesCanonical"], body["authoredOn"]) == (f"{ACTIVITY}|1", instant(MONDAY))
    others: dict[str, Any] = {"for": {"reference": "Patient/bob"}, "intent": "plan", "code": {"text": "x"}}
    for name, value in others.items():
        with pytest.raises(RuleBroken, match="cannot be changed"):
            change(clinic, stored, **{name: value})


def test_a_new_due_time_through_the_api_starts_a_new_cycle(clinic: Clinic) -> None:
    stored = create(clinic, task(instantiatesCanonical=ACTIVITY))
    change(clinic, stored, restriction={"period": {"end": instant(MONDAY + 9 * DAY)}})
    item = clinic.item(stored.ref)
    assert (item.cycle, item.due_at) == (1, MONDAY + 9 * DAY)


def test_running_work_stays_on_its_version_when_a_new_one_is_published(clinic: Clinic) -> None:
    stored = create(clinic, task(instantiatesCanonical=ACTIVITY))
    clinic.publish(RING.replace("within: 2 days", "within: 1 day"), MONDAY)
    change(clinic, stored, status="in-progress")
    assert clinic.item(stored.ref).program_version == 1
    newer = create(clinic, task(instantiatesCanonical=ACTIVITY))
    assert (clinic.item(newer.ref).program_version, clinic.item(newer.ref).due_at) == (2, MONDAY + DAY)


def test_an_update_under_a_new_id_creates(clinic: Clinic) -> None:
    with clinic.acting(MONDAY, EVERYONE) as (tx, by):
        stored, created = writes.update(tx, "Task", "mine", task(id="mine", instantiatesCanonical=ACTIVITY), by)
    assert (created, stored.ref) == (True, "Task/mine")
    assert clinic.item("Task/mine").role == "care-coordinator"


def test_a_stale_if_match_is_refused_before_anything_else(clinic: Clinic) -> None:
    stored = create(clinic, task())
    with clinic.acting(MONDAY, EVERYONE) as (tx, by):
        with pytest.raises(VersionConflict):
            writes.update(tx, "Task", stored.id, task(id=stored.id, status="completed"), by, if_match=7)
        with pytest.raises(VersionConflict):
            writes.delete(tx, "Task", stored.id, by, if_match=7)


@pytest.mark.requirement(125, 127)
def test_a_plain_task_follows_the_default_table(clinic: Clinic) -> None:
    stored = create(clinic, task())
    with pytest.raises(RuleBroken, match="allowed next"):
        change(clinic, stored, status="on-hold", statusReason={"text": "Wait"})
    change(clinic, stored, status="in-progress")
    for status in ("on-hold", "failed", "cancelled"):
        with pytest.raises(RuleBroken) as refused:
            change(clinic, stored, status=status)
        assert refused.value.issues[0].expression == "Task.statusReason"
    change(clinic, stored, status="failed", statusReason={"text": "No phone"})
    with pytest.raises(RuleBroken, match="nothing may follow"):
        change(clinic, stored, status="in-progress")
    change(clinic, stored, status="entered-in-error")


def test_an_escalation_answered_through_the_api_needs_its_reason(clinic: Clinic) -> None:
    stored = create(clinic, task(instantiatesCanonical=ACTIVITY))
    clinic.sweep(MONDAY + 2 * DAY)
    escalation = clinic.escalations("ann")[0].ref
    body = clinic.resource(escalation)
    with clinic.acting(MONDAY + 2 * DAY, EVERYONE) as (tx, by):
        with pytest.raises(RuleBroken, match="a reason must be given"):
            writes.update(tx, "Task", body["id"], body | {"status": "rejected"}, by)
        with pytest.raises(RuleBroken, match="cannot be changed"):
            writes.update(tx, "Task", body["id"], body | {"focus": {"reference": "Task/other"}}, by)
        writes.update(tx, "Task", body["id"], body | {"status": "rejected", "statusReason": {"text": "Not mine"}}, by)
    assert clinic.firings(stored.ref)[0].state == "sent-back"


def test_deleting_work_resolves_what_was_escalated(clinic: Clinic) -> None:
    stored = create(clinic, task(instantiatesCanonical=ACTIVITY))
    clinic.sweep(MONDAY + 2 * DAY)
    with clinic.acting(MONDAY + 2 * DAY, EVERYONE) as (tx, by):
        writes.delete(tx, "Task", stored.id, by)
    assert [one.open for one in clinic.escalations("ann")] == [False]


def test_what_an_ehr_owns_is_changed_there(clinic: Clinic) -> None:
    remote = Remote(connection="ehr", id="1", version="1", body="{}", content_hash="h")
    body = {"resourceType": "Patient", "id": "ehr-1"}
    with clinic.database.begin() as tx:
        records.save(tx, body, author(MONDAY, origin="ehr:ehr"), remote=remote)
    with clinic.acting(MONDAY, EVERYONE) as (tx, by):
        with pytest.raises(RuleBroken, match="change it there"):
            writes.update(tx, "Patient", "ehr-1", body, by)
        with pytest.raises(RuleBroken, match="change it there"):
            writes.delete(tx, "Patient", "ehr-1", by)


@pytest.mark.parametrize("type_", ["Provenance", "AuditEvent"])
def test_the_trackers_own_records_are_written_by_nobody_else(clinic: Clinic, type_: str) -> None:
    bodies: dict[str, dict[str, Any]] = {
        "Provenance": {
            "target": [{"reference": "Task/t"}],
            "recorded": instant(MONDAY),
            "agent": [{"who": {"display": "x"}}],
        },
        "AuditEvent": {
            "type": {"code": "rest"},
            "recorded": instant(MONDAY),
            "agent": [{"requestor": True}],
            "source": {"observer": {"display": "x"}},
        },
    }
    body = bodies[type_] | {"resourceType": type_, "id": "x"}
    with clinic.acting(MONDAY, EVERYONE) as (tx, by):
        with pytest.raises(MethodNotAllowed):
            writes.create(tx, body, by)
        with pytest.raises(MethodNotAllowed):
            writes.update(tx, type_, "x", body, by)
        with pytest.raises(MethodNotAllowed):
            writes.delete(tx, type_, "x", by)


def test_a_body_that_is_no_valid_resource_is_refused_with_every_issue(clinic: Clinic) -> None:
    with pytest.raises(Incorrect) as refused:
        create(clinic, {"resourceType": "Task", "status": "eaten", "nonsense": 1})
    assert len(refused.value.issues) >= 2


def test_other_types_are_stored_as_they_are(clinic: Clinic) -> None:
    stored = create(
        clinic,
        {
            "resourceType": "Goal",
            "lifecycleStatus": "active",
            "description": {"text": "Walk"},
            "subject": {"reference": "Patient/ann"},
        },
    )
    assert clinic.resource(stored.ref)["description"] == {"text": "Walk"}
    with clinic.acting(MONDAY, EVERYONE) as (tx, by):
        assert writes.delete(tx, "Goal", stored.id, by) is not None
        assert writes.delete(tx, "Goal", stored.id, by) is None
