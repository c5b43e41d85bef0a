"""A CarePlan as a work item and as the facts rules need."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from fhir_tracker.fhir.dates import instant
from fhir_tracker.model.plan import anchor_extension, plan_facts, plan_item
from fhir_tracker.model.vocabulary import PLAN_ANCHOR, PLAN_STAGE
from fhir_tracker.rules.program_file import read_program
from tests.support.clinic import MONDAY, RING

PROGRAM = replace(read_program(RING), version=3)
DAY = timedelta(days=1)


def plan(**members: object) -> dict[str, Any]:
    base = {"resourceType": "CarePlan", "id": "p", "status": "active", "intent": "plan", "created": instant(MONDAY)}
    return base | {"subject": {"reference": "Patient/ann"}} | members


def test_a_plan_is_work_in_its_stage() -> None:
    extension = [{"url": PLAN_STAGE, "valueCode": "withdrawn"}]
    item = plan_item(
        plan(status="revoked", extension=extension, author={"reference": "Practitioner/n"}),
        PROGRAM,
        created_at=MONDAY + DAY,
    )
    assert (item.ref, item.kind, item.plan, item.patient) == ("CarePlan/p", "plan", "CarePlan/p", "ann")
    assert (item.program, item.program_version, item.status, item.owner) == ("ring", 3, "withdrawn", "Practitioner/n")
    assert (item.title, item.created_at) == (PROGRAM.title, MONDAY)


@pytest.mark.parametrize(
    ("status", "stage", "clock", "is_open"),
    [
        ("active", "enrolled", "running", True),
        ("on-hold", "on-hold", "paused", True),
        ("completed", "completed", "stopped", False),
        ("revoked", "withdrawn", "stopped", False),
        ("entered-in-error", "entered-in-error", "stopped", False),
    ],
)
def test_without_a_stage_of_its_own_the_status_tells_it(status: str, stage: str, clock: str, is_open: bool) -> None:
    item = plan_item(plan(status=status), PROGRAM, created_at=MONDAY)
    assert (item.status, item.clock, item.open) == (stage, clock, is_open)


@pytest.mark.parametrize(
    ("status", "stage"),
    [("active", "enrolled"), ("revoked", "withdrawn"), ("completed", "completed"), ("on-hold", "enrolled")],
)
def test_a_status_of_another_stage_outweighs_the_stage_a_plan_had(status: str, stage: str) -> None:
    had = [{"url": PLAN_STAGE, "valueCode": "enrolled"}]
    assert plan_item(plan(status=status, extension=had), PROGRAM, created_at=MONDAY).status == stage


def test_anchors_are_read_as_they_were_written() -> None:
    body = plan(extension=[anchor_extension("discharge", instant(MONDAY - DAY))])
    facts = plan_facts(body, plan_item(body, PROGRAM, created_at=MONDAY))
    assert facts.anchors == {"enrolment": MONDAY, "discharge": MONDAY - DAY}
    assert (facts.stage, facts.status, facts.started) == ("enrolled", "active", MONDAY)


@pytest.mark.parametrize(
    "inner", [None, [], "x", [{"url": "name", "valueCode": "a"}], [{"url": "at", "valueDateTime": "never"}]]
)
def test_an_anchor_of_any_other_shape_is_passed_over(inner: object) -> None:
    body = plan(extension=[{"url": PLAN_ANCHOR, "extension": inner}])
    assert plan_facts(body, plan_item(body, PROGRAM, created_at=MONDAY)).anchors == {"enrolment": MONDAY}
