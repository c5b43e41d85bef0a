"""A concept that was right before is right again, and nothing else is taken for it."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_tracker.fhir import checks_memory
from fhir_tracker.fhir.checks import check
from fhir_tracker.fhir.checks_memory import LONGEST, MOST_KEPT
from tests.fhir.examples import examples

CODING = {"system": "http://loinc.org", "code": "8480-6", "display": "Systolic"}


def observation(code: object) -> dict[str, Any]:
    """An Observation of nobody; the data is synthetic."""
    return {"resourceType": "Observation", "status": "final", "code": code}


def kept() -> int:
    return len(checks_memory._right)


@pytest.fixture(autouse=True)
def forgetful() -> None:
    checks_memory._right.clear()


@pytest.mark.parametrize(
    "wrong",
    [
        {"coding": [CODING | {"display": 1}]},
        {"coding": [CODING | {"code": " 8480-6"}]},
        {"coding": [CODING | {"userSelected": 1}]},
        {"coding": [CODING, "text"]},
        {"coding": [CODING], "txt": "Systolic"},
        {"coding": [CODING], "text": ""},
        {"coding": [CODING], "text": {}},
        {"coding": {}},
        {"coding": [CODING | {"extension": []}]},
    ],
)
def test_what_is_wrong_stays_wrong_after_something_like_it_was_right(wrong: dict[str, Any]) -> None:
    right = (
        {"coding": [CODING]},
        {"coding": [CODING], "text": "Systolic"},
        {"coding": [CODING | {"userSelected": True}]},
    )
    for one in right:
        assert check(observation(one)) == ()
    first = check(observation(wrong))
    assert first
    assert check(observation(wrong)) == first


def test_the_examples_have_the_same_issues_twice() -> None:
    first = [check(one) for one in examples()]
    assert kept() > 0
    assert [check(one) for one in examples()] == first


def test_a_code_that_its_system_lacks_is_told_apart_by_who_owns_the_resource() -> None:
    unknown = {"coding": [{"system": "http://hl7.org/fhir/observation-status", "code": "made-up"}]}
    assert check(observation(unknown)) == ()
    task = {"resourceType": "Task", "status": "draft", "intent": "order", "code": unknown}
    assert [issue.code for issue in check(task)] == ["code-invalid"]
    assert "code-invalid" in {issue.code for issue in check(observation(unknown), warnings=True)}


def test_what_is_kept_is_short_and_bounded() -> None:
    check(observation({"text": "x", "coding": [{"code": "y", "display": "d" * LONGEST}]}))
    assert kept() == 0
    for number in range(MOST_KEPT + 10):
        check(observation({"coding": [{"code": f"c{number}"}]}))
    assert 0 < kept() <= MOST_KEPT


def test_the_same_concept_in_another_element_is_checked_there() -> None:
    assert check(observation({"coding": [CODING]})) == ()
    condition = {"resourceType": "Condition", "subject": {"display": "nobody"}, "clinicalStatus": {"coding": [CODING]}}
    assert [issue.expression for issue in check(condition)] == ["Condition.clinicalStatus"]
