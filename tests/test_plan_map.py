"""Wherever a map puts an item, that place is there and open, or the item is refused: whatever the program and the map."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_tracker.errors import Incorrect
from fhir_tracker.model.plan_map import KINDS, PlanMap
from fhir_tracker.model.program import Program
from fhir_tracker.model.vocabulary import CLOSED_TASK
from fhir_tracker.model.work import WorkItem
from fhir_tracker.plan_rewriting import Unmapped, forward
from fhir_tracker.rules.program_file import read_program
from tests.rules.test_difference import edited
from tests.support.clinic import MONDAY, RING

OLD = read_program(RING)
CODES = st.sampled_from([*(one.code for one in OLD.statuses), *(one.code for one in OLD.stages), "new", ""])
MAPS = st.builds(PlanMap, statuses=st.dictionaries(CODES, CODES), stages=st.dictionaries(CODES, CODES))


def standing(program: Program) -> list[WorkItem]:
    """One open task in each open status of the program, and a plan in each stage."""
    base = WorkItem(
        ref="Task/a", kind="task", title="Work", program=program.code, created_at=MONDAY, status_since=MONDAY
    )
    tasks = [
        replace(base, ref=f"Task/{one.code}", code="first-call", status=one.code, clock=one.clock)
        for one in program.statuses
        if one.fhir not in CLOSED_TASK
    ]
    plans = [replace(base, ref=f"CarePlan/{one.code}", kind="plan", status=one.code) for one in program.stages]
    return tasks + plans


def check(wanted: Program, item: WorkItem, by: PlanMap) -> None:
    """The item has a place in `wanted` that is open, or none."""
    try:
        to, _ = forward(wanted, item, by)
    except Unmapped:
        return
    if item.kind == "plan":
        assert to in {one.code for one in wanted.stages}
        return
    status = wanted.status(to)
    assert status is not None
    assert status.fhir not in CLOSED_TASK
    assert status.clock != "paused" or item.clock == "paused"


@given(edited(), MAPS)
def test_no_edit_and_no_map_leaves_open_work_in_an_unknown_status(text: str, by: PlanMap) -> None:
    try:
        wanted = replace(read_program(text), version=2)
    except Incorrect:
        return
    for item in standing(OLD):
        check(wanted, item, by)


@pytest.mark.parametrize("kind", KINDS)
def test_the_way_back_is_known_where_one_way_led_there(kind: str) -> None:
    back = PlanMap.inverse([{kind: {"a": "b", "c": "d"}}, {kind: {"e": "d"}}])
    assert back.as_json()[kind] == {"b": "a"}
