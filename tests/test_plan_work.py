"""From a plan to its work: what starts after what, what recurs ahead, what a plan lists itself, goals, team and owners."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from fhir_tracker import enrolment, writes
from fhir_tracker.fhir.checks import check
from fhir_tracker.model.work import WorkItem
from fhir_tracker.storage.database import Database
from tests.support.care_program import CARE
from tests.support.clinic import COORDINATOR, MONDAY, NURSE, SYSTEM, Clinic, author

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

DETAIL: dict[str, Any] = {
    "status": "not-started",
    "code": {"text": "Teach foot care"},
    "description": "Show how to look at both feet",
}


@pytest.fixture
def clinic(database: Database) -> Clinic:
    made = Clinic(database, CARE)
    made.put(
        {
            "resourceType": "Patient",
            "id": "ann",
            "name": [{"family": "Synthetic"}],
            "address": [{"use": "home", "state": "CA", "postalCode": "94110", "country": "US"}],
        },
        MONDAY,
    )
    return made


def opened(clinic: Clinic, at: datetime = MONDAY) -> str:
    with clinic.acting(at, COORDINATOR) as (tx, by):
        ref = enrolment.by_hand(tx, clinic.program, "ann", by).ref
    clinic.sweep(at)
    return ref


def of(clinic: Clinic, code: str) -> list[WorkItem]:
    return [one for one in clinic.items("ann") if one.kind == "task" and one.code == code]


def filed(clinic: Clinic, at: datetime = MONDAY, *activities: dict[str, Any], **more: Any) -> str:
    """A plan of the program as a client files it."""
    plan = {
        "resourceType": "CarePlan",
        "status": "active",
        "intent": "plan",
        "instantiatesCanonical": ["https://fhir-tracker.example/PlanDefinition/care"],
        "subject": {"reference": "Patient/ann"},
        **({"activity": list(activities)} if activities else {}),
        **more,
    }
    with clinic.database.begin() as tx:
        ref = writes.create(tx, plan, author(at)).ref
    clinic.sweep(at)
    return ref


def changed(clinic: Clinic, ref: str, at: datetime, **parts: Any) -> None:
    body = {name: value for name, value in (clinic.resource(ref) | parts).items() if value is not None}
    with clinic.database.begin() as tx:
        writes.update(tx, ref.split("/")[0], ref.split("/")[1], body, author(at))
    clinic.sweep(at)


def test_work_starts_once_when_everything_that_it_waits_for_has_ended(clinic: Clinic) -> None:
    opened(clinic)
    assert of(clinic, "plan-talk") == []
    clinic.move(of(clinic, "assess")[0].ref, "done", MONDAY + HOUR)
    clinic.sweep(MONDAY + HOUR)
    assert of(clinic, "plan-talk") == []
    clinic.move(of(clinic, "labs")[0].ref, "done", MONDAY + 2 * HOUR)
    for hour in (2, 3, 30):
        clinic.sweep(MONDAY + hour * HOUR)
    (talk,) = of(clinic, "plan-talk")
    assert (talk.status, talk.role) == ("todo", "provider")
    assert clinic.resource(talk.ref)["reasonCode"]["text"] == "Assess and Labs are done"


def test_due_time_counts_from_when_the_other_work_ended_and_not_from_when_the_worker_saw_it(clinic: Clinic) -> None:
    opened(clinic)
    for code in ("assess", "labs"):
        clinic.move(of(clinic, code)[0].ref, "done", MONDAY + HOUR)
    clinic.sweep(MONDAY + 5 * DAY)
    assert of(clinic, "plan-talk")[0].due_at == datetime(2026, 3, 10, 21, tzinfo=MONDAY.tzinfo)


def test_a_chain_runs_link_by_link_and_stops_at_what_never_ends(clinic: Clinic) -> None:
    opened(clinic)
    for code in ("assess", "labs"):
        clinic.move(of(clinic, code)[0].ref, "done", MONDAY + HOUR)
    clinic.sweep(MONDAY + HOUR)
    clinic.sweep(MONDAY + 60 * DAY)
    assert of(clinic, "letter") == []
    clinic.move(of(clinic, "plan-talk")[0].ref, "done", MONDAY + 60 * DAY)
    clinic.sweep(MONDAY + 60 * DAY)
    assert len(of(clinic, "letter")) == 1


def test_work_whose_beginning_was_opened_again_is_taken_back_and_started_anew(clinic: Clinic) -> None:
    opened(clinic)
    for code in ("assess", "labs"):
        clinic.move(of(clinic, code)[0].ref, "done", MONDAY + HOUR)
    clinic.sweep(MONDAY + HOUR)
    clinic.move(of(clinic, "labs")[0].ref, "doing", MONDAY + 2 * HOUR)
    clinic.sweep(MONDAY + 2 * HOUR)
    (first,) = of(clinic, "plan-talk")
    assert (first.open, first.status) == (False, "dropped")
    assert "Labs was opened again" in clinic.resource(first.ref)["statusReason"]["text"]
    clinic.move(of(clinic, "labs")[0].ref, "done", MONDAY + 3 * HOUR)
    for hour in (3, 4):
        clinic.sweep(MONDAY + hour * HOUR)
    assert [one.open for one in of(clinic, "plan-talk")] == [False, True]


def test_work_that_somebody_has_begun_stays_when_its_beginning_is_opened_again(clinic: Clinic) -> None:
    opened(clinic)
    for code in ("assess", "labs"):
        clinic.move(of(clinic, code)[0].ref, "done", MONDAY + HOUR)
    clinic.sweep(MONDAY + HOUR)
    clinic.move(of(clinic, "plan-talk")[0].ref, "doing", MONDAY + 2 * HOUR, NURSE)
    clinic.move(of(clinic, "labs")[0].ref, "doing", MONDAY + 2 * HOUR)
    clinic.sweep(MONDAY + 2 * HOUR)
    clinic.move(of(clinic, "labs")[0].ref, "done", MONDAY + 3 * HOUR)
    clinic.sweep(MONDAY + 3 * HOUR)
    assert [one.status for one in of(clinic, "plan-talk")] == ["doing"]


def test_occurrences_are_made_ahead_on_the_patients_clock_each_with_its_own_start(clinic: Clinic) -> None:
    opened(clinic)
    first = of(clinic, "weekly")
    assert [(one.starts_at, one.due_at) for one in first] == [
        (MONDAY + week * 7 * DAY, MONDAY + week * 7 * DAY + 2 * DAY) for week in range(3)
    ]
    for day in range(9):
        clinic.sweep(MONDAY + day * DAY)
    assert [one.starts_at for one in of(clinic, "weekly")] == [MONDAY + week * 7 * DAY for week in range(5)]


def test_the_patients_clock_and_not_the_sites_tells_when_the_next_begins(clinic: Clinic) -> None:
    phoenix = {"state": "AZ", "postalCode": "85001"}
    clinic.put(
        {"resourceType": "Patient", "id": "ann", "name": [{"family": "Synthetic"}], "address": [phoenix]}, MONDAY
    )
    autumn = datetime(2026, 10, 26, 14, tzinfo=MONDAY.tzinfo)
    opened(clinic, autumn)
    assert of(clinic, "weekly")[1].starts_at == autumn + 7 * DAY


def test_when_a_patient_moves_what_was_made_ahead_is_made_anew_on_the_new_clock(clinic: Clinic) -> None:
    autumn = datetime(2026, 10, 26, 14, tzinfo=MONDAY.tzinfo)
    opened(clinic, autumn)
    assert of(clinic, "weekly")[1].starts_at == autumn + 7 * DAY + HOUR
    body = {"resourceType": "Patient", "id": "ann", "address": [{"state": "AZ", "country": "USA"}]}
    clinic.put(body, autumn + HOUR)
    clinic.put(clinic.resource(of(clinic, "weekly")[0].plan or ""), autumn + HOUR)
    clinic.sweep(autumn + HOUR)
    assert [one.starts_at for one in of(clinic, "weekly") if one.open] == [autumn + week * 7 * DAY for week in range(3)]


def test_what_begins_later_is_nobodys_business_before(clinic: Clinic) -> None:
    late = CARE + "rules:\n  - {id: late, when: {unassigned_for: 1 hour}, do: {raise_flag: nobody}}\n"
    clinic.publish(late, MONDAY)
    clinic.program = clinic.active()[0]
    opened(clinic)
    clinic.sweep(MONDAY + 2 * HOUR)
    later = [one for one in of(clinic, "weekly") if one.starts_at and one.starts_at > MONDAY]
    assert all(one.next_action_at == one.starts_at for one in later)


def test_a_plan_gets_its_goals_and_care_team_and_work_names_its_goal(clinic: Clinic) -> None:
    ref = opened(clinic)
    plan, goals, (team,) = clinic.resource(ref), clinic.stored("Goal"), clinic.stored("CareTeam")
    assert [one["reference"] for one in plan["goal"]] == [f"Goal/{one['id']}" for one in goals]
    assert plan["careTeam"] == [{"reference": f"CareTeam/{team['id']}"}]
    for resource in (plan, team, *goals):
        assert [one.message for one in check(resource) if one.severity in ("error", "fatal")] == []
    target = goals[0]["target"][0]
    assert (str(target["detailQuantity"]["value"]), target["detailQuantity"]["comparator"]) == ("8", "<=")
    assert target["dueDate"] == "2026-06-07"
    assess, labs = of(clinic, "assess")[0], of(clinic, "labs")[0]
    assert clinic.resource(assess.ref)["reasonReference"] == {"reference": f"Goal/{goals[0]['id']}"}
    assert clinic.resource(labs.ref)["partOf"] == [{"reference": assess.ref}]
    clinic.sweep(MONDAY + DAY)
    assert len(clinic.stored("Goal")) == 2


def test_the_primary_of_the_team_owns_the_work_that_says_so(clinic: Clinic) -> None:
    opened(clinic)
    (team,) = clinic.stored("CareTeam")
    team["participant"][1]["member"] = {"reference": "Practitioner/coordinator"}
    clinic.put(team, MONDAY)
    for code in ("assess", "labs", "plan-talk"):
        clinic.move(of(clinic, code)[0].ref, "done", MONDAY + HOUR)
        clinic.sweep(MONDAY + HOUR)
    assert (of(clinic, "letter")[0].owner, of(clinic, "plan-talk")[0].owner) == ("Practitioner/coordinator", None)


def test_a_plan_that_a_client_files_joins_its_program(clinic: Clinic) -> None:
    ref = filed(clinic)
    assert {one.code for one in clinic.items("ann") if one.kind == "task"} == {"assess", "labs", "weekly"}
    assert len(clinic.resource(ref)["goal"]) == 2
    for day in range(3):
        changed(clinic, ref, MONDAY + day * DAY, description=f"Day {day}")
    assert [len(of(clinic, code)) for code in ("assess", "labs")] == [1, 1]


def test_a_client_that_files_its_own_work_with_the_plan_gets_no_more(clinic: Clinic) -> None:
    with clinic.database.begin() as tx:
        plan = writes.create(
            tx,
            {
                "resourceType": "CarePlan",
                "status": "active",
                "intent": "plan",
                "instantiatesCanonical": [clinic.program.canonical],
                "subject": {"reference": "Patient/ann"},
            },
            author(MONDAY),
        )
        writes.create(
            tx,
            {
                "resourceType": "Task",
                "status": "requested",
                "intent": "order",
                "instantiatesCanonical": "https://fhir-tracker.example/ActivityDefinition/care.labs",
                "basedOn": [{"reference": plan.ref}],
                "for": {"reference": "Patient/ann"},
            },
            author(MONDAY),
        )
    clinic.sweep(MONDAY)
    assert (len(of(clinic, "labs")), of(clinic, "assess")) == (1, [])


def test_an_intervention_of_the_plan_becomes_work_once(clinic: Clinic) -> None:
    end = {"scheduledPeriod": {"start": "2026-03-16", "end": "2026-03-20"}}
    performer = {"performer": [{"reference": "Practitioner/nurse"}]}
    ref = filed(clinic, MONDAY, {"detail": DETAIL | end | performer})
    for day in range(3):
        changed(clinic, ref, MONDAY + day * DAY, description=f"Day {day}")
    (work,) = [one for one in clinic.items("ann") if one.title == "Teach foot care"]
    assert (work.program, work.owner, work.plan) == ("care", "Practitioner/nurse", ref)
    assert (work.due_at and work.due_at.date().isoformat(), work.starts_at and work.starts_at.date().isoformat()) == (
        "2026-03-20",
        "2026-03-16",
    )
    body = clinic.resource(work.ref)
    assert [one.message for one in check(body) if one.severity in ("error", "fatal")] == []
    assert body["description"] == "Show how to look at both feet"


def test_an_intervention_that_names_a_task_of_the_program_is_that_task(clinic: Clinic) -> None:
    named = ["https://fhir-tracker.example/ActivityDefinition/care.plan-talk|1"]
    filed(clinic, MONDAY, {"id": "talk", "detail": DETAIL | {"instantiatesCanonical": named}})
    (talk,) = of(clinic, "plan-talk")
    assert (talk.role, talk.title) == ("provider", "Plan talk")


@pytest.mark.parametrize("how", ["removed", "cancelled", "entered-in-error"])
def test_an_intervention_that_is_dropped_takes_its_work_back_unless_it_was_begun(clinic: Clinic, how: str) -> None:
    second = DETAIL | {"code": {"text": "Teach injections"}}
    ref = filed(clinic, MONDAY, {"id": "feet", "detail": DETAIL}, {"id": "shots", "detail": second})
    work = {one.title: one for one in clinic.items("ann") if one.kind == "task"}
    clinic.move(work["Teach injections"].ref, "doing", MONDAY + HOUR, NURSE)
    kept = [one for one in clinic.resource(ref)["activity"] if "reference" in one]
    gone = [{"id": name, "detail": DETAIL | {"status": how}} for name in ("feet", "shots") if how != "removed"]
    changed(clinic, ref, MONDAY + 2 * HOUR, activity=[*kept, *gone])
    assert (clinic.item(work["Teach foot care"].ref).status, clinic.item(work["Teach injections"].ref).status) == (
        "dropped",
        "doing",
    )
    assert how.split("-")[0] in clinic.resource(work["Teach foot care"].ref)["statusReason"]["text"] or how == "removed"


def test_an_intervention_that_recurs_has_one_open_task_at_a_time(clinic: Clinic) -> None:
    timing = {"scheduledTiming": {"repeat": {"frequency": 1, "period": 1, "periodUnit": "wk"}}}
    filed(clinic, MONDAY, {"id": "feet", "detail": DETAIL | timing})
    for week in range(4):
        clinic.sweep(MONDAY + week * 7 * DAY)
        found = [one for one in clinic.items("ann") if one.title == "Teach foot care"]
        assert [one.open for one in found] == [False] * (week // 2) + [True]
        if week % 2:
            clinic.move(found[-1].ref, "done", MONDAY + week * 7 * DAY)


@pytest.mark.parametrize("status", ["draft", "on-hold"])
def test_a_plan_that_is_not_active_gets_no_work_until_it_is(clinic: Clinic, status: str) -> None:
    ref = filed(clinic, MONDAY, {"detail": DETAIL}, status=status)
    assert [one.code for one in clinic.items("ann") if one.kind == "task" and one.code != "weekly"] == []
    changed(clinic, ref, MONDAY + DAY, status="active")
    titles = {one.title for one in clinic.items("ann") if one.kind == "task"}
    assert "Teach foot care" in titles


def test_nobody_gets_new_work_after_death(clinic: Clinic) -> None:
    opened(clinic)
    clinic.put({"resourceType": "Patient", "id": "ann", "deceasedBoolean": True}, MONDAY)
    for code in ("assess", "labs"):
        clinic.move(of(clinic, code)[0].ref, "done", MONDAY + HOUR)
    clinic.sweep(MONDAY + HOUR)
    assert of(clinic, "plan-talk") == []


def test_what_the_plan_is_made_of_is_shown_to_be_the_trackers(clinic: Clinic) -> None:
    opened(clinic)
    goal = clinic.stored("Goal")[0]
    assert clinic.provenance(f"Goal/{goal['id']}")
    assert SYSTEM.who not in str(goal)


def test_work_that_a_rule_makes_goes_to_its_owner_as_well(clinic: Clinic) -> None:
    text = CARE + "  - {code: extra, role: rn, on: rule, owner: primary}\n"
    rule = "rules:\n  - {id: more, subject: plan, when: {stage: enrolled}, do: {create_task: extra}}\n"
    clinic.program = clinic.publish(text + rule, MONDAY)
    with clinic.acting(MONDAY, COORDINATOR) as (tx, by):
        ref = enrolment.by_hand(tx, clinic.program, "ann", by).ref
    clinic.put(clinic.resource(ref) | {"author": {"reference": "Practitioner/coordinator"}}, MONDAY)
    clinic.sweep(MONDAY)
    assert [one.owner for one in of(clinic, "extra")] == ["Practitioner/coordinator"]
