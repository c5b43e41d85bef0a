"""Effects of many items applied together leave what they leave one after the other, and happen once all the same."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest
from sqlalchemy import Engine, event

from fhir_tracker import effects, sweep, together
from fhir_tracker.model.effects import CreateTask, Effect, Escalate, Notify
from fhir_tracker.model.facts import Facts
from fhir_tracker.model.work import FiringKey
from fhir_tracker.storage.database import Database
from tests.support.clinic import MONDAY, Clinic
from tests.support.crowd import LATE, discharge_many

META = re.compile(r"'meta': \{[^}]*\}")
IDS = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@pytest.fixture
def clinic(database: Database) -> Clinic:
    made = Clinic(database)
    discharge_many(made, 6)
    made.enrol(MONDAY)
    made.sweep(MONDAY)
    return made


def facts_of(clinic: Clinic, at: datetime) -> dict[str, Facts]:
    """What is due and judged, by patient, without applying anything."""
    judged = sweep.judge_batch(clinic.database, at, 100)
    return {one.facts.item.patient or "": one.facts for one in judged if one.facts.item.kind == "task"}


def wanted(facts: Facts) -> list[Effect]:
    def key(rule: str, level: int) -> FiringKey:
        return FiringKey(item=facts.item.ref, rule=rule, cycle="0", level=level)

    level = Escalate(
        key=key("late", 1), ladder="late-call", level=1, to_role="rn", notify=("in-app",), priority=None, reason="late"
    )
    return [
        level,
        CreateTask(key=key("more", 0), template="reschedule", reason="more work", owner="same"),
        CreateTask(key=key("more", -1), template="reschedule", reason="and more"),
        CreateTask(key=key("odd", 0), template="unknown", reason="a template that is gone"),
        Notify(key=key("told", 0), to_role="provider", channels=("in-app", "email"), reason="look"),
    ]


def traces(clinic: Clinic, patient: str) -> list[str]:
    """All that is left of a patient's work, without ids and order of ids."""
    items = clinic.items(patient)
    left = [
        # No rule is about an escalation's own item, whenever it would be looked at.
        *(one.having(next_action_at=None) if one.kind == "escalation" else one for one in items),
        *(row for one in items for row in clinic.log(one.ref)),
        *(row for one in items for row in clinic.firings(one.ref)),
        *((told.channel, told.to_role, told.text) for one in items for told in clinic.notified(one.ref)),
        *(clinic.resource(one.ref) for one in items),
    ]
    # Several versions of a plan, one for each task that is made for it, are later by as many milliseconds.
    told = (META.sub("META", IDS.sub("ID", repr(one))).replace(patient, "PATIENT") for one in left)
    return sorted(told)


def test_what_is_left_is_what_one_after_the_other_leaves(clinic: Clinic) -> None:
    facts = facts_of(clinic, LATE)
    with clinic.database.begin() as tx:
        some = [
            together.Wanted(program=clinic.program, facts=facts[f"p{n}"], effect=one)
            for n in (0, 1)
            for one in wanted(facts[f"p{n}"])
        ]
        assert together.apply_all(tx, some, LATE) == [True, True, True, False, True] * 2
    for name in ("p2", "p3"):
        with clinic.database.begin() as tx:
            done = [effects.apply(tx, clinic.program, facts[name], one, LATE) for one in wanted(facts[name])]
        assert done == [True, True, True, False, True]
    found = [traces(clinic, name) for name in ("p0", "p1", "p2", "p3")]
    assert found[0] == found[1]
    assert found[2] == found[3]
    assert found[0] == found[2]


def test_a_plan_gets_one_version_for_all_that_is_made_for_it(clinic: Clinic) -> None:
    facts = facts_of(clinic, LATE)["p0"]
    (plan,) = [one for one in clinic.items("p0") if one.kind == "plan"]
    before = clinic.resource(plan.ref)
    with clinic.database.begin() as tx:
        some = [together.Wanted(program=clinic.program, facts=facts, effect=one) for one in wanted(facts)]
        together.apply_all(tx, some, LATE)
    after = clinic.resource(plan.ref)
    assert int(after["meta"]["versionId"]) == int(before["meta"]["versionId"]) + 1
    assert len(after["activity"]) == len(before["activity"]) + 2


def test_what_fired_before_does_nothing_again_among_others_that_are_new(clinic: Clinic) -> None:
    facts = facts_of(clinic, LATE)

    def apply(names: Sequence[str]) -> list[bool]:
        with clinic.database.begin() as tx:
            some = [
                together.Wanted(program=clinic.program, facts=facts[name], effect=one)
                for name in names
                for one in wanted(facts[name])[:1]
            ]
            return together.apply_all(tx, some, LATE + timedelta(hours=1))

    assert apply(["p0", "p1"]) == [True, True]
    assert apply(["p0", "p1", "p2"]) == [False, False, True]
    assert [len(clinic.escalations(name)) for name in ("p0", "p1", "p2", "p3")] == [1, 1, 1, 0]


def test_the_number_of_statements_does_not_grow_with_what_is_due(database: Database) -> None:
    counts = []
    for size in (6, 60):
        clinic = Clinic(database, at=MONDAY)
        discharge_many(clinic, size)
        clinic.enrol(MONDAY + timedelta(hours=size))
        clinic.sweep(MONDAY + timedelta(hours=size))
        said: list[str] = []

        def note(connection: object, cursor: object, statement: str, *rest: object, said: list[str] = said) -> None:
            said.append(statement)

        judged = sweep.judge_batch(database, LATE + timedelta(hours=size), 500)
        event.listen(Engine, "before_cursor_execute", note)
        try:
            assert sweep.apply_batch(database, judged, LATE + timedelta(hours=size)).escalated >= size - 6
        finally:
            event.remove(Engine, "before_cursor_execute", note)
        # SQLite takes some rows a statement, or one: what matters there is that nothing is read for each.
        counts.append(sum(one.startswith("SELECT") for one in said))
    assert counts[1] <= counts[0] + 4
