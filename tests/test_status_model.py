"""The status model whole: who may move what, with what, what follows, and how it is taken back; on both databases."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest

from fhir_tracker import bulk_moves, consequences, effects, escalation, plan_moves, records, transitions, undo, writes
from fhir_tracker.errors import RuleBroken
from fhir_tracker.fhir.checks import check
from fhir_tracker.fhir.dates import instant
from fhir_tracker.model.moves import MoveRequest
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.storage.database import Database
from tests.support.clinic import COORDINATOR, EVERYONE, FRONT_DESK, MONDAY, NURSE, STRANGER, Clinic, author

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
PROGRAM = """
program: model
title: A program of everything
eligible: {any: [{Encounter: {status: finished, class: IMP, within: 30 days}}]}
reasons:
  - {code: insurer, title: Insurer asked, means: "The insurer has not decided", for: hold}
  - {code: moved, title: Moved away, means: "Lives elsewhere now", for: stop}
  - {code: not-clinical, title: Not clinical, means: "No clinical question", for: send-back}
stages:
  - {code: enrolled, is: active, means: "Being worked"}
  - {code: paused, is: on-hold, means: "Waiting"}
  - {code: finished, is: completed, means: "All of it done"}
  - {code: left, is: revoked, means: "The patient left"}
stage_transitions:
  - {from: enrolled, to: paused, by: [rn], require: [note]}
  - {from: paused, to: enrolled}
  - {from: [enrolled, paused], to: left, by: [rn], require: [reason.code], do: {raise_flag: has-left}}
statuses:
  - {code: to-do, is: requested, means: "Nobody has begun"}
  - {code: waiting, is: on-hold, means: "Waiting for somebody", hold: {until: required}}
  - {code: done, is: completed, means: "Done and proven"}
  - {code: dropped, is: cancelled, means: "Not needed"}
transitions:
  - {from: to-do, to: waiting, require: [reason.code, hold.until]}
  - {from: waiting, to: to-do}
  - {from: to-do, to: done, as: owner, require: [document, field.location, {attempt: {within: 24 hours}}]}
  - {from: to-do, to: dropped, as: requester, require: [reason], do: [{raise_flag: was-dropped}, {create_task: letter}]}
  - {from: done, to: to-do, by: [rn], require: [reason]}
completes: {when: all_tasks_closed, stage: finished, tasks: [call, visit]}
tasks:
  - {code: call, title: Call, role: care-coordinator}
  - {code: visit, title: Visit, role: front-desk}
  - {code: letter, title: Letter, role: front-desk, on: rule}
rules:
  - {id: late, when: {all: [{task: call}, {in_status_for: {for: 1 hour}}]}, do: {escalate: late}}
ladders:
  late: {levels: [{to: role/rn}]}
"""


@pytest.fixture
def clinic(database: Database) -> Clinic:
    found = Clinic(database, PROGRAM)
    found.patient("ann")
    found.patient("bob")
    found.discharge("ann", MONDAY)
    return found


def plan_of(clinic: Clinic) -> str:
    (found,) = [item.ref for item in clinic.items("ann") if item.kind == "plan"]
    return found


def put(clinic: Clinic, ref: str, viewer: Viewer = EVERYONE, at: Any = MONDAY, **members: Any) -> None:
    body = {**clinic.resource(ref), **members}
    with clinic.acting(at, viewer) as (tx, by):
        type_, _, id_ = ref.partition("/")
        writes.update(tx, type_, id_, {name: value for name, value in body.items() if value is not None}, by)


def move_plan(clinic: Clinic, to: str, viewer: Viewer = NURSE, at: Any = MONDAY, **fields: str) -> None:
    with clinic.acting(at, viewer) as (tx, by):
        plan_moves.move(tx, plan_of(clinic), MoveRequest(to=to, fields=named(fields)), by)
        consequences.draw(tx, effects.apply)


def named(fields: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "."): text for name, text in fields.items()}


def refused(clinic: Clinic, ref: str, to: str, viewer: Viewer = EVERYONE, **fields: str) -> RuleBroken:
    with pytest.raises(RuleBroken) as caught:
        clinic.move(ref, to, MONDAY, viewer, named(fields))
    return caught.value


def document(clinic: Clinic, id_: str, patient: str, status: str = "current") -> str:
    body = {
        "resourceType": "DocumentReference",
        "id": id_,
        "status": status,
        "subject": {"reference": f"Patient/{patient}"},
    }
    clinic.put({**body, "content": [{"attachment": {"url": "http://example.org/x"}}]}, MONDAY)
    return f"DocumentReference/{id_}"


def finish(clinic: Clinic, code: str, at: Any = MONDAY) -> str:
    ref = clinic.task("ann", code).ref
    clinic.attempt(ref, at - MINUTE)
    fields = {"document": document(clinic, f"doc-{code}", "ann"), "field.location": "Location/clinic"}
    clinic.move(ref, "done", at, EVERYONE, fields)
    return ref


@pytest.mark.requirement(124, 127)
def test_every_kind_of_required_field_is_asked_for_and_then_enough(clinic: Clinic) -> None:
    ref = clinic.task("ann", "call").ref
    error = refused(clinic, ref, "done")
    assert error.message == (
        'To move this to "Done" (done): a linked document, a value for location and an attempt to reach the patient '
        "within 24 hours must be given."
    )
    assert [one.expression for one in error.issues] == ["Task.output", "Task.location", "Communication.sent", None]
    assert error.issues[-1].severity == "information"
    assert '"Waiting" (waiting) with a coded reason and when the hold ends' in error.issues[-1].message
    clinic.attempt(ref, MONDAY - 25 * HOUR)
    assert (
        "an attempt"
        in refused(clinic, ref, "done", document="DocumentReference/x", field_location="Location/x").message
    )
    finish(clinic, "call")
    body = clinic.resource(ref)
    assert body["location"] == {"reference": "Location/clinic"}
    assert check(body) == ()


@pytest.mark.parametrize(
    ("id_", "patient", "status"), [("other", "bob", "current"), ("wrong", "ann", "entered-in-error"), ("", "", "")]
)
def test_a_linked_document_is_here_and_of_this_patient(clinic: Clinic, id_: str, patient: str, status: str) -> None:
    ref = clinic.task("ann", "call").ref
    clinic.attempt(ref, MONDAY - HOUR)
    named_ = document(clinic, id_, patient, status) if id_ else "DocumentReference/nowhere"
    assert (
        "no document of this patient"
        in refused(clinic, ref, "done", document=named_, field_location="Location/x").message
    )


@pytest.mark.requirement(127)
def test_a_coded_reason_is_one_of_those_offered_and_can_be_counted(clinic: Clinic) -> None:
    ref, until = clinic.task("ann", "call").ref, instant(MONDAY + HOUR)
    missing = refused(clinic, ref, "waiting", hold_until=until, reason="Because")
    assert missing.issues[0].message == "a coded reason (insurer) is missing."
    wrong = refused(clinic, ref, "waiting", hold_until=until, reason_code="moved")
    assert [one.code for one in wrong.issues][:1] == ["code-invalid"]
    clinic.move(ref, "waiting", MONDAY, NURSE, {"hold.until": until, "reason.code": "insurer"})
    coding = {"system": clinic.program.reason_system, "code": "insurer", "display": "Insurer asked"}
    assert clinic.resource(ref)["statusReason"] == {"coding": [coding], "text": "Insurer asked"}
    assert (clinic.log(ref)[-1].reason, clinic.log(ref)[-1].reason_code) == ("Insurer asked", "insurer")


@pytest.mark.requirement(124, 128)
@pytest.mark.parametrize("to", ["waiting", "done", "dropped"])
def test_the_api_refuses_a_move_in_the_words_of_the_page(clinic: Clinic, to: str) -> None:
    ref = clinic.task("ann", "call").ref
    by_page = refused(clinic, ref, to, NURSE)
    own = clinic.program.status(to)
    assert own is not None
    status = {"status": own.fhir, "businessStatus": {"coding": [{"system": clinic.program.status_system, "code": to}]}}
    with pytest.raises(RuleBroken) as by_api:
        put(clinic, ref, NURSE, **status)
    assert (by_api.value.message, by_api.value.issues) == (by_page.message, by_page.issues)


@pytest.mark.requirement(126)
def test_a_program_can_leave_a_move_to_the_owner_or_to_who_asked(clinic: Clinic) -> None:
    ref = clinic.task("ann", "call").ref
    assert refused(clinic, ref, "done", FRONT_DESK).message == 'Only the owner may move this to "Done" (done).'
    assert "must be given" in refused(clinic, ref, "done", COORDINATOR).message
    with clinic.acting(MONDAY, COORDINATOR) as (tx, by):
        transitions.assign(tx, ref, FRONT_DESK.who, by)
        options = {one.to for one in transitions.options(tx, FRONT_DESK, ref)}
    assert "must be given" in refused(clinic, ref, "done", FRONT_DESK).message
    assert options == {"waiting", "done", "dropped"}


PLAIN: dict[str, Any] = {
    "resourceType": "Task",
    "status": "requested",
    "intent": "order",
    "for": {"reference": "Patient/ann"},
    "focus": {"reference": "Encounter/stay-ann"},
    "requester": {"reference": NURSE.who},
    "owner": {"reference": COORDINATOR.who},
    "authoredOn": "2026-03-09T09:00:00Z",
}


def plain(clinic: Clinic, **members: Any) -> str:
    with clinic.acting(MONDAY, NURSE) as (tx, by):
        return writes.create(tx, {**PLAIN, **members}, by).ref


@pytest.mark.requirement(125, 126)
@pytest.mark.parametrize(
    ("viewer", "before", "to", "may"),
    [
        (NURSE, "draft", "requested", True),
        (COORDINATOR, "draft", "requested", False),
        (COORDINATOR, "requested", "accepted", True),
        (NURSE, "requested", "accepted", False),
        (STRANGER, "requested", "accepted", False),
        (COORDINATOR, "requested", "rejected", True),
        (NURSE, "requested", "cancelled", True),
        (COORDINATOR, "requested", "cancelled", True),
        (STRANGER, "requested", "cancelled", False),
        (COORDINATOR, "in-progress", "completed", True),
        (NURSE, "in-progress", "completed", False),
        (COORDINATOR, "in-progress", "entered-in-error", False),
        (NURSE, "in-progress", "entered-in-error", True),
        (EVERYONE, "in-progress", "entered-in-error", True),
    ],
)
def test_outside_programs_owner_and_requester_each_set_their_own(
    clinic: Clinic, viewer: Viewer, before: str, to: str, may: bool
) -> None:
    ref = plain(clinic, status=before)
    change = {"status": to, "statusReason": {"text": "Said so"}}
    if may:
        put(clinic, ref, viewer, **change)
        assert clinic.item(ref).fhir_status == to
    else:
        with pytest.raises(RuleBroken, match="may move this"):
            put(clinic, ref, viewer, **change)


@pytest.mark.requirement(130)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("for", {"reference": "Patient/bob"}),
        ("focus", {"reference": "Encounter/other"}),
        ("intent", "plan"),
        ("requester", {"reference": STRANGER.who}),
        ("authoredOn", "2026-03-09T10:00:00Z"),
    ],
)
def test_what_was_asked_for_is_changed_by_who_asked_and_nobody_else(clinic: Clinic, name: str, value: Any) -> None:
    ref = plain(clinic)
    with pytest.raises(RuleBroken) as caught:
        put(clinic, ref, COORDINATOR, **{name: value})
    assert [(one.code, one.expression) for one in caught.value.issues] == [("business-rule", f"Task.{name}")]
    assert caught.value.message == f"{name} of work under way cannot be changed."
    if name != "intent":
        put(clinic, ref, COORDINATOR, **{name: None, "description": "Words"})
        assert clinic.resource(ref)[name] == PLAIN[name]
    put(clinic, ref, NURSE, **{name: value})
    assert clinic.resource(ref)[name] == value


@pytest.mark.requirement(134)
def test_what_follows_from_a_move_is_done_with_it_once(clinic: Clinic) -> None:
    ref = clinic.task("ann", "visit").ref
    clinic.move(ref, "dropped", MONDAY, EVERYONE, {"reason": "Not wanted"})
    assert [(one["code"]["text"], one["status"]) for one in clinic.stored("Flag")] == [("was dropped", "active")]
    assert clinic.task("ann", "letter").open
    clinic.sweep(MONDAY + MINUTE)
    assert len(clinic.stored("Flag")) == 1
    assert sum(item.code == "letter" for item in clinic.items("ann")) == 1
    keys = [(one.key.rule, one.key.level) for one in clinic.firings(ref)]
    assert keys == [("move:to-do>dropped", 0), ("move:to-do>dropped", -1)]


@pytest.mark.requirement(134)
def test_the_last_work_closed_completes_the_plan_and_tells_it_what_came_out(clinic: Clinic) -> None:
    plan = plan_of(clinic)
    finish(clinic, "call")
    assert clinic.item(plan).status == "enrolled"
    last = finish(clinic, "visit", MONDAY + MINUTE)
    assert (clinic.item(plan).status, clinic.item(plan).open) == ("finished", False)
    body = clinic.resource(plan)
    assert body["status"] == "completed"
    told = {one["reference"]["reference"]: one for one in body["activity"]}
    assert told[last]["outcomeCodeableConcept"][0]["coding"][0]["code"] == "done"
    assert told[last]["outcomeReference"] == [{"reference": "DocumentReference/doc-visit"}]
    assert told[last]["progress"][0]["text"] == "Visit: Done"
    assert check(body) == ()
    assert clinic.log(plan)[-1].rule == "model|1#completes"


@pytest.mark.requirement(134)
def test_a_plan_that_is_revoked_takes_its_work_and_escalations_with_it(clinic: Clinic) -> None:
    clinic.sweep(MONDAY + 2 * HOUR)
    (escalated,) = clinic.escalations("ann")
    with pytest.raises(RuleBroken, match="a coded reason"):
        move_plan(clinic, "left")
    move_plan(clinic, "left", at=MONDAY + 3 * HOUR, reason_code="moved", reason="To another state")
    assert {item.fhir_status for item in clinic.items("ann") if item.kind == "task"} == {"cancelled"}
    assert not clinic.item(escalated.ref).open
    row = clinic.log(clinic.task("ann", "call").ref)[-1]
    assert (row.after, row.reason, row.reason_code) == ("dropped", "The plan ended (left): To another state", "moved")
    assert [one["code"]["text"] for one in clinic.stored("Flag")] == ["has left"]
    assert check(clinic.resource(plan_of(clinic))) == ()


def test_a_plan_moves_as_its_program_says_through_page_and_api_alike(clinic: Clinic) -> None:
    plan = plan_of(clinic)
    with pytest.raises(RuleBroken) as by_page:
        move_plan(clinic, "paused", FRONT_DESK)
    with pytest.raises(RuleBroken) as by_api:
        put(clinic, plan, FRONT_DESK, status="on-hold")
    assert by_page.value.message == by_api.value.message == 'Only rn may move this to "Paused" (paused).'
    with pytest.raises(RuleBroken, match="a note must be given"):
        put(clinic, plan, NURSE, status="on-hold")
    put(clinic, plan, NURSE, status="on-hold", note=[{"text": "Travels"}])
    assert (clinic.item(plan).status, clinic.item(plan).clock) == ("paused", "paused")
    assert clinic.log(plan)[-1].reason == "Travels"
    with pytest.raises(RuleBroken, match="subject of a plan cannot be changed"):
        put(clinic, plan, NURSE, subject={"reference": "Patient/bob"})
    with pytest.raises(RuleBroken, match="cannot become"):
        put(clinic, plan, NURSE, status="completed")


def child_of(clinic: Clinic, parent: str, **members: Any) -> str:
    return plain(clinic, partOf=[{"reference": parent}], **members)


@pytest.mark.requirement(131)
def test_parts_wait_with_their_parent_and_go_on_from_where_they_were(clinic: Clinic) -> None:
    parent = clinic.task("ann", "call").ref
    begun = child_of(clinic, parent, status="in-progress")
    nested = child_of(clinic, begun)
    own_hold = child_of(clinic, parent, status="on-hold")
    closed = child_of(clinic, parent, status="completed")
    until = instant(MONDAY + 48 * HOUR)
    clinic.move(parent, "waiting", MONDAY + MINUTE, EVERYONE, {"hold.until": until, "reason.code": "insurer"})
    late = child_of(clinic, parent, status="received")
    parts = (begun, nested, own_hold, closed, late)
    assert [clinic.item(one).fhir_status for one in parts] == ["on-hold", "on-hold", "on-hold", "completed", "on-hold"]
    assert clinic.item(nested).hold_until == MONDAY + 48 * HOUR
    assert clinic.log(begun)[-1].reason == "Call is on hold"
    put(clinic, late, COORDINATOR, MONDAY + 2 * MINUTE, status="completed")
    clinic.move(parent, "to-do", MONDAY + HOUR, EVERYONE)
    assert [clinic.item(one).fhir_status for one in parts] == [
        "in-progress",
        "requested",
        "on-hold",
        "completed",
        "completed",
    ]
    assert "extension" not in clinic.resource(begun)
    assert all(check(clinic.resource(one)) == () for one in parts)


@pytest.mark.requirement(131)
def test_parts_of_work_that_is_closed_while_on_hold_are_not_left_waiting(clinic: Clinic) -> None:
    parent = plain(clinic, status="in-progress")
    child = child_of(clinic, parent)
    put(clinic, parent, COORDINATOR, status="on-hold", statusReason={"text": "Wait"})
    assert clinic.item(child).fhir_status == "on-hold"
    put(clinic, parent, COORDINATOR, status="cancelled", statusReason={"text": "Over"})
    assert clinic.item(child).fhir_status == "requested"


def test_work_that_is_part_of_itself_waits_once(clinic: Clinic) -> None:
    one = plain(clinic, status="in-progress")
    two = child_of(clinic, one, status="in-progress")
    put(clinic, one, NURSE, partOf=[{"reference": two}])
    put(clinic, one, COORDINATOR, status="on-hold", statusReason={"text": "Wait"})
    assert [clinic.item(ref).fhir_status for ref in (one, two)] == ["on-hold", "on-hold"]
    put(clinic, one, COORDINATOR, status="in-progress")
    assert [clinic.item(ref).fhir_status for ref in (one, two)] == ["in-progress", "in-progress"]


def test_a_bulk_step_says_of_each_task_what_became_of_it(clinic: Clinic) -> None:
    call, visit = clinic.task("ann", "call").ref, clinic.task("ann", "visit").ref
    clinic.move(visit, "dropped", MONDAY, EVERYONE, {"reason": "Not wanted"})
    wanted = [bulk_moves.Wanted(ref=ref) for ref in (call, visit, "Task/nowhere")]
    step = bulk_moves.moving(MoveRequest(to="dropped", fields={"reason": "Spring cleaning"}))
    found = bulk_moves.each(clinic.database, wanted, step, author(MONDAY + HOUR, EVERYONE))
    assert [one.outcome for one in found] == ["done", "skipped", "failed"]
    assert [one.why for one in found] == ["", "It is dropped already.", "There is no Task/nowhere."]
    bare = bulk_moves.moving(MoveRequest(to="waiting", fields={}))
    (letter,) = [item.ref for item in clinic.items("ann") if item.code == "letter"][:1]
    (needs,) = bulk_moves.each(clinic.database, [bulk_moves.Wanted(ref=letter)], bare, author(MONDAY + HOUR, EVERYONE))
    assert (needs.outcome, needs.why) == (
        "failed",
        'To move this to "Waiting" (waiting): a coded reason (insurer) and when the hold ends must be given.',
    )
    urgent = bulk_moves.each(
        clinic.database, [bulk_moves.Wanted(ref=letter, version=9)], bulk_moves.ranking("urgent"), author(MONDAY, NURSE)
    )
    assert urgent[0].outcome == "failed"
    assert clinic.item(letter).priority == "routine"


LATER = MONDAY + 10 * MINUTE


def take_back(clinic: Clinic, ref: str, viewer: Viewer, at: Any) -> None:
    with clinic.acting(at, viewer) as (tx, by):
        undo.undo(tx, ref, by, MINUTE)


def test_a_move_is_taken_back_by_a_transition_that_leads_back(clinic: Clinic) -> None:
    ref, until = clinic.task("ann", "call").ref, instant(MONDAY + HOUR)
    clinic.move(ref, "waiting", LATER, NURSE, {"hold.until": until, "reason.code": "insurer", "note": "Called them"})
    with pytest.raises(RuleBroken, match="somebody else"):
        take_back(clinic, ref, COORDINATOR, LATER + timedelta(seconds=5))
    with pytest.raises(RuleBroken, match="within 60 seconds"):
        take_back(clinic, ref, NURSE, LATER + timedelta(seconds=61))
    take_back(clinic, ref, NURSE, LATER + timedelta(seconds=30))
    item, body = clinic.item(ref), clinic.resource(ref)
    assert (item.status, item.hold_until) == ("to-do", None)
    assert "statusReason" not in body
    assert [one["text"] for one in body["note"]] == ["Called them"]
    assert [(row.before, row.after) for row in clinic.log(ref) if row.what == "status"][-2:] == [
        ("to-do", "waiting"),
        ("waiting", "to-do"),
    ]
    assert clinic.log(ref)[-1].reason == "Undone"


def test_nothing_is_taken_back_over_what_somebody_did_since(clinic: Clinic) -> None:
    ref = clinic.task("ann", "call").ref
    with clinic.acting(LATER, NURSE) as (tx, by):
        transitions.claim(tx, ref, by)
    with clinic.acting(LATER + timedelta(seconds=1), COORDINATOR) as (tx, by):
        transitions.note(tx, ref, "Looked at it", by)
    with pytest.raises(RuleBroken, match="changed since"):
        take_back(clinic, ref, NURSE, LATER + timedelta(seconds=2))
    assert clinic.item(ref).owner == NURSE.who


def test_what_a_move_took_with_it_goes_back_with_it(clinic: Clinic) -> None:
    plan = plan_of(clinic)
    move_plan(clinic, "left", at=LATER, reason_code="moved")
    take_back(clinic, plan, NURSE, LATER + timedelta(seconds=9))
    assert (clinic.item(plan).status, clinic.item(plan).open) == ("enrolled", True)
    assert {item.status for item in clinic.items("ann") if item.kind == "task"} == {"to-do"}
    finish(clinic, "call", MONDAY + HOUR)
    last = finish(clinic, "visit", MONDAY + 2 * HOUR)
    assert not clinic.item(plan).open
    take_back(clinic, last, EVERYONE, MONDAY + 2 * HOUR + timedelta(seconds=9))
    assert clinic.item(last).open
    assert clinic.item(plan).open


def test_parts_go_on_when_a_hold_is_taken_back(clinic: Clinic) -> None:
    parent = clinic.task("ann", "call").ref
    child = child_of(clinic, parent, status="in-progress")
    until = instant(MONDAY + HOUR)
    clinic.move(parent, "waiting", LATER, NURSE, {"hold.until": until, "reason.code": "insurer"})
    take_back(clinic, parent, NURSE, LATER + timedelta(seconds=3))
    assert clinic.item(child).fhir_status == "in-progress"


@pytest.mark.requirement(129)
def test_the_work_is_never_older_than_it_was_asked_for(clinic: Clinic) -> None:
    ref = plain(clinic, authoredOn=instant(MONDAY + HOUR))
    put(clinic, ref, COORDINATOR, status="accepted")
    with clinic.database.read() as tx:
        body = records.resource_of(transitions.find_task(tx, EVERYONE, ref).stored)
    assert body["lastModified"] == body["authoredOn"]


def escalated(clinic: Clinic) -> str:
    clinic.sweep(MONDAY + 2 * HOUR)
    (found,) = clinic.escalations("ann")
    return found.ref


def send_back(clinic: Clinic, ref: str, reason: str, code: str | None = None) -> None:
    with clinic.acting(MONDAY + 3 * HOUR, NURSE) as (tx, by):
        escalation.send_back(tx, ref, reason, by, code=code)


def test_an_escalation_is_sent_back_with_a_coded_reason_in_the_same_words_by_page_and_api(clinic: Clinic) -> None:
    ref = escalated(clinic)
    with pytest.raises(RuleBroken) as by_page:
        send_back(clinic, ref, "")
    with pytest.raises(RuleBroken) as by_api:
        put(clinic, ref, NURSE, status="rejected")
    assert by_api.value.issues == by_page.value.issues
    assert by_page.value.message == "To move this to rejected: a reason must be given."
    send_back(clinic, ref, "", "not-clinical")
    row = clinic.log(ref)[-1]
    assert (row.after, row.reason, row.reason_code) == ("rejected", "Not clinical", "not-clinical")
    assert [one.state for one in clinic.firings(clinic.task("ann", "call").ref)] == ["sent-back"]


def test_words_alone_send_an_escalation_back_and_a_code_that_is_none_does_not(clinic: Clinic) -> None:
    ref = escalated(clinic)
    with pytest.raises(RuleBroken, match="not-clinical"):
        send_back(clinic, ref, "Not for a nurse", "something-else")
    send_back(clinic, ref, "Not for a nurse")
    row = clinic.log(ref)[-1]
    assert (row.after, row.reason, row.reason_code) == ("rejected", "Not for a nurse", None)


def test_an_escalation_that_was_taken_over_can_still_be_sent_back_and_resolved(clinic: Clinic) -> None:
    ref = escalated(clinic)
    with clinic.acting(MONDAY + 2 * HOUR + MINUTE, NURSE) as (tx, by):
        escalation.take_over(tx, ref, by)
    send_back(clinic, ref, "It is about a bill", "not-clinical")
    assert clinic.item(ref).fhir_status == "rejected"


def test_stages_and_reasons_are_published_with_what_they_mean(clinic: Clinic) -> None:
    systems = {one["url"]: one["concept"] for one in clinic.stored("CodeSystem")}
    stages, reasons = systems[clinic.program.stage_system], systems[clinic.program.reason_system]
    assert {one["code"]: one["definition"] for one in stages}["left"] == "The patient left"
    assert {one["code"]: one["definition"] for one in reasons}["moved"] == "Lives elsewhere now"
    included = {one["compose"]["include"][0]["system"] for one in clinic.stored("ValueSet")}
    assert included >= {clinic.program.stage_system, clinic.program.reason_system, clinic.program.status_system}


@pytest.mark.requirement(134)
def test_of_the_last_two_tasks_closed_at_once_one_completes_the_plan(clinic: Clinic) -> None:
    plan, refs = plan_of(clinic), [clinic.task("ann", code).ref for code in ("call", "visit")]
    named_ = document(clinic, "both", "ann")
    for ref in refs:
        clinic.attempt(ref, MONDAY)
    fields = {"document": named_, "field.location": "Location/clinic"}
    start = Barrier(2)

    def close(ref: str) -> None:
        start.wait(30)
        clinic.move(ref, "done", MONDAY + MINUTE, EVERYONE, fields)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(close, refs))
    assert [clinic.item(ref).status for ref in refs] == ["done", "done"]
    assert (clinic.item(plan).status, clinic.resource(plan)["status"]) == ("finished", "completed")
    assert [row.after for row in clinic.log(plan) if row.what == "stage"] == ["enrolled", "finished"]
