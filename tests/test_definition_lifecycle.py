from __future__ import annotations

import pytest

from fhir_tracker.definition_lifecycle import check_change, check_delete
from fhir_tracker.errors import RuleBroken
from fhir_tracker.fhir.json_types import Resource


def definition(**changed: object) -> Resource:
    fixed = {
        "resourceType": "PlanDefinition",
        "id": "p",
        "url": "https://example.org/p",
        "version": "1",
        "title": "Plan",
    }
    return {**fixed, "status": "draft", **changed}


@pytest.mark.requirement(138)
@pytest.mark.parametrize("after", ["draft", "active", "retired", "unknown"])
def test_a_draft_may_change_in_any_way(after: str) -> None:
    check_change(definition(), definition(status=after, title="Another", version="2"))


@pytest.mark.requirement(138)
@pytest.mark.parametrize(("before", "after"), [("active", "active"), ("active", "retired"), ("retired", "retired")])
def test_a_published_definition_may_retire_and_be_dated(before: str, after: str) -> None:
    check_change(definition(status=before), definition(status=after, date="2026-03-02", meta={"versionId": "7"}))


@pytest.mark.requirement(138)
@pytest.mark.parametrize(
    ("before", "after"),
    [("active", "draft"), ("active", "unknown"), ("retired", "active"), ("retired", "draft")],
)
def test_a_published_definition_never_goes_back(before: str, after: str) -> None:
    with pytest.raises(RuleBroken) as refused:
        check_change(definition(status=before), definition(status=after))
    assert refused.value.issues[0].expression == "PlanDefinition.status"


@pytest.mark.requirement(138)
@pytest.mark.parametrize("changed", [{"title": "Another"}, {"version": "2"}, {"action": [{"title": "Call"}]}])
def test_the_content_of_a_published_definition_stays(changed: Resource) -> None:
    for status in ("active", "retired"):
        with pytest.raises(RuleBroken) as refused:
            check_change(definition(status=status), definition(status=status, **changed))
        assert refused.value.issues[0].expression == f"PlanDefinition.{next(iter(changed))}"


def test_a_definition_without_an_address_and_other_types_are_nobodys_version() -> None:
    nameless = {name: value for name, value in definition(status="active").items() if name != "url"}
    check_change(nameless, nameless | {"title": "Another"})
    measure = definition(status="active", resourceType="Measure")
    check_change(measure, measure | {"title": "Another"})


def published(type_: str, **changed: object) -> Resource:
    fixed = {
        "resourceType": type_,
        "id": "ring",
        "url": f"https://fhir-tracker.example/{type_}/ring",
        "status": "active",
    }
    return {**fixed, **changed}


@pytest.mark.requirement(138)
@pytest.mark.parametrize("type_", ["PlanDefinition", "ActivityDefinition", "CodeSystem", "ValueSet", "Questionnaire"])
def test_what_a_program_is_published_as_changes_by_nobodys_write(type_: str) -> None:
    before = published(type_)
    check_change(before, before | {"meta": {"versionId": "9"}, "text": {"status": "empty"}})
    for changed in ({"status": "retired"}, {"status": "draft"}, {"title": "Mine"}, {"url": "https://example.org/mine"}):
        with pytest.raises(RuleBroken, match="publish another version"):
            check_change(before, before | changed)
    with pytest.raises(RuleBroken, match="publish another version"):
        check_change(published(type_, status="draft"), published(type_, status="active"))
    with pytest.raises(RuleBroken, match="publish another version"):
        check_delete(before)
    check_delete(before | {"url": "https://example.org/mine"})
    check_delete(before | {"url": f"https://fhir-tracker.example.org/{type_}/ring"})
