"""Making a plan's work anew: a new version's work is added, its changes reach what nobody touched, and twice is as once."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from fhir_tracker import enrolment, programs, regeneration, transitions
from fhir_tracker.errors import NotFound, RuleBroken
from fhir_tracker.model.work import WorkItem
from fhir_tracker.regeneration import Step
from fhir_tracker.storage.database import Database
from tests.support.care_program import CARE
from tests.support.clinic import COORDINATOR, MONDAY, NURSE, Clinic

HOUR = timedelta(hours=1)
LABS = "  - {code: labs, role: rn, due: {after: enrolment, within: 3 days}, part_of: assess}\n"
FIRST_ASSESS = "{code: assess, role: rn, due: {after: enrolment, within: 2 days}"
NEXT_ASSESS = "{code: assess, role: provider, priority: urgent, due: {after: enrolment, within: 5 days}"
CONSENT = "  - {code: consent, role: front-desk, due: {after: enrolment, within: 1 day}}\n"
SECOND = (
    CARE.replace(LABS, "")
    .replace("[assess, labs]", "assess")
    .replace(FIRST_ASSESS, NEXT_ASSESS)
    .replace("every: 1 week,", "every: 2 weeks,")
    + CONSENT
)


@pytest.fixture
def clinic(database: Database) -> Clinic:
    made = Clinic(database, CARE)
    made.patient("ann")
    return made


def opened(clinic: Clinic) -> str:
    with clinic.acting(MONDAY, COORDINATOR) as (tx, by):
        ref = enrolment.by_hand(tx, clinic.program, "ann", by).ref
    clinic.sweep(MONDAY)
    return ref


def under_second(clinic: Clinic, ref: str, at: datetime) -> None:
    """The plan goes over to the second version; its work still says that it is of the first."""
    clinic.publish(SECOND, at)
    clinic.put(clinic.resource(ref) | {"instantiatesCanonical": [clinic.program.canonical.replace("|1", "|2")]}, at)


def anew(clinic: Clinic, ref: str, at: datetime, *, rehearse: bool = False, re_own: bool = False) -> list[Step]:
    with clinic.acting(at) as (tx, by):
        return list(regeneration.regenerate(tx, ref, by, rehearse=rehearse, re_own=re_own))


def of(clinic: Clinic, code: str) -> list[WorkItem]:
    return [one for one in clinic.items("ann") if one.kind == "task" and one.code == code]


def test_a_plan_in_step_needs_nothing(clinic: Clinic) -> None:
    ref = opened(clinic)
    assert anew(clinic, ref, MONDAY + HOUR) == []


def test_a_new_version_is_brought_to_the_plan_once(clinic: Clinic) -> None:
    ref = opened(clinic)
    under_second(clinic, ref, MONDAY + HOUR)
    first = anew(clinic, ref, MONDAY + HOUR)
    assert {one.what for one in first} >= {"made", "changed", "withdrawn"}
    assert len(of(clinic, "consent")) == 1
    (assess,) = of(clinic, "assess")
    assert (assess.role, assess.priority, assess.due_at) == ("provider", "urgent", MONDAY + timedelta(days=5))
    assert [one.status for one in of(clinic, "labs")] == ["dropped"]
    starts = [one.starts_at for one in of(clinic, "weekly") if one.open]
    assert starts == [MONDAY, MONDAY + timedelta(days=14)]
    rows = [row for row in clinic.log(assess.ref) if row.what == "due"]
    assert "due Sat 14 Mar" in (rows[-1].reason or "")
    assert "not Wed 11 Mar" in (rows[-1].reason or "")
    again = anew(clinic, ref, MONDAY + 2 * HOUR)
    assert [one for one in again if one.what in ("made", "withdrawn")] == []


def test_what_people_changed_is_theirs(clinic: Clinic) -> None:
    ref = opened(clinic)
    assess, labs = of(clinic, "assess")[0].ref, of(clinic, "labs")[0].ref
    own = MONDAY + timedelta(days=9)
    with clinic.acting(MONDAY + HOUR, NURSE) as (tx, by):
        transitions.give_role(tx, assess, "front-desk", by)
        task = transitions.find_task(tx, by.viewer, assess)
        transitions.store(tx, task.resource | {"restriction": {"period": {"end": own.isoformat()}}}, by, None)
        transitions.note(tx, labs, "Spoke to the lab", by)
    under_second(clinic, ref, MONDAY + 2 * HOUR)
    kept = [one for one in anew(clinic, ref, MONDAY + 2 * HOUR) if one.what == "kept"]
    assert [one.work for one in kept] == [labs]
    assert (of(clinic, "assess")[0].role, of(clinic, "assess")[0].due_at) == ("front-desk", own)
    assert of(clinic, "labs")[0].open


def test_a_rehearsal_says_the_same_and_does_nothing(clinic: Clinic) -> None:
    ref = opened(clinic)
    under_second(clinic, ref, MONDAY + HOUR)
    before = {one.ref: one for one in clinic.items("ann")}
    told = anew(clinic, ref, MONDAY + HOUR, rehearse=True)
    assert {one.ref: one for one in clinic.items("ann")} == before
    assert told == anew(clinic, ref, MONDAY + HOUR)


def test_a_changed_team_gives_untouched_work_to_its_new_member_only_when_asked(clinic: Clinic) -> None:
    ref = opened(clinic)
    (team,) = clinic.stored("CareTeam")
    team["participant"][0]["member"] = {"reference": "Practitioner/nurse"}
    clinic.put(team, MONDAY + HOUR)
    clinic.sweep(MONDAY + HOUR)
    assert anew(clinic, ref, MONDAY + HOUR) == []
    assert of(clinic, "assess")[0].owner is None
    (given,) = anew(clinic, ref, MONDAY + HOUR, re_own=True)
    assert (given.what, of(clinic, "assess")[0].owner) == ("changed", "Practitioner/nurse")
    clinic.move(of(clinic, "assess")[0].ref, "doing", MONDAY + 2 * HOUR, NURSE)
    team = clinic.stored("CareTeam")[0]
    team["participant"][0]["member"] = {"reference": "Practitioner/other"}
    clinic.put(team, MONDAY + 3 * HOUR)
    (kept,) = anew(clinic, ref, MONDAY + 3 * HOUR, re_own=True)
    assert (kept.what, of(clinic, "assess")[0].owner) == ("kept", "Practitioner/nurse")


def test_a_plan_that_is_over_or_absent_is_refused(clinic: Clinic) -> None:
    ref = opened(clinic)
    clinic.put(clinic.resource(ref) | {"status": "revoked"}, MONDAY + HOUR)
    with pytest.raises(RuleBroken, match="over"):
        anew(clinic, ref, MONDAY + HOUR)
    with pytest.raises(NotFound):
        anew(clinic, "CarePlan/absent", MONDAY + HOUR)


def test_the_version_before_can_be_given_where_the_work_no_longer_says_it(clinic: Clinic) -> None:
    ref = opened(clinic)
    under_second(clinic, ref, MONDAY + HOUR)
    (assess,) = of(clinic, "assess")
    body = clinic.resource(assess.ref)
    clinic.put(body | {"instantiatesCanonical": body["instantiatesCanonical"].replace("|1", "|2")}, MONDAY + HOUR)
    with clinic.acting(MONDAY + HOUR) as (tx, by):
        first = programs.required(tx, "care", 1)
        regeneration.regenerate(tx, ref, replace(by, origin="migration"), before=first)
    assert of(clinic, "assess")[0].due_at == MONDAY + timedelta(days=5)
