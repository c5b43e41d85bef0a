"""Narratives, outcomes and coded values are built so that they pass our own checks."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from fhir_tracker.errors import Issue
from fhir_tracker.fhir.checks import check
from fhir_tracker.fhir.codeable import codings, concept, first_code, identifiers, reference, text_of
from fhir_tracker.fhir.json_types import Json, Resource
from fhir_tracker.fhir.narrative import narrative
from fhir_tracker.fhir.outcome import operation_outcome


def test_a_narrative_escapes_what_it_is_given() -> None:
    built = narrative("Task", "<script>alert(1)</script>", [("Owner & co", '"x" <b>\x00\x0b'), ("", "é")])
    root = ET.fromstring(built["div"])  # noqa: S314 - our own output
    assert "".join(root.itertext()) == '<script>alert(1)</script>Owner & co"x" <b>é'
    assert root.tag == "{http://www.w3.org/1999/xhtml}div"
    task: Resource = {"resourceType": "Task", "status": "draft", "intent": "plan", "text": built}
    assert check(task) == ()
    assert "<table" not in narrative("Task", "", [])["div"]


def test_an_outcome_says_its_issues_and_is_valid() -> None:
    issues = (Issue(message="Task.status is missing.", code="required", expression="Task.status"), Issue(message="b"))
    outcome = operation_outcome(issues)
    assert check(outcome) == ()
    assert [row["code"] for row in outcome["issue"]] == ["required", "invalid"]
    assert outcome["issue"][0]["expression"] == ["Task.status"]
    assert operation_outcome(())["issue"][0]["severity"] == "information"
    assert check(operation_outcome(())) == ()


def test_codings_are_read_from_anything_of_that_shape() -> None:
    built = concept("http://s", "a", "A", text="An A")
    assert codings(built) == (("http://s", "a"),)
    assert codings([built, {"code": "b"}]) == (("http://s", "a"), ("", "b"))
    assert first_code(built) == "a"
    assert first_code(built, "http://other") is None
    assert text_of(built) == "An A"
    assert text_of(concept("http://s", "a", "A")) == "A"
    assert text_of(concept("http://s", "a")) == "a"


@pytest.mark.parametrize("wrong", [None, 5, "x", [], {}, {"coding": 5}, {"coding": [5]}, {"code": 5}], ids=repr)
def test_a_wrong_shape_has_no_codings(wrong: Json) -> None:
    assert codings(wrong) == ()
    assert text_of(wrong) == ""
    assert first_code(wrong) is None


def test_references_and_identifiers() -> None:
    assert reference("Patient", "1") == {"reference": "Patient/1"}
    assert reference("Patient", "1", "P") == {"reference": "Patient/1", "display": "P"}
    assert identifiers({"identifier": [{"system": "s", "value": "1"}, {"value": "2"}, {"system": "s"}, 5]}) == (
        ("s", "1"),
        ("", "2"),
    )
    assert identifiers({"identifier": {"system": "s", "value": "1"}}) == (("s", "1"),)
    assert identifiers({}) == ()
