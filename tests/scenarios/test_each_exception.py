"""Each exception from the EHR's message to closed work: its own path, its own code, and nothing of another's."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from fhir_tracker import explain
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.model.vocabulary import EXCEPTIONS, FLAG_SYSTEM
from fhir_tracker.rules.sla import sla_due
from fhir_tracker.storage.database import Database
from tests.scenarios import invariants
from tests.scenarios.ehr import HBA1C, LOINC, local, patient, result, stay, visit
from tests.scenarios.practice import Practice, clock, due
from tests.support.clinic import COORDINATOR, NURSE, PROVIDER, SYSTEM

RXNORM: Final = "http://www.nlm.nih.gov/research/umls/rxnorm"
PENICILLIN: Final = "7980"
PROGRAM: Final = Path(__file__).with_name("every-exception.yaml").read_text()

NOON = local("2026-03-09 12:00")


def on(day: int, at: str = "09:00") -> datetime:
    """The working hours of a day of March 2026."""
    return local(f"2026-03-{day:02} {at}")


@pytest.fixture
def practice(database: Database) -> Practice:
    """Ana was discharged on Monday the 9th; Ben too, and nothing at all happens to him."""
    practice = Practice(database, local("2026-03-02 08:00"), (PROGRAM,))
    for who in ("ana", "ben"):
        home = {"address": [{"use": "home", "state": "NY", "postalCode": "12203"}]}
        practice.ehr(on(9), patient(who) | home, stay(f"s-{who}", who, on(9, "08:30")))
    return practice


def over(practice: Practice, code: str, *made: str, status: str = "completed") -> None:
    """The exception is dealt with: its work is closed in that way, no flag is up, and Ben has his call and nothing else."""
    for one in made:
        assert [each.fhir_status for each in practice.work_of("ana", one)] == [status], one
    assert practice.flags("ana") == ()
    told = [one for one in practice.stored("Flag") if one["code"]["coding"][0]["code"] in EXCEPTIONS]
    assert [(one["code"]["coding"][0]["code"], one["status"]) for one in told] == [(code, "inactive")]
    alone(practice)


def alone(practice: Practice, *codes: str) -> None:
    """Beside her call, Ana has this open work and no other; Ben has his call."""
    assert sorted(set(practice.todo("ana")) - {"call"}) == sorted(codes)
    assert sorted(practice.todo("ben")) == ["call"]
    invariants.hold(practice)


def claim(at: datetime, id_: str = "c", **members: Any) -> Resource:
    """A payer's answer to one request."""
    base: Resource = {"resourceType": "ClaimResponse", "id": id_, "status": "active", "use": "preauthorization"}
    base |= {"patient": {"reference": "Patient/ana"}, "insurer": {"display": "Payer"}, "outcome": "queued"}
    base |= {"type": {"coding": [{"code": "professional"}]}, "request": {"reference": "Claim/1"}}
    return base | {"created": at.isoformat()} | members


def order(id_: str, at: datetime, code: str = HBA1C) -> Resource:
    base: Resource = {"resourceType": "ServiceRequest", "id": id_, "status": "active", "intent": "order"}
    coded = {"coding": [{"system": LOINC, "code": code}]}
    return base | {"code": coded, "subject": {"reference": "Patient/ana"}, "authoredOn": at.isoformat()}


def drug(at: datetime, status: str = "active", code: str = PENICILLIN) -> Resource:
    coded = {"coding": [{"system": RXNORM, "code": code}]}
    base: Resource = {"resourceType": "MedicationRequest", "id": f"m-{code}", "status": status, "intent": "order"}
    return base | {
        "medicationCodeableConcept": coded,
        "subject": {"reference": "Patient/ana"},
        "authoredOn": at.isoformat(),
    }


def allergy(code: str = PENICILLIN, verification: str = "confirmed") -> Resource:
    systems = "http://terminology.hl7.org/CodeSystem/allergyintolerance"
    wrong = verification in ("refuted", "entered-in-error")
    clinical = {} if wrong else {"clinicalStatus": {"coding": [{"system": f"{systems}-clinical", "code": "active"}]}}
    return {
        "resourceType": "AllergyIntolerance",
        "id": "a",
        **clinical,
        "verificationStatus": {"coding": [{"system": f"{systems}-verification", "code": verification}]},
        "code": {"coding": [{"system": RXNORM, "code": code}]},
        "patient": {"reference": "Patient/ana"},
    }


def issue(code: str = "DALG", status: str = "final", id_: str = "i") -> Resource:
    system = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
    base: Resource = {
        "resourceType": "DetectedIssue",
        "id": id_,
        "status": status,
        "patient": {"reference": "Patient/ana"},
    }
    return base | {"code": {"coding": [{"system": system, "code": code}]}, "identifiedDateTime": on(10).isoformat()}


def pressure(id_: str, at: datetime) -> Resource:
    """One reading from home."""
    return result(id_, "ana", at, code="85354-9")


def mine(practice: Practice) -> str:
    (plan,) = practice.plans("ana")
    return plan.ref


def test_unreachable(practice: Practice) -> None:
    call = practice.one("ana", "call").ref
    practice.tries(call, on(10))
    practice.tries(call, on(10, "10:00"))
    practice.until(on(12))
    alone(practice)
    practice.tries(call, on(12, "10:00"), "bounced", channel="sms")
    assert practice.flags("ana") == ("unreachable",)
    alone(practice, "letter")
    practice.tries(call, on(13), "reached")
    over(practice, "unreachable", "letter", status="cancelled")
    practice.do(call, "done", on(13, "10:00"), COORDINATOR)
    assert practice.todo("ana") == {}


def test_missing_labs(practice: Practice) -> None:
    practice.ehr(on(10), order("o", on(10)))
    practice.until(on(17, "08:59"))
    alone(practice)
    practice.until(on(17))
    assert practice.flags("ana") == ("missing-labs",)
    alone(practice, "chase-labs")
    practice.ehr(on(18), result("other", "ana", on(18), code="2345-7"))
    alone(practice, "chase-labs")
    practice.ehr(on(19), result("r", "ana", on(18)))
    over(practice, "missing-labs", "chase-labs")


def test_prior_authorization_pending(practice: Practice) -> None:
    practice.ehr(on(10), claim(on(10)))
    practice.until(on(12, "16:59"))
    alone(practice)
    practice.until(on(12, "17:00"))
    assert practice.flags("ana") == ("prior-auth-pending",)
    alone(practice, "call-payer")
    work = practice.one("ana", "call-payer").ref
    until = on(20).isoformat()
    practice.do(work, "waiting", on(13, "10:00"), hold_until=until, reason_code="awaiting-payer")
    assert practice.item(work).clock == "paused"
    practice.ehr(on(16), claim(on(16), outcome="complete", preAuthRef="A1", disposition="Approved"))
    over(practice, "prior-auth-pending", "call-payer")
    assert practice.work_of("ana", "appeal") == []


def test_prior_authorization_denied(practice: Practice) -> None:
    practice.ehr(on(10), claim(on(10), outcome="complete", disposition="Denied"))
    assert practice.flags("ana") == ("prior-auth-denied",)
    alone(practice, "appeal")
    appeal = practice.one("ana", "appeal")
    assert appeal.role == "provider"
    practice.do(appeal.ref, "done", on(11), PROVIDER)
    assert practice.flags("ana") == ("prior-auth-denied",)
    practice.ehr(on(12), claim(on(12), outcome="complete", preAuthRef="A1", disposition="Approved"))
    over(practice, "prior-auth-denied", "appeal")
    assert practice.work_of("ana", "call-payer") == []


def test_a_denial_that_a_person_marks_is_one_case_and_ends_with_the_payers_answer(practice: Practice) -> None:
    """The rule adds itself to the person's Flag, which stays a person's: other plans of the patient still see it."""
    practice.until(on(10))
    coding = {"system": FLAG_SYSTEM, "code": "prior-auth-denied"}
    flag = {"resourceType": "Flag", "id": "hand", "status": "active", "code": {"coding": [coding]}}
    practice.put(flag | {"subject": {"reference": "Patient/ehr-ana"}}, on(10), NURSE)
    practice.work(on(10))
    practice.until(on(13))
    alone(practice, "appeal")
    (plan,) = [one.ref for one in practice.plans("ana")]
    with practice.database.read() as tx:
        found = explain.explain(tx, SYSTEM, plan, on(13))
    assert next(one for one in found.findings if one.rule == "payer-denies").verdict.holds
    practice.ehr(on(13), claim(on(13), outcome="complete", preAuthRef="A1", disposition="Approved"))
    over(practice, "prior-auth-denied", "appeal")


def test_a_contraindication_of_an_allergy_and_a_drug(practice: Practice) -> None:
    practice.ehr(on(10), allergy(), drug(on(10), code="161"))
    alone(practice)
    practice.ehr(on(11), drug(on(11)))
    assert practice.flags("ana") == ("contraindication",)
    review = practice.one("ana", "review-drug")
    assert (review.role, review.priority, due(review)) == ("provider", "stat", "Wed 2026-03-11 13:00")
    alone(practice, "review-drug")
    practice.ehr(on(12), drug(on(11), "stopped"))
    over(practice, "contraindication", "review-drug")


@pytest.mark.parametrize("code", ["DRG", "DALG"])
def test_a_contraindication_that_a_system_detected(practice: Practice, code: str) -> None:
    practice.ehr(on(10), issue(code))
    practice.ehr(on(10, "10:00"), issue(code, "preliminary"))
    alone(practice, "review-drug")
    practice.do(practice.one("ana", "review-drug").ref, "done", on(11), PROVIDER)
    practice.ehr(on(12), issue(code, id_="second"))
    assert [one.open for one in practice.work_of("ana", "review-drug")] == [False, True]
    invariants.hold(practice)


@pytest.mark.parametrize(
    "sent",
    [
        (allergy(verification="refuted"), drug(on(10))),
        (allergy(verification="entered-in-error"), drug(on(10))),
        (allergy(), drug(on(10), "cancelled")),
        (allergy(), drug(on(10), "entered-in-error")),
        (allergy("161"), drug(on(10))),
        (issue(status="entered-in-error"),),
        (issue("TIME"),),
    ],
    ids=["refuted", "error", "cancelled", "drug-error", "another-drug", "issue-error", "another-issue"],
)
def test_what_is_no_contraindication(practice: Practice, sent: tuple[Resource, ...]) -> None:
    practice.ehr(on(10), *sent)
    assert practice.flags("ana") == ()
    alone(practice)


def test_reschedule(practice: Practice) -> None:
    practice.ehr(on(10), visit("v", "ana", on(16)))
    practice.ehr(on(11), visit("v", "ana", on(16), status="cancelled"))
    assert practice.flags("ana") == ("reschedule",)
    alone(practice, "rebook")
    practice.ehr(on(12), visit("w", "ana", on(18), service="390906007"))
    alone(practice, "rebook")
    practice.ehr(on(13), visit("w2", "ana", on(19)))
    over(practice, "reschedule", "rebook")


def test_a_chain_of_no_shows_is_one_case_that_the_next_booking_of_the_service_closes(practice: Practice) -> None:
    for number, day in enumerate((10, 12, 16, 18)):
        practice.ehr(on(day - 1, "15:00"), visit(f"v{number}", "ana", on(day)) | {"status": "pending"})
        practice.ehr(on(day, "10:00"), visit(f"v{number}", "ana", on(day), status="noshow"))
    assert len(practice.work_of("ana", "ask-why")) == 1
    assert practice.flags("ana") == ("no-show",)
    alone(practice, "ask-why")
    practice.ehr(on(19), visit("other", "ana", on(23), service="390906007"))
    alone(practice, "ask-why")
    practice.ehr(on(20), visit("next", "ana", on(24)))
    over(practice, "no-show", "ask-why")
    for number, day in enumerate((24, 26, 30)):
        practice.ehr(on(day, "10:00"), visit(("next", "n1", "n2")[number], "ana", on(day), status="noshow"))
    assert [one.open for one in practice.work_of("ana", "ask-why")] == [False, True]
    invariants.hold(practice)


def test_incomplete_home_monitoring(practice: Practice) -> None:
    practice.ehr(on(9, "10:00"), order("cuff", on(9, "10:00"), code="85354-9"), pressure("p0", on(9, "09:30")))
    practice.until(on(16, "08:59"))
    alone(practice)
    practice.until(on(16))
    assert practice.flags("ana") == ("monitoring-incomplete",)
    alone(practice, "ask-readings")
    practice.ehr(on(17), pressure("p1", on(17)))
    over(practice, "monitoring-incomplete", "ask-readings")


def test_deceased(practice: Practice) -> None:
    practice.ehr(on(11), patient("ana", deceased=on(10)))
    (plan,) = practice.plans("ana")
    assert (plan.status, plan.fhir_status, plan.open) == ("ended", "revoked", False)
    assert practice.todo("ana") == {}
    assert practice.one("ana", "call").fhir_status == "cancelled"
    assert "the patient has died" in practice.resource(practice.one("ana", "call").ref)["statusReason"]["text"]
    assert practice.flags("ana") == ("deceased",)
    practice.ehr(on(12), order("o", on(12)), claim(on(12), outcome="complete", disposition="Denied"))
    practice.until(on(30))
    alone(practice)


def test_moved(practice: Practice) -> None:
    addresses = [
        {"use": "old", "state": "NY", "postalCode": "12203", "period": {"end": on(11).isoformat()}},
        {"use": "home", "state": "ID", "postalCode": "83702", "period": {"start": on(11).isoformat()}},
    ]
    practice.ehr(on(12), patient("ana") | {"address": addresses})
    assert practice.flags("ana") == ("moved",)
    alone(practice, "find-place")
    practice.ehr(on(13), patient("ana") | {"address": addresses, "telecom": [{"system": "phone", "value": "555-0100"}]})
    work = practice.one("ana", "find-place")
    assert work.role == "clinic-admin"
    practice.do(work.ref, "done", on(16), SYSTEM)
    practice.until(on(27))
    assert [one.fhir_status for one in practice.work_of("ana", "find-place")] == ["completed"]
    alone(practice)


def test_merged(practice: Practice) -> None:
    practice.ehr(on(10), patient("anna"))
    link = {"link": [{"type": "replaced-by", "other": {"reference": "Patient/anna"}}], "active": False}
    practice.ehr(on(11), patient("ana") | link)
    assert practice.flags("ana") == ("merged",)
    asked = practice.todo("ana")
    assert sorted(asked) == ["call", "join-records", "patient-merged"]
    practice.do(asked["join-records"].ref, "done", on(12), SYSTEM)
    practice.until(on(27))
    assert [one.fhir_status for one in practice.work_of("ana", "join-records")] == ["completed"]
    practice.do(asked["patient-merged"].ref, "completed", on(27, "10:00"), SYSTEM)
    assert practice.todo("ana") == {}
    assert sorted(practice.todo("anna")) == ["call"]
    assert [one.open for one in practice.plans("anna")] == [True]
    alone(practice)


def test_in_hospital_clocks_stand_still_and_go_on(practice: Practice) -> None:
    call = practice.one("ana", "call")
    assert due(call) == "Thu 2026-03-19 08:30"
    admission = stay("again", "ana", None) | {"period": {"start": on(11).isoformat()}}
    practice.ehr(on(11), admission)
    assert practice.flags("ana") == ("in-hospital",)
    alone(practice, "ask-hospital")
    assert really_due(practice) is None
    practice.until(on(30))
    assert practice.climbed(call.ref) == []
    home = admission | {
        "status": "finished",
        "period": {"start": on(11).isoformat(), "end": on(30, "10:00").isoformat()},
    }
    practice.ehr(on(30, "10:00"), home)
    over(practice, "in-hospital", "ask-hospital")
    assert really_due(practice) == "Tue 2026-04-07 09:30"


def test_a_stay_that_was_a_mistake_pauses_nothing(practice: Practice) -> None:
    practice.ehr(on(11), stay("again", "ana", None) | {"period": {"start": on(11).isoformat()}})
    alone(practice, "ask-hospital")
    practice.ehr(on(12), stay("again", "ana", None, status="entered-in-error"))
    over(practice, "in-hospital", "ask-hospital")
    assert really_due(practice) == "Thu 2026-03-19 08:30"


def really_due(practice: Practice) -> str | None:
    """When the call is due with all pauses; None while its clock stands still."""
    from fhir_tracker import gathering
    from fhir_tracker.rules.sla import paused_by

    with practice.database.read() as tx:
        (facts,) = gathering.gather(tx, SYSTEM, [practice.one("ana", "call")])
    program = practice.starter("every")
    moment = sla_due(program, facts, practice.now)
    assert moment is not None
    return None if paused_by(program, facts, practice.now) else clock(moment)


def withdraw_by_flag(practice: Practice) -> None:
    coding = {"system": FLAG_SYSTEM, "code": "withdrawn", "display": EXCEPTIONS["withdrawn"]}
    flag = {"resourceType": "Flag", "id": "w", "status": "active", "code": {"coding": [coding]}}
    practice.until(on(11))
    practice.put(flag | {"subject": {"reference": "Patient/ehr-ana"}}, on(11), NURSE)
    practice.work(on(11))


def withdraw_by_stage(practice: Practice) -> None:
    from fhir_tracker import consequences, effects, plan_moves
    from fhir_tracker.model.moves import MoveRequest

    practice.until(on(11))
    with practice.acting(on(11), COORDINATOR) as (tx, by):
        plan_moves.move(tx, mine(practice), MoveRequest(to="ended", fields={"reason.code": "declines"}), by)
        consequences.draw(tx, effects.apply)
    practice.work(on(11))


@pytest.mark.parametrize("how", [withdraw_by_flag, withdraw_by_stage], ids=["flag", "stage"])
def test_withdrawn(practice: Practice, how: Callable[[Practice], None]) -> None:
    practice.ehr(on(10), claim(on(10), outcome="complete", disposition="Denied"))
    alone(practice, "appeal")
    how(practice)
    (plan,) = practice.plans("ana")
    assert (plan.status, plan.open) == ("ended", False)
    assert {one.code: one.fhir_status for one in practice.items("ehr-ana") if one.kind == "task"} == {
        "call": "cancelled",
        "appeal": "cancelled",
    }
    for code in ("call", "appeal"):
        assert practice.resource(practice.one("ana", code).ref)["statusReason"]["text"]
    practice.ehr(on(12), order("o", on(12)))
    practice.until(on(12) + timedelta(days=30))
    alone(practice)


def test_every_code_has_a_story_of_its_own() -> None:
    told = {code for code in EXCEPTIONS if f"raise_flag: {code}}}" in PROGRAM or f"exception: {code}}}" in PROGRAM}
    assert told == set(EXCEPTIONS)
