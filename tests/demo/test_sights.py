"""A reaction counts as seen only when the tracker's own resources show it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from api.demo import sights
from api.demo.sights import Expectation, Work
from fhir_tracker.fhir.json_types import Json, Resource


def task(ident: str, code: str, status: str = "requested", **more: Json) -> Resource:
    return {
        "resourceType": "Task",
        "id": ident,
        "status": status,
        "code": {"coding": [{"code": code}], "text": "Work"},
        "performerType": [{"coding": [{"code": "rn"}]}],
        **more,
    }


def work(*resources: Resource) -> Work:
    tasks = {one["id"]: one for one in resources if one["resourceType"] == "Task"}
    return Work(tasks=tasks, plans={one["id"]: one for one in resources if one["resourceType"] == "CarePlan"})


def plan(canonical: str) -> Resource:
    return {"resourceType": "CarePlan", "id": "p", "title": "Plan", "instantiatesCanonical": [canonical]}


LEVEL_1 = task("e1", "escalation", input=[{"valuePositiveInt": 1}], reasonCode={"text": "late"})
DUE: dict[str, Json] = {"restriction": {"period": {"end": "2026-03-11T15:00:00Z"}}}
PAGE = Work(tasks={}, plans={}, page="<p>Call</p>")
TCM = "https://fhir-tracker.example/PlanDefinition/tcm|1"


@pytest.mark.parametrize(
    ("expectation", "before", "now", "seen"),
    [
        (sights.new_task("call"), work(), work(task("a", "call")), "Work, for rn"),
        (sights.new_task("call"), work(task("a", "call")), work(task("a", "call")), None),
        (sights.new_task("call"), work(), work(task("a", "visit")), None),
        (sights.new_task("call"), work(), work(task("a", "call", "completed")), None),
        (sights.new_task_due("call"), work(), work(task("a", "call")), None),
        (sights.new_task_due("call"), work(), work(task("a", "call", **DUE)), "Work, for rn, due 2026-03-11 15:00 UTC"),
        (sights.new_plan("tcm"), work(), work(plan(TCM)), "Plan"),
        (sights.new_plan("ccm"), work(), work(plan(TCM)), None),
        (sights.new_plan("tcm"), work(plan(TCM)), work(plan(TCM)), None),
        (sights.closed_by_itself("call"), work(task("a", "call")), work(task("a", "call", "completed")), "Work"),
        (sights.closed_by_itself("call"), work(task("a", "call")), work(task("a", "call", "cancelled")), None),
        (sights.closed_by_itself("call"), work(), work(task("a", "call", "completed")), None),
        (sights.escalated(1, "rn"), work(), work(LEVEL_1), "late"),
        (sights.escalated(2, "rn"), work(), work(LEVEL_1), None),
        (sights.escalated(1, "provider"), work(), work(LEVEL_1), None),
        (sights.escalated(1, "rn"), work(LEVEL_1), work(LEVEL_1), None),
        (sights.on_page("Call"), PAGE, PAGE, None),
        (sights.on_page("Call"), PAGE, replace(PAGE, page="<p>Call</p><p>Call</p>"), "Call"),
    ],
)
def test_a_reaction_is_told_apart_from_what_was_there_before(
    expectation: Expectation, before: Work, now: Work, seen: str | None
) -> None:
    assert expectation(before, now) == seen
