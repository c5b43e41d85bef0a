"""Plans that clients file: pinned to the version that is active then, of one program, and no work made twice."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from fhir_tracker import publishing, records, sweep, writes
from fhir_tracker.errors import Conflict, RuleBroken
from fhir_tracker.storage import running_tables
from fhir_tracker.storage.database import Database
from tests.support.clinic import COORDINATOR, MONDAY, NURSE, RING, Clinic

BASE = "https://fhir-tracker.example"
PLAN = f"{BASE}/PlanDefinition/ring"
CALL = f"{BASE}/ActivityDefinition/ring.first-call"
GUIDELINE = "http://example.org/PlanDefinition/ring|2"
HOUR = timedelta(hours=1)
SECOND = RING.replace("within: 2 days", "within: 5 days").replace("title: First call", "title: Welcome call")
OTHER = RING.replace("program: ring", "program: other").replace("title: Ring after discharge", "title: Other")
TEMPLATES = """  - {code: assess, title: Assess, role: rn}
  - {code: weekly, title: Weekly talk, role: rn, every: 7 days}
rules:
"""


@pytest.fixture
def clinic(database: Database) -> Clinic:
    made = Clinic(database, RING.replace("rules:\n", TEMPLATES, 1))
    made.patient("ann")
    return made


def plan(*named: str, **members: Any) -> dict[str, Any]:
    base = {"resourceType": "CarePlan", "status": "active", "intent": "plan", "subject": {"reference": "Patient/ann"}}
    return base | ({"instantiatesCanonical": list(named)} if named else {}) | members


def task(named: str, based_on: str, **members: Any) -> dict[str, Any]:
    base = {"resourceType": "Task", "status": "requested", "intent": "order", "for": {"reference": "Patient/ann"}}
    return base | {"instantiatesCanonical": named, "basedOn": [{"reference": based_on}]} | members


def create(clinic: Clinic, body: dict[str, Any], hours: float = 0, id_: str | None = None) -> str:
    with clinic.acting(MONDAY + hours * HOUR, COORDINATOR) as (tx, by):
        if id_ is None:
            return writes.create(tx, body, by).ref
        return writes.update(tx, body["resourceType"], id_, body, by)[0].ref


def change(clinic: Clinic, ref: str, hours: float, **members: Any) -> dict[str, Any]:
    body = {name: value for name, value in (clinic.resource(ref) | members).items() if value is not None}
    with clinic.acting(MONDAY + hours * HOUR, COORDINATOR) as (tx, by):
        writes.update(tx, body["resourceType"], ref.partition("/")[2], body, by)
    return clinic.resource(ref)


def versions(clinic: Clinic) -> dict[str, int | None]:
    """The work of the patient by kind, and the version it is under."""
    return {one.code or one.kind: one.program_version for one in clinic.items("ann")}


def open_codes(clinic: Clinic) -> list[str]:
    return sorted(one.code for one in clinic.items("ann") if one.open and one.kind == "task")


@pytest.mark.parametrize("way", ["post", "put"])
def test_a_bare_url_is_pinned_to_the_version_that_is_active_then(clinic: Clinic, way: str) -> None:
    ref = create(clinic, plan(PLAN), id_="mine" if way == "put" else None)
    assert clinic.resource(ref)["instantiatesCanonical"] == [f"{PLAN}|1"]
    clinic.publish(SECOND, MONDAY + HOUR)
    clinic.sweep(MONDAY + 2 * HOUR)
    after = change(clinic, ref, 3, description="Talked about")
    assert after["instantiatesCanonical"] == [f"{PLAN}|1"]
    clinic.sweep(MONDAY + 4 * HOUR)
    assert set(versions(clinic).values()) == {1}
    assert clinic.task("ann", "first-call").title == "First call"
    second = create(clinic, plan(PLAN), 5)
    assert clinic.resource(second)["instantiatesCanonical"] == [f"{PLAN}|2"]


def test_a_client_may_send_its_bare_url_again_and_again_but_no_other(clinic: Clinic) -> None:
    ref = create(clinic, plan(PLAN, GUIDELINE))
    clinic.publish(SECOND, MONDAY + HOUR)
    sent = change(clinic, ref, 2, instantiatesCanonical=[PLAN, GUIDELINE])
    assert sent["instantiatesCanonical"] == [f"{PLAN}|1", GUIDELINE]
    assert change(clinic, ref, 3, instantiatesCanonical=None)["instantiatesCanonical"] == [f"{PLAN}|1", GUIDELINE]
    for named in ([f"{PLAN}|2", GUIDELINE], [PLAN], [f"{PLAN}|1", GUIDELINE, "http://example.org/more"]):
        with pytest.raises(RuleBroken, match="instantiatesCanonical of a plan cannot be changed"):
            change(clinic, ref, 4, instantiatesCanonical=named)


def test_a_plan_that_was_stored_bare_before_is_pinned_to_its_version_by_its_next_change(clinic: Clinic) -> None:
    clinic.put(plan(PLAN, id="old"), MONDAY)
    clinic.sweep(MONDAY)
    after = change(clinic, "CarePlan/old", 1, description="Changed")
    assert after["instantiatesCanonical"] == [f"{PLAN}|1"]


def test_a_task_may_be_sent_with_its_bare_url_again(clinic: Clinic) -> None:
    ref = create(clinic, plan(PLAN))
    call = create(clinic, task(CALL, ref))
    clinic.publish(SECOND, MONDAY + HOUR)
    assert change(clinic, call, 2, instantiatesCanonical=CALL)["instantiatesCanonical"] == f"{CALL}|1"
    for named in (f"{CALL}|2", f"{BASE}/ActivityDefinition/ring.assess", f"{CALL}#x"):
        with pytest.raises(RuleBroken, match="instantiatesCanonical of work under way cannot be changed"):
            change(clinic, call, 3, instantiatesCanonical=named)


@pytest.mark.parametrize(
    ("named", "says"),
    [
        ([f"{PLAN}|9"], r"No program is published as .*ring\|9; version 1 is active"),
        ([f"{PLAN}|0"], "version 1 is active"),
        ([f"{PLAN}|1.0"], "No program is published as"),
        ([f"{PLAN}|v1"], "No program is published as"),
        ([f"{PLAN}|"], "No program is published as"),
        ([f"{BASE}/PlanDefinition/none"], "No program is published as .*none"),
        ([f"{BASE}/PlanDefinition/../ring"], "No program is published as"),
        ([f"{PLAN}#goals"], "names a part of a program; a plan is of the whole: .*/ring\\."),
        ([f"{PLAN}|1#goals"], "names a part of a program"),
        ([f"{PLAN}#"], "names a part of a program"),
        ([PLAN, f"{BASE}/PlanDefinition/other"], "one version of one program; this one names .*other.1 and .*ring.1"),
        ([f"{PLAN}|1", f"{BASE}/PlanDefinition/other|1"], "one version of one program"),
        (["http://example.org/guideline", f"{PLAN}|9"], "No program is published as"),
    ],
)
def test_what_no_plan_can_be_of_is_refused_with_its_place_and_leaves_nothing(
    clinic: Clinic, named: list[str], says: str
) -> None:
    clinic.publish(OTHER, MONDAY)
    for id_ in (None, "mine"):
        with pytest.raises(RuleBroken, match=says) as refused:
            create(clinic, plan(*named), id_=id_)
        assert refused.value.issues[0].expression == "CarePlan.instantiatesCanonical"
    assert clinic.stored("CarePlan") == []
    bare = create(clinic, plan())
    with pytest.raises(RuleBroken, match=says):
        change(clinic, bare, 1, instantiatesCanonical=named)
    assert clinic.items("ann") == []


def test_two_versions_of_one_program_are_refused_and_one_named_twice_counts_once(clinic: Clinic) -> None:
    clinic.publish(SECOND, MONDAY)
    with pytest.raises(RuleBroken, match="one version of one program"):
        create(clinic, plan(f"{PLAN}|1", PLAN))
    ref = create(clinic, plan(PLAN, f"{PLAN}|2", GUIDELINE))
    assert clinic.resource(ref)["instantiatesCanonical"] == [f"{PLAN}|2", GUIDELINE]


def test_a_version_that_is_named_counts_also_when_a_newer_one_is_active(clinic: Clinic) -> None:
    clinic.publish(SECOND, MONDAY)
    ref = create(clinic, plan(f"{PLAN}|1"))
    clinic.sweep(MONDAY)
    assert clinic.resource(ref)["instantiatesCanonical"] == [f"{PLAN}|1"]
    assert set(versions(clinic).values()) == {1}


@pytest.mark.parametrize("named", [PLAN, f"{PLAN}|1"])
def test_nobody_begins_with_a_program_that_is_retired_but_a_plan_that_is_over_can_be_filed(
    clinic: Clinic, named: str
) -> None:
    with clinic.database.begin() as tx:
        tx.execute(update(running_tables.program).values(status="retired"))
    for status in ("active", "draft", "on-hold"):
        with pytest.raises(RuleBroken, match="No version of the program ring is active"):
            create(clinic, plan(named, status=status))
    if named != PLAN:
        ref = create(clinic, plan(named, status="completed"))
        assert [(one.ref, one.open) for one in clinic.items("ann")] == [(ref, False)]


def test_nobody_begins_with_a_version_that_is_not_active_yet(clinic: Clinic) -> None:
    with clinic.acting(MONDAY) as (tx, by):
        publishing.submit(tx, OTHER, by, publishing.Terms(effective_at=MONDAY + HOUR))
        publishing.submit(tx, SECOND, by, publishing.Terms(effective_at=MONDAY + HOUR))
    for named, says in (
        (f"{BASE}/PlanDefinition/other", "No version of the program other is active"),
        (f"{BASE}/PlanDefinition/other|1", "No version of the program other is active"),
        (f"{PLAN}|2", "version 1 is active"),
    ):
        with pytest.raises(RuleBroken, match=says):
            create(clinic, plan(named))
    with clinic.acting(MONDAY + HOUR) as (tx, _):
        publishing.activate_due(tx, MONDAY + HOUR)
    ref = create(clinic, plan(f"{BASE}/PlanDefinition/other"), 1)
    assert clinic.resource(ref)["instantiatesCanonical"] == [f"{BASE}/PlanDefinition/other|1"]


@pytest.mark.parametrize(
    "named",
    ["http://example.org/PlanDefinition/ring", "http://example.org/PlanDefinition/ring|1",
     f"{BASE}.evil/PlanDefinition/ring", f"{BASE}/Questionnaire/ring", "urn:uuid:6b1c2a52-0d8e-4d0c-9d11-000000000001"],
)  # fmt: skip
def test_a_plan_of_somebody_elses_guideline_is_none_of_a_program_of_the_same_name(clinic: Clinic, named: str) -> None:
    ref = create(clinic, plan(named))
    clinic.sweep(MONDAY)
    assert clinic.resource(ref)["instantiatesCanonical"] == [named]
    assert clinic.items("ann") == []


def test_a_plan_that_names_a_program_only_later_is_pinned_then(clinic: Clinic) -> None:
    ref = create(clinic, plan())
    clinic.publish(SECOND, MONDAY + HOUR)
    assert change(clinic, ref, 2, instantiatesCanonical=[PLAN])["instantiatesCanonical"] == [f"{PLAN}|2"]
    clinic.sweep(MONDAY + 3 * HOUR)
    assert set(versions(clinic).values()) == {2}


def test_work_filed_by_a_bare_url_is_under_the_version_of_its_plan(clinic: Clinic) -> None:
    ref = create(clinic, plan(PLAN))
    clinic.publish(SECOND, MONDAY + HOUR)
    call = create(clinic, task(CALL, ref), 2)
    assert clinic.resource(call)["instantiatesCanonical"] == f"{CALL}|1"
    assert clinic.item(call).due_at == MONDAY + timedelta(days=2)
    alone = create(clinic, task(CALL, "CarePlan/elsewhere"), 2)
    assert clinic.resource(alone)["instantiatesCanonical"] == f"{CALL}|2"


def test_a_client_that_files_its_work_after_its_plan_gets_none_of_it_twice(clinic: Clinic) -> None:
    ref = create(clinic, plan(PLAN))
    clinic.sweep(MONDAY)
    assert open_codes(clinic) == ["assess", "first-call", "weekly"]
    codes = {"first-call": CALL} | {code: f"{BASE}/ActivityDefinition/ring.{code}|1" for code in ("assess", "weekly")}
    mine = {code: create(clinic, task(named, ref), 1) for code, named in codes.items()}
    clinic.sweep(MONDAY + HOUR)
    clinic.sweep(MONDAY + 3 * HOUR)
    left = {one.code: one.ref for one in clinic.items("ann") if one.open and one.kind == "task"}
    assert left == mine
    assert open_codes(clinic) == ["assess", "first-call", "weekly"]
    gone = [one for one in clinic.items("ann") if not one.open]
    assert {one.fhir_status for one in gone} == {"cancelled"}
    assert len(gone) == 3
    reason = clinic.resource(gone[0].ref)["statusReason"]["text"]
    assert reason == f"{gone[0].title} was filed with the plan by The coordinator"


def test_work_that_somebody_has_begun_is_not_filed_a_second_time(clinic: Clinic) -> None:
    ref = create(clinic, plan(PLAN))
    clinic.sweep(MONDAY)
    made = clinic.task("ann", "first-call").ref
    clinic.move(made, "calling", MONDAY + HOUR, NURSE)
    with pytest.raises(Conflict, match=f"The plan has this work already, as {made}: somebody has begun it"):
        create(clinic, task(CALL, ref), 2)
    assert [one.ref for one in clinic.items("ann") if one.code == "first-call"] == [made]
    clinic.move(made, "unreachable", MONDAY + 3 * HOUR, fields={"reason": "Nobody answers"})
    assert clinic.item(create(clinic, task(CALL, ref), 4)).open


def test_what_a_client_adds_to_a_plan_that_the_tracker_opened_takes_nothing_back(clinic: Clinic) -> None:
    clinic.discharge("ann", MONDAY)
    clinic.sweep(MONDAY)
    (own,) = [one for one in clinic.items("ann") if one.kind == "plan"]
    first = clinic.task("ann", "first-call").ref
    second = create(clinic, task(CALL, own.ref), 1)
    assert [clinic.item(one).open for one in (first, second)] == [True, True]


def test_several_pieces_of_one_kind_that_a_client_files_itself_all_stay(clinic: Clinic) -> None:
    ref = create(clinic, plan(PLAN))
    mine = [create(clinic, task(CALL, ref)) for _ in range(3)]
    clinic.sweep(MONDAY)
    assert [one.ref for one in clinic.items("ann") if one.code == "first-call" and one.open] == mine


def test_work_filed_while_the_worker_was_looking_is_not_made_as_well(clinic: Clinic) -> None:
    """The worker has judged the plan without any work; the client's comes before it writes."""
    ref = create(clinic, plan(PLAN))
    judged = sweep.judge_batch(clinic.database, MONDAY, 100)
    assert [type(one).__name__ for each in judged for one in each.wanted].count("CreateTask") == 3
    mine = create(clinic, task(CALL, ref))
    sweep.apply_batch(clinic.database, judged, MONDAY)
    for hours in (0, 1, 30):
        clinic.sweep(MONDAY + hours * HOUR)
    assert [one.ref for one in clinic.items("ann") if one.code == "first-call" and one.open] == [mine]


@pytest.mark.parametrize("order", ["plan first", "work first"])
def test_a_plan_and_its_work_in_one_transaction_are_of_one_version_whichever_comes_first(
    clinic: Clinic, order: str
) -> None:
    clinic.publish(SECOND, MONDAY)
    with clinic.acting(MONDAY, COORDINATOR) as (tx, by):
        id_ = records.fresh_id(MONDAY)
        parts = [plan(PLAN, id=id_), task(CALL, f"CarePlan/{id_}", id="mine")]
        for one in parts if order == "plan first" else reversed(parts):
            writes.update(tx, one["resourceType"], one["id"], one, by)
    clinic.sweep(MONDAY)
    clinic.sweep(MONDAY + HOUR)
    assert {one.code: one.program_version for one in clinic.items("ann") if one.open and one.kind == "task"} == {
        "first-call": 2,
    }
    assert clinic.item("Task/mine").plan == f"CarePlan/{id_}"
