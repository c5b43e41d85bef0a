"""What publishing a program writes is valid by HL7's validator, for every starter, one with all words, and three made to hurt."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fhir_tracker import program_resources
from fhir_tracker.fhir.body import write_json
from fhir_tracker.fhir.checks import check
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.rules.program_file import read_program
from fhir_tracker.rules.starters import starter_programs
from tests.peers.validator.run import running_validator
from tests.support.clinic import RING
from tests.support.hostile_programs import TEXTS, hostile

FULL = RING.replace(
    "tasks:\n",
    """goals:
  - {code: reached, title: The patient was spoken to within two days, target: {within: 2 days}}
  - code: a1c
    title: HbA1c under 8
    target: {measure: "http://loinc.org|4548-4", at_most: "8 %", within: 6 months}
tasks:
  - {code: check-in, title: Check in, role: rn, every: 1 month, goal: reached}
  - {code: thank, title: Thank the family, role: rn, starts: {after: first-call}}
""",
)


def artefacts() -> list[Resource]:
    """The definitions of every program, in every state, one with codes of versions before."""
    texts = [*starter_programs().values(), FULL, *(hostile(TEXTS[name]) for name in ("pipes", "quotes", "scripts"))]
    found: list[Resource] = []
    for version, text in enumerate(texts, start=1):
        program = replace(read_program(text), version=version, former={"gone": "paused"})
        for status in ("draft", "active", "retired"):
            found += program_resources.of_program(program, status)
    return found


@pytest.mark.peer
@pytest.mark.requirement(138)
def test_published_artefacts_have_no_errors_by_hl7s_validator() -> None:
    made = artefacts()
    types = {one["resourceType"] for one in made}
    assert types >= {"PlanDefinition", "ActivityDefinition", "CodeSystem", "ValueSet"}
    with running_validator(threads=2) as validator:
        said = validator.judge([write_json(one) for one in made])
    wrong = [
        (one["resourceType"], one["id"], each.location, each.message)
        for one, some in zip(made, said, strict=True)
        for each in some
        if each.wrong
    ]
    assert wrong == []


def test_published_artefacts_are_valid_by_our_own_check() -> None:
    wrong = [(one["id"], each) for one in artefacts() for each in check(one) if each.severity in ("error", "fatal")]
    assert wrong == []


def test_actions_say_who_when_why_and_after_what() -> None:
    program = replace(read_program(FULL), version=1)
    plan = next(
        one for one in program_resources.of_program(program, "active") if one["resourceType"] == "PlanDefinition"
    )
    actions = {one["id"]: one for one in plan["action"]}
    assert [one["id"] for one in plan["goal"]] == ["reached", "a1c"]
    assert plan["goal"][1]["target"][0]["detailRange"]["high"]["code"] == "%"
    assert actions["check-in"]["timingTiming"]["repeat"] == {"frequency": 1, "period": 1, "periodUnit": "mo"}
    assert actions["check-in"]["goalId"] == ["reached"]
    assert actions["thank"]["relatedAction"] == [{"actionId": "first-call", "relationship": "after-end"}]
    assert actions["reschedule"]["trigger"] == [{"type": "named-event", "name": "missed"}]
    assert actions["first-call"]["participant"][0]["role"]["coding"][0]["code"] == "care-coordinator"
