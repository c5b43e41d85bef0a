"""Moving work: status, owner, due time and escalations, for pages, API and rules alike."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from fhir_tracker import escalation, records, transitions
from fhir_tracker.errors import Busy, Gone, Incorrect, NotFound, RuleBroken, VersionConflict
from fhir_tracker.fhir.dates import instant
from fhir_tracker.model.moves import MoveRequest
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.records import Remote
from fhir_tracker.rules.moves import check_move
from fhir_tracker.storage.database import Database
from tests.support.clinic import (
    COORDINATOR,
    EVERYONE,
    FRONT_DESK,
    MONDAY,
    NURSE,
    PROVIDER,
    Clinic,
    author,
)

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
LATE = MONDAY + 2 * DAY + HOUR
REACHED = {"outreach.outcome": "reached", "note": "Will come on Friday"}


@pytest.fixture
def clinic(database: Database) -> Clinic:
    made = Clinic(database)
    made.patient("ann")
    made.discharge("ann", MONDAY)
    return made


def call(clinic: Clinic) -> str:
    return clinic.task("ann", "first-call").ref


def late(clinic: Clinic) -> str:
    """Let the call become late; the escalation Task of level 1."""
    clinic.sweep(LATE)
    (one,) = clinic.escalations("ann")
    return one.ref


def test_a_move_changes_both_statuses_and_leaves_row_and_provenance(clinic: Clinic) -> None:
    clinic.move(call(clinic), "calling", MONDAY + HOUR, COORDINATOR)
    body = clinic.resource(call(clinic))
    assert body["status"] == "in-progress"
    assert body["businessStatus"]["coding"][0]["code"] == "calling"
    assert body["lastModified"] == instant(MONDAY + HOUR)
    row = clinic.log(call(clinic))[-1]
    assert (row.before, row.after, row.who) == ("to-call", "calling", "Practitioner/coordinator")
    written = clinic.provenance(call(clinic))[-1]
    assert written["target"] == [{"reference": f"{call(clinic)}/_history/2"}]
    assert written["agent"][0]["who"]["reference"] == "Practitioner/coordinator"


def test_a_missing_field_is_refused_in_the_words_of_the_rules(clinic: Clinic) -> None:
    request = MoveRequest(to="reached", fields={"note": "  "})
    with pytest.raises(RuleBroken) as pure:
        check_move(clinic.program, clinic.item(call(clinic)), request, roles=NURSE.roles, given={})
    with pytest.raises(RuleBroken) as refused:
        clinic.move(call(clinic), "reached", MONDAY, NURSE, request.fields)
    assert refused.value.message == pure.value.message
    assert refused.value.issues == pure.value.issues
    assert {issue.expression for issue in refused.value.issues if issue.severity == "error"} == {
        "Communication.statusReason",
        "Task.note",
    }
    assert clinic.item(call(clinic)).status == "to-call"


def test_a_move_refused_inside_a_larger_transaction_leaves_no_attempt(clinic: Clinic) -> None:
    with clinic.acting(MONDAY, NURSE) as (tx, by), pytest.raises(RuleBroken):
        transitions.move(tx, call(clinic), MoveRequest(to="reached", fields={"outreach.outcome": "reached"}), by)
    assert clinic.item(call(clinic)).attempts == 0
    assert clinic.stored("Communication") == []


def test_a_move_with_an_outcome_writes_the_attempt_and_closes_the_work(clinic: Clinic) -> None:
    clinic.move(call(clinic), "reached", MONDAY + HOUR, NURSE, REACHED | {"outreach.channel": "sms"})
    item = clinic.item(call(clinic))
    assert (item.open, item.attempts, item.last_attempt_outcome) == (False, 1, "reached")
    (attempt,) = clinic.stored("Communication")
    assert attempt["medium"][0]["coding"][0]["code"] == "sms"
    assert clinic.provenance(f"Communication/{attempt['id']}")
    assert clinic.resource(call(clinic))["executionPeriod"]["end"] == instant(MONDAY + HOUR)


def test_an_earlier_attempt_is_enough_for_the_required_outcome(clinic: Clinic) -> None:
    clinic.attempt(call(clinic), MONDAY, outcome="reached")
    clinic.move(call(clinic), "reached", MONDAY + HOUR, NURSE, {"note": "Reached before"})
    assert clinic.item(call(clinic)).attempts == 1


@pytest.mark.parametrize(
    "fields", [{"outreach.outcome": "eaten"}, {"outreach.outcome": "reached", "outreach.channel": "owl"}]
)
def test_an_unknown_outcome_or_channel_is_refused(clinic: Clinic, fields: dict[str, str]) -> None:
    with pytest.raises(Incorrect, match="must be one of"):
        clinic.move(call(clinic), "reached", MONDAY, NURSE, {"note": "n"} | fields)
    assert clinic.item(call(clinic)).status == "to-call"


def test_only_the_roles_of_the_program_may_move(clinic: Clinic) -> None:
    with pytest.raises(RuleBroken, match="Only care-coordinator or rn"):
        clinic.move(call(clinic), "reached", MONDAY, FRONT_DESK, REACHED)


def test_the_options_name_what_each_role_may_do_next(clinic: Clinic) -> None:
    with clinic.database.read() as tx:
        nurse = transitions.options(tx, NURSE, call(clinic))
        desk = transitions.options(tx, FRONT_DESK, call(clinic))
    assert {one.to for one in nurse} == {"calling", "reached", "waiting", "unreachable"}
    assert {one.to for one in desk} == {"calling", "waiting", "unreachable"}
    assert next(one for one in nurse if one.to == "reached").require == ("outreach.outcome", "note")


def test_an_illegal_move_names_the_allowed_ones(clinic: Clinic) -> None:
    clinic.move(call(clinic), "reached", MONDAY, NURSE, REACHED)
    with pytest.raises(RuleBroken, match="allowed next: calling"):
        clinic.move(call(clinic), "waiting", MONDAY, NURSE)


@pytest.mark.parametrize("until", ["yesterday", "2026-13-01", instant(MONDAY - HOUR), instant(MONDAY)])
def test_a_hold_needs_an_end_in_the_future(clinic: Clinic, until: str) -> None:
    with pytest.raises(RuleBroken):
        clinic.move(call(clinic), "waiting", MONDAY, NURSE, {"hold.until": until, "reason": "Records are on the way"})
    assert clinic.item(call(clinic)).hold_until is None


def test_a_hold_keeps_its_end_and_reason_until_it_is_left(clinic: Clinic) -> None:
    hold = {"hold.until": instant(MONDAY + DAY), "reason": "Records are on the way"}
    clinic.move(call(clinic), "waiting", MONDAY, NURSE, hold)
    item = clinic.item(call(clinic))
    assert (item.status, item.clock, item.hold_until) == ("waiting", "paused", MONDAY + DAY)
    assert clinic.resource(call(clinic))["statusReason"] == {"text": "Records are on the way"}
    clinic.move(call(clinic), "calling", MONDAY + HOUR, NURSE)
    body = clinic.resource(call(clinic))
    assert clinic.item(call(clinic)).hold_until is None
    assert "extension" not in body
    assert "statusReason" not in body


def test_the_sweep_ends_a_hold_in_the_status_before_it(clinic: Clinic) -> None:
    clinic.move(call(clinic), "calling", MONDAY, NURSE)
    clinic.move(call(clinic), "waiting", MONDAY + HOUR, NURSE, {"hold.until": instant(MONDAY + DAY), "reason": "Wait"})
    clinic.sweep(MONDAY + DAY - timedelta(seconds=1))
    assert clinic.item(call(clinic)).status == "waiting"
    clinic.sweep(MONDAY + DAY)
    item = clinic.item(call(clinic))
    assert (item.status, item.clock, item.hold_until) == ("calling", "running", None)
    row = clinic.log(call(clinic))[-1]
    assert row.rule == "ring|1#hold-end"


def test_a_second_hold_ends_as_the_first_did(clinic: Clinic) -> None:
    for day in (0, 3):
        start = MONDAY + day * DAY
        until = {"hold.until": instant(start + DAY), "reason": "Wait"}
        clinic.move(call(clinic), "waiting", start, NURSE, until)
        clinic.sweep(start + DAY)
        assert clinic.item(call(clinic)).status == "to-call"


@pytest.mark.requirement(132)
def test_of_two_who_claim_at_once_one_wins(clinic: Clinic) -> None:
    together, won = threading.Barrier(2), list[str]()
    ref = call(clinic)

    def claim(viewer: Viewer) -> None:
        together.wait()
        try:
            with clinic.acting(MONDAY, viewer) as (tx, by):
                transitions.claim(tx, ref, by, if_match=1)
            won.append(viewer.who)
        except (VersionConflict, RuleBroken, Busy):
            pass

    people = [threading.Thread(target=claim, args=(one,)) for one in (NURSE, COORDINATOR)]
    for one in people:
        one.start()
    for one in people:
        one.join()
    assert [clinic.item(ref).owner] == won


def test_work_that_somebody_has_cannot_be_claimed(clinic: Clinic) -> None:
    with clinic.acting(MONDAY, NURSE) as (tx, by):
        transitions.claim(tx, call(clinic), by)
        transitions.claim(tx, call(clinic), by)
    with clinic.acting(MONDAY, COORDINATOR) as (tx, by), pytest.raises(RuleBroken, match="Somebody else"):
        transitions.claim(tx, call(clinic), by)
    assert clinic.item(call(clinic)).owner == "Practitioner/nurse"


def test_work_can_be_given_to_a_person_back_to_the_queue_and_to_another_role(clinic: Clinic) -> None:
    with clinic.acting(MONDAY, COORDINATOR) as (tx, by):
        transitions.assign(tx, call(clinic), "Practitioner/nurse", by, reason="Knows the patient")
    assert clinic.item(call(clinic)).owner == "Practitioner/nurse"
    assert clinic.log(call(clinic))[-1].reason == "Knows the patient"
    with clinic.acting(MONDAY, NURSE) as (tx, by):
        transitions.assign(tx, call(clinic), None, by)
    assert (clinic.item(call(clinic)).owner, clinic.item(call(clinic)).role) == (None, "care-coordinator")
    with clinic.acting(MONDAY, NURSE) as (tx, by):
        transitions.assign(tx, call(clinic), "Practitioner/nurse", by)
        transitions.give_role(tx, call(clinic), "provider", by)
    item = clinic.item(call(clinic))
    assert (item.owner, item.role, item.assigned_since) == (None, "provider", None)


def test_closed_work_is_not_given_away(clinic: Clinic) -> None:
    clinic.move(call(clinic), "reached", MONDAY, NURSE, REACHED)
    with clinic.acting(MONDAY, NURSE) as (tx, by):
        with pytest.raises(RuleBroken, match="closed"):
            transitions.assign(tx, call(clinic), "Practitioner/nurse", by)
        with pytest.raises(RuleBroken, match="closed"):
            transitions.give_role(tx, call(clinic), "rn", by)


def test_a_note_is_signed_and_moves_nothing(clinic: Clinic) -> None:
    with clinic.acting(MONDAY, NURSE) as (tx, by):
        transitions.note(tx, call(clinic), "Prefers mornings", by)
    (note,) = clinic.resource(call(clinic))["note"]
    assert note == {"authorString": "The nurse", "time": instant(MONDAY), "text": "Prefers mornings"}
    assert clinic.item(call(clinic)).status == "to-call"


def test_the_change_is_never_older_than_the_work(clinic: Clinic) -> None:
    clinic.move(call(clinic), "calling", MONDAY - DAY, NURSE)
    body = clinic.resource(call(clinic))
    assert body["lastModified"] == body["authoredOn"]


def test_a_due_time_given_with_a_move_keeps_the_start(clinic: Clinic) -> None:
    body = clinic.resource(call(clinic))
    clinic.put(body | {"restriction": {"period": {"start": instant(MONDAY), "end": instant(MONDAY + DAY)}}}, MONDAY)
    clinic.move(call(clinic), "calling", MONDAY, NURSE, {"due": instant(MONDAY + 5 * DAY)})
    period = clinic.resource(call(clinic))["restriction"]["period"]
    assert period == {"start": instant(MONDAY), "end": instant(MONDAY + 5 * DAY)}


def test_an_ehrs_task_is_changed_there(clinic: Clinic) -> None:
    remote = Remote(connection="ehr", id="1", version="1", body="{}", content_hash="h")
    task = {"resourceType": "Task", "id": "ehr-1", "status": "requested", "intent": "order"}
    with clinic.database.begin() as tx:
        records.save(tx, task, author(MONDAY, origin="ehr:ehr"), remote=remote)
    with clinic.acting(MONDAY, EVERYONE) as (tx, by):
        assert transitions.options(tx, EVERYONE, "Task/ehr-1") == ()
        with pytest.raises(RuleBroken, match="belongs to the EHR"):
            transitions.move(tx, "Task/ehr-1", MoveRequest(to="completed"), by)
        with pytest.raises(RuleBroken, match="belongs to the EHR"):
            transitions.claim(tx, "Task/ehr-1", by)
        with pytest.raises(RuleBroken, match="belongs to the EHR"):
            transitions.note(tx, "Task/ehr-1", "x", by)


@pytest.mark.parametrize("ref", ["Task/none", "Patient/ann", "nonsense", "Task/"])
def test_what_is_no_task_is_not_found(clinic: Clinic, ref: str) -> None:
    with pytest.raises(NotFound):
        clinic.move(ref, "calling", MONDAY)


def test_a_deleted_task_is_gone(clinic: Clinic) -> None:
    ref = call(clinic)
    clinic.remove(ref, MONDAY)
    with pytest.raises(Gone):
        clinic.move(ref, "calling", MONDAY)


def test_a_stale_version_is_refused(clinic: Clinic) -> None:
    clinic.move(call(clinic), "calling", MONDAY)
    with clinic.acting(MONDAY, NURSE) as (tx, by), pytest.raises(VersionConflict):
        transitions.move(tx, call(clinic), MoveRequest(to="reached", fields=REACHED), by, if_match=1)


def test_work_of_any_program_can_be_entered_in_error_with_a_reason(clinic: Clinic) -> None:
    with pytest.raises(RuleBroken, match="a reason must be given"):
        clinic.move(call(clinic), "entered-in-error", MONDAY, NURSE)
    clinic.move(call(clinic), "entered-in-error", MONDAY, NURSE, {"reason": "Wrong patient"})
    item = clinic.item(call(clinic))
    assert (item.open, item.status, item.fhir_status) == (False, "entered-in-error", "entered-in-error")
    assert "businessStatus" not in clinic.resource(call(clinic))


@pytest.mark.requirement(125)
@pytest.mark.parametrize(
    ("closed", "fields"),
    [("reached", {"outreach.outcome": "reached", "note": "Spoke with the daughter"}), ("unreachable", {"reason": "x"})],
)
def test_closed_work_too_can_be_entered_in_error_with_a_reason_and_stays_so(
    clinic: Clinic, closed: str, fields: dict[str, str]
) -> None:
    clinic.move(call(clinic), closed, MONDAY, NURSE, fields)
    with pytest.raises(RuleBroken, match="a reason must be given"):
        clinic.move(call(clinic), "entered-in-error", MONDAY + HOUR, FRONT_DESK)
    clinic.move(call(clinic), "entered-in-error", MONDAY + HOUR, FRONT_DESK, {"reason": "Wrong patient"})
    item = clinic.item(call(clinic))
    assert (item.open, item.status, item.clock, item.cycle) == (False, "entered-in-error", "stopped", 0)
    assert "businessStatus" not in clinic.resource(call(clinic))
    for to in ("to-call", "calling", "reached", "unreachable"):
        with pytest.raises(RuleBroken, match="nothing may follow"):
            clinic.move(call(clinic), to, MONDAY + 2 * HOUR, EVERYONE, fields | {"reason": "It was right"})


def test_a_change_built_on_a_version_that_is_no_longer_the_present_one_is_not_stored(clinic: Clinic) -> None:
    task = call(clinic)
    with clinic.database.read() as tx:
        before = transitions.find_task(tx, NURSE, task)
    clinic.move(task, "calling", MONDAY, NURSE)
    with clinic.database.begin() as tx, pytest.raises(VersionConflict):
        transitions.store(tx, before.resource | {"priority": "stat"}, author(MONDAY + HOUR, NURSE), None)
    assert clinic.item(task).status == "calling"
    assert clinic.item(task).priority != "stat"


@pytest.mark.requirement(125, 127)
def test_a_plain_task_follows_the_default_table_and_gives_its_reasons(clinic: Clinic) -> None:
    clinic.put({"resourceType": "Task", "id": "t", "status": "requested", "intent": "order"}, MONDAY)
    with pytest.raises(RuleBroken, match="allowed next"):
        clinic.move("Task/t", "draft", MONDAY)
    with pytest.raises(RuleBroken, match="a reason must be given"):
        clinic.move("Task/t", "cancelled", MONDAY)
    clinic.move("Task/t", "in-progress", MONDAY)
    clinic.move("Task/t", "cancelled", MONDAY, fields={"reason": "Not needed"})
    with pytest.raises(RuleBroken, match="nothing may follow"):
        clinic.move("Task/t", "in-progress", MONDAY)


def test_closing_the_work_resolves_what_was_escalated(clinic: Clinic) -> None:
    ref = late(clinic)
    clinic.move(call(clinic), "reached", LATE + HOUR, NURSE, REACHED)
    body = clinic.resource(ref)
    assert (body["status"], clinic.item(ref).open) == ("completed", False)
    assert {one.state for one in clinic.firings(call(clinic))} == {"resolved"}
    assert clinic.item(call(clinic)).escalation_level == 0
    assert clinic.provenance(ref)[-1]["reason"][0]["text"] == "First call is closed: reached"


def test_an_acknowledged_escalation_stops_the_ladder(clinic: Clinic) -> None:
    ref = late(clinic)
    with clinic.acting(LATE, NURSE) as (tx, by):
        escalation.acknowledge(tx, ref, by)
    assert clinic.firings(call(clinic))[0].state == "acknowledged"
    clinic.sweep(LATE + 10 * DAY)
    assert len(clinic.escalations("ann")) == 1


def test_an_escalation_sent_back_needs_a_reason_and_climbs_on(clinic: Clinic) -> None:
    ref = late(clinic)
    with clinic.acting(LATE, NURSE) as (tx, by), pytest.raises(RuleBroken, match="a reason must be given"):
        escalation.send_back(tx, ref, "  ", by)
    with clinic.acting(LATE, NURSE) as (tx, by):
        escalation.send_back(tx, ref, "Not my patient", by)
    assert clinic.resource(ref)["statusReason"] == {"text": "Not my patient"}
    assert clinic.firings(call(clinic))[0].state == "sent-back"
    clinic.sweep(LATE + 4 * HOUR)
    assert [one.role for one in clinic.escalations("ann")] == ["rn", "provider"]


def test_an_escalation_taken_over_has_an_owner_and_stops_the_ladder(clinic: Clinic) -> None:
    ref = late(clinic)
    with clinic.acting(LATE, PROVIDER) as (tx, by):
        escalation.take_over(tx, ref, by)
    item = clinic.item(ref)
    assert (item.owner, item.fhir_status) == ("Practitioner/provider", "in-progress")
    clinic.sweep(LATE + 10 * DAY)
    assert len(clinic.escalations("ann")) == 1


def test_a_resolved_escalation_is_closed_and_cannot_be_answered_again(clinic: Clinic) -> None:
    ref = late(clinic)
    with clinic.acting(LATE, NURSE) as (tx, by):
        escalation.resolve(tx, ref, by, reason="Called by the clinic next door")
    assert not clinic.item(ref).open
    assert clinic.item(call(clinic)).escalation_level == 0
    with clinic.acting(LATE, NURSE) as (tx, by), pytest.raises(RuleBroken, match="closed already"):
        escalation.acknowledge(tx, ref, by)


def test_only_an_escalation_can_be_acknowledged(clinic: Clinic) -> None:
    with clinic.acting(MONDAY, NURSE) as (tx, by), pytest.raises(RuleBroken, match="not an escalation"):
        escalation.acknowledge(tx, call(clinic), by)


def test_a_deleted_escalation_counts_as_resolved(clinic: Clinic) -> None:
    ref = late(clinic)
    clinic.remove(ref, LATE)
    assert clinic.firings(call(clinic))[0].state == "resolved"
    assert clinic.item(call(clinic)).escalation_level == 0


def test_an_escalation_says_which_rule_of_which_version_made_it(clinic: Clinic) -> None:
    ref = late(clinic)
    body = clinic.resource(ref)
    inputs = {one["type"]["coding"][0]["code"]: one for one in body["input"]}
    assert body["focus"] == {"reference": call(clinic)}
    assert (inputs["level"]["valuePositiveInt"], inputs["rule"]["valueString"], inputs["cycle"]["valueString"]) == (
        1,
        "late",
        "0",
    )
    (written,) = clinic.provenance(ref)
    assert written["policy"] == ["https://fhir-tracker.example/PlanDefinition/ring|1#late"]
    row = next(one for one in clinic.log(call(clinic)) if one.what == "escalation")
    assert (row.after, row.rule) == ("level 1 to rn", "ring|1#late")
    assert [one.channel for one in clinic.notified(ref)] == ["in-app"]
