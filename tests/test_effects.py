"""What rules ask for, kind by kind: done once, never twice, and skipped visibly when it no longer applies."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from fhir_tracker import effects, explain, gathering, publishing, staff
from fhir_tracker import transitions as moving
from fhir_tracker.model import effects as kinds
from fhir_tracker.model.effects import Effect
from fhir_tracker.model.facts import Facts
from fhir_tracker.model.viewer import RULE_WORKER
from fhir_tracker.model.work import Firing, FiringKey, WorkItem
from fhir_tracker.rules.action_section import ACTIONS
from fhir_tracker.storage.database import Database
from tests.support.clinic import MONDAY, NURSE, Clinic, author

HOUR = timedelta(hours=1)
PROGRAM = """
program: care
eligible: {any: [{Encounter: {status: finished, class: IMP}}]}
stages:
  - {code: enrolled, is: active, title: Enrolled, means: In}
  - {code: intensive, is: active, title: Intensive, means: More}
  - {code: left, is: revoked, title: Left, means: Out}
statuses:
  - {code: to-do, is: requested, means: Nobody has begun}
  - {code: doing, is: in-progress, means: Begun}
  - {code: waiting, is: on-hold, clock: paused, means: Waits, hold: {until: required}}
  - {code: done, is: completed, means: Done}
  - {code: dropped, is: cancelled, means: Not needed any more}
tasks:
  - {code: call, role: care-coordinator, due: {after: enrolment, within: 2 days}}
  - {code: check, role: rn, due: {after: enrolment, within: 9 days}}
  - {code: letter, role: front-desk, on: rule, due: {after: created, within: 1 day}}
rules:
  - {id: late, when: {all: [{task: call}, {overdue_by: 900 days}]}, do: {escalate: up}}
ladders: {up: {levels: [{to: role/rn}]}}
"""
OTHER = """
program: other
statuses: [{code: a, is: requested, means: A}, {code: b, is: completed, means: B}]
tasks: [{code: look, role: rn, due: {after: enrolment, within: 1 day}}]
"""
RENAMED = {"doing": "busy", "intensive": "strong", "waiting": "paused", "dropped": "not-needed", "left": "gone"}
NEXT = PROGRAM
for _old, _new in RENAMED.items():
    NEXT = NEXT.replace(f"code: {_old}", f"code: {_new}")


def key(name: str) -> FiringKey:
    return FiringKey(item="", rule=name, cycle="0", level=0)


WANTED: dict[str, Effect] = {
    "escalate": kinds.Escalate(
        key=key("escalate"),
        ladder="up",
        level=1,
        to_role="rn",
        notify=("in-app", "email"),
        priority="urgent",
        reason="r",
    ),
    "create-task": kinds.CreateTask(key=key("create-task"), template="letter", reason="r", role="rn", priority="stat"),
    "raise-flag": kinds.RaiseFlag(key=key("raise-flag"), code="fragile", reason="r", cause="care#a"),
    "clear-flag": kinds.ClearFlag(key=key("clear-flag"), code="unreachable", reason="r"),
    "set-status": kinds.SetStatus(key=key("set-status"), status="doing", reason="r"),
    "set-priority": kinds.SetPriority(key=key("set-priority"), priority="stat", reason="r"),
    "notify": kinds.Notify(key=key("notify"), to_role="rn", channels=("in-app", "webhook"), reason="r"),
    "return-to-queue": kinds.ReturnToQueue(key=key("return-to-queue"), reason="r"),
    "set-stage": kinds.SetStage(key=key("set-stage"), stage="intensive", reason="r"),
    "reassign": kinds.Reassign(key=key("reassign"), to_role="provider", reason="r"),
    "hold": kinds.Hold(
        key=key("hold"), status="waiting", until=MONDAY + 9 * HOUR, reason="r", event="document.arrived"
    ),
    "enrol": kinds.EnrolInto(key=key("enrol"), program="other", reason="r"),
    "disenrol": kinds.Disenrol(key=key("disenrol"), stage="left", reason="r"),
    "close-tasks": kinds.CloseTasks(key=key("close-tasks"), status="dropped", reason="r", tasks=("check",)),
}
WHEN_CLOSED = {"escalate", "set-status", "set-priority", "return-to-queue", "reassign", "hold"}
"""What changes the task and so is skipped once it is closed."""
WHEN_PLAN_IS_GONE = {"create-task", "set-stage", "disenrol", "close-tasks"}
WHEN_MIGRATED = {"set-status", "set-stage", "hold", "disenrol", "close-tasks"}
"""What names a status or stage that the program's next version has not."""


class Stage:
    """A patient in a plan with an owned task and a flag."""

    def __init__(self, database: Database) -> None:
        self.clinic = Clinic(database, PROGRAM)
        self.clinic.publish(OTHER, MONDAY)
        self.clinic.patient("ann")
        self.clinic.discharge("ann", MONDAY)
        self.ref = self.clinic.task("ann", "call").ref
        with self.clinic.acting(MONDAY, NURSE) as (tx, by):
            moving.assign(tx, self.ref, "Practitioner/nurse", by)
        flagged = kinds.RaiseFlag(key=key("setup"), code="unreachable", reason="r", cause="care#b")
        assert self.apply(flagged, MONDAY)
        self.facts = self.gathered()

    def gathered(self) -> Facts:
        with self.clinic.database.read() as tx:
            return gathering.gather(tx, RULE_WORKER, [self.clinic.item(self.ref)])[0]

    def apply(self, effect: Effect, at: datetime = MONDAY + HOUR, facts: Facts | None = None) -> bool:
        known = facts or getattr(self, "facts", None) or self.gathered()
        whole = replace(effect, key=replace(effect.key, item=self.ref))
        with self.clinic.database.begin() as tx:
            return effects.apply(tx, self.clinic.program, known, whole, at)

    def firing(self, rule: str) -> Firing:
        (found,) = [one for one in self.clinic.firings(self.ref) if one.key.rule == rule]
        return found

    def world(self) -> dict[str, Any]:
        """Everything that effects write, but for firings."""
        types = ("Task", "CarePlan", "Flag", "Provenance")
        return {
            "stored": self.clinic.stored(*types),
            "log": [self.clinic.log(one.ref) for one in self.clinic.items("ann")],
            "told": [self.clinic.notified(one.ref) for one in self.clinic.items("ann")],
        }

    @property
    def plan(self) -> WorkItem:
        (found,) = [one for one in self.clinic.items("ann") if one.kind == "plan" and one.program == "care"]
        return found


@pytest.fixture
def stage(database: Database) -> Stage:
    return Stage(database)


def test_the_table_has_every_action_of_a_program_file() -> None:
    assert {one.replace("_", "-") for one in ACTIONS} == set(WANTED)


@pytest.mark.parametrize("kind", WANTED)
def test_each_effect_is_done_once_with_a_row_of_why_and_its_replay_changes_nothing(stage: Stage, kind: str) -> None:
    before = stage.world()
    assert stage.apply(WANTED[kind])
    after = stage.world()
    assert after != before
    fired = stage.firing(kind)
    assert (fired.kind, fired.state, fired.reason) == (kind, "open", "r")
    assert not stage.apply(WANTED[kind], MONDAY + 2 * HOUR)
    assert not stage.apply(WANTED[kind], MONDAY + 3 * HOUR, stage.gathered())
    assert stage.world() == after
    if kind not in ("notify", "enrol"):
        written = [one for one in after["stored"] if one["resourceType"] == "Provenance"][-1]
        assert written["policy"][0].endswith(f"care|1#{kind}")
        assert written["reason"][0]["text"].endswith("r")


@pytest.mark.parametrize("kind", WANTED)
def test_an_effect_on_work_that_was_closed_meanwhile_is_skipped_visibly_or_does_not_mind(
    stage: Stage, kind: str
) -> None:
    stage.clinic.move(stage.ref, "done", MONDAY + HOUR, fields={"note": "n"})
    before = stage.world()
    is_done = stage.apply(WANTED[kind], MONDAY + 2 * HOUR)
    assert is_done == (kind not in WHEN_CLOSED)
    if not is_done:
        assert stage.world() == before
        assert stage.firing(kind).state == "skipped"
        assert "the work is closed: done" in stage.firing(kind).reason
    assert not stage.apply(WANTED[kind], MONDAY + 3 * HOUR)


@pytest.mark.parametrize("kind", WANTED)
def test_an_effect_on_a_plan_that_is_gone_is_skipped_visibly_or_does_not_mind(stage: Stage, kind: str) -> None:
    stage.clinic.remove(stage.plan.ref, MONDAY + HOUR)
    before = stage.world()
    is_done = stage.apply(WANTED[kind], MONDAY + 2 * HOUR)
    assert is_done == (kind not in WHEN_PLAN_IS_GONE)
    if not is_done:
        assert stage.world() == before
        assert "there is no plan any more" in stage.firing(kind).reason


@pytest.mark.parametrize("kind", WANTED)
def test_an_effect_of_a_version_that_plan_and_task_have_left_is_skipped_where_its_words_are_unknown(
    stage: Stage, kind: str
) -> None:
    with stage.clinic.database.begin() as tx:
        publishing.publish(tx, NEXT, author(MONDAY + HOUR))
    for ref in (stage.plan.ref, stage.ref):
        old = stage.clinic.resource(ref)
        named = old["instantiatesCanonical"]
        moved = [one.replace("|1", "|2") for one in named] if isinstance(named, list) else named.replace("|1", "|2")
        stage.clinic.put(old | {"instantiatesCanonical": moved}, MONDAY + HOUR)
    before = stage.world()
    is_done = stage.apply(WANTED[kind], MONDAY + 2 * HOUR)
    assert is_done == (kind not in WHEN_MIGRATED)
    if not is_done:
        assert stage.world() == before
        assert "under version 2, which has no" in stage.firing(kind).reason


def test_what_was_skipped_is_told_by_explain(stage: Stage) -> None:
    assert not stage.apply(kinds.Reassign(key=key("late"), to="substitute", reason="because"))
    with stage.clinic.database.read() as tx:
        told = explain.explain(tx, RULE_WORKER, stage.ref, MONDAY + 3 * HOUR)
    lines = "\n".join(told.as_lines())
    assert "'kind': 'reassign'" in str(told.as_json())
    assert "skipped: because (skipped: the owner has no substitute now)" in lines


def test_the_stage_of_a_plan_moves_with_its_status_and_the_row_says_why(stage: Stage) -> None:
    stage.apply(WANTED["set-stage"])
    assert (stage.plan.status, stage.plan.fhir_status) == ("intensive", "active")
    row = [one for one in stage.clinic.log(stage.plan.ref) if one.what == "stage"][-1]
    assert (row.before, row.after, row.reason, row.rule) == ("enrolled", "intensive", "r", "care|1#set-stage")
    assert not stage.apply(replace(WANTED["set-stage"], key=key("again")))
    assert "intensive already" in stage.firing("again").reason


def test_a_plan_that_ends_closes_what_is_open_of_it_and_the_escalations_about_that(stage: Stage) -> None:
    stage.apply(WANTED["escalate"])
    stage.apply(WANTED["disenrol"])
    assert (stage.plan.status, stage.plan.fhir_status, stage.plan.open) == ("left", "revoked", False)
    assert {one.ref for one in stage.clinic.items("ann") if one.open} == set()
    call = stage.clinic.resource(stage.ref)
    assert (call["status"], call["businessStatus"]["coding"][0]["code"]) == ("cancelled", "dropped")
    assert call["statusReason"]["text"] == "the plan ended (left): r"
    assert "end" in stage.clinic.resource(stage.plan.ref)["period"]


def test_tasks_of_the_named_kinds_are_closed_and_no_others(stage: Stage) -> None:
    stage.apply(WANTED["close-tasks"])
    assert [(one.code, one.status) for one in stage.clinic.items("ann") if one.kind == "task"] == [
        ("call", "to-do"),
        ("check", "dropped"),
    ]
    assert not stage.apply(replace(WANTED["close-tasks"], key=key("again")))
    assert "nothing of it is open" in stage.firing("again").reason


def test_a_hold_has_its_end_and_event_and_ends_by_itself(stage: Stage) -> None:
    stage.apply(WANTED["hold"])
    held = stage.clinic.item(stage.ref)
    assert (held.status, held.clock, held.hold_until, held.hold_event) == (
        "waiting",
        "paused",
        MONDAY + 9 * HOUR,
        "document.arrived",
    )
    assert not stage.apply(replace(WANTED["hold"], key=key("again")))
    stage.clinic.sweep(MONDAY + 10 * HOUR)
    assert stage.clinic.item(stage.ref).status == "to-do"


def test_a_patient_is_enrolled_into_another_program_unless_a_plan_of_it_is_open(stage: Stage) -> None:
    stage.apply(WANTED["enrol"])
    assert [one.program for one in stage.clinic.items("ann") if one.kind == "plan"] == ["care", "other"]
    assert not stage.apply(replace(WANTED["enrol"], key=key("again")))
    assert "open plan of Other already" in stage.firing("again").reason
    nowhere = kinds.EnrolInto(key=key("nowhere"), program="nowhere", reason="r")
    assert not stage.apply(nowhere)
    assert "there is no active program nowhere" in stage.firing("nowhere").reason


def test_a_flag_stays_up_until_its_last_cause_is_gone(stage: Stage) -> None:
    for cause in ("care#a", "care#b"):
        stage.apply(kinds.RaiseFlag(key=key(f"raise {cause}"), code="fragile", reason="r", cause=cause))

    def clear(name: str, cause: str) -> bool:
        return stage.apply(kinds.ClearFlag(key=key(name), code="fragile", reason="r", cause=cause))

    def status() -> str:
        (flag,) = [one for one in stage.clinic.stored("Flag") if one["code"]["coding"][0]["code"] == "fragile"]
        return str(flag["status"])

    assert not clear("other", "care#z")
    assert "stands for something else" in stage.firing("other").reason
    assert clear("a", "care#a")
    assert status() == "active"
    assert clear("b", "care#b")
    assert status() == "inactive"
    assert not clear("none", "")
    assert "has no flag fragile" in stage.firing("none").reason


def test_work_is_made_for_the_owner_or_role_that_the_action_names(stage: Stage) -> None:
    stage.apply(kinds.CreateTask(key=key("same"), template="letter", reason="r", owner="same"))
    made = stage.clinic.item(stage.firing("same").task or "")
    assert (made.owner, made.role) == ("Practitioner/nurse", "front-desk")
    stage.apply(WANTED["create-task"])
    made = stage.clinic.item(stage.firing("create-task").task or "")
    assert (made.owner, made.role, made.priority) == (None, "rn", "stat")


def test_work_goes_to_the_primary_owner_or_the_substitute_of_who_is_away(stage: Stage) -> None:
    to_primary = kinds.Reassign(key=key("primary"), reason="r", to="primary")
    assert not stage.apply(to_primary)
    assert "no primary owner" in stage.firing("primary").reason
    plan = stage.clinic.resource(stage.plan.ref)
    stage.clinic.put(plan | {"author": {"reference": "Practitioner/zoe"}}, MONDAY)
    assert stage.apply(replace(to_primary, key=key("primary again")))
    assert stage.clinic.item(stage.ref).owner == "Practitioner/zoe"
    to_substitute = kinds.Reassign(key=key("substitute"), reason="r", to="substitute")
    assert not stage.apply(to_substitute)
    assert "no substitute now" in stage.firing("substitute").reason
    with stage.clinic.acting(MONDAY) as (tx, by):
        given: dict[str, Any] = {"start": MONDAY, "end": None, "substitute": "Practitioner/yan", "keeps_work": True}
        staff.go_away(tx, "Practitioner/zoe", author=by, **given)
    assert stage.apply(replace(to_substitute, key=key("substitute again")))
    assert stage.clinic.item(stage.ref).owner == "Practitioner/yan"
    row = [one for one in stage.clinic.log(stage.ref) if one.what == "owner"][-1]
    assert (row.before, row.after, row.rule) == ("Practitioner/zoe", "Practitioner/yan", "care|1#substitute again")


def test_the_owner_and_the_primary_owner_can_be_told_themselves(stage: Stage) -> None:
    tell = kinds.Notify(key=key("owner"), to_role="", channels=("email",), reason="r", to="owner")
    assert stage.apply(tell)
    (told,) = stage.clinic.notified(stage.ref)
    assert (told.to_person, told.to_role, told.state) == ("Practitioner/nurse", None, "waiting")
    assert stage.apply(replace(tell, key=key("primary"), to="primary"))
    assert stage.clinic.notified(stage.ref)[-1].to_role == "care-coordinator"
