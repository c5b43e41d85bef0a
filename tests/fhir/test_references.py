"""References are told apart, found and rewritten (https://hl7.org/fhir/R4/references.html)."""

from __future__ import annotations

import copy

import pytest

from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.references import ReferenceKind, parse_reference, rewrite_references, walk_references
from tests.fhir.examples import examples

K = ReferenceKind
PARSED = [
    ("Patient/1", K.RELATIVE, "", "Patient", "1", ""),
    ("Patient/1/_history/2", K.RELATIVE, "", "Patient", "1", "2"),
    ("https://ehr.example/fhir/r4/Patient/a-1.b", K.ABSOLUTE, "https://ehr.example/fhir/r4", "Patient", "a-1.b", ""),
    ("http://h:8080/Task/1/_history/3", K.ABSOLUTE, "http://h:8080", "Task", "1", "3"),
    ("urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0", K.URN, "", "", "", ""),
    ("#p1", K.FRAGMENT, "", "", "p1", ""),
    ("#", K.FRAGMENT, "", "", "", ""),
    ("Patient?identifier=urn:x|1", K.CONDITIONAL, "", "Patient", "", ""),
    ("Patient?", K.CONDITIONAL, "", "Patient", "", ""),
    ("Nope/1", K.OTHER, "", "", "", ""),
    ("Patient/" + "x" * 65, K.OTHER, "", "", "", ""),
    ("https://ehr.example/binary?x=1", K.OTHER, "", "", "", ""),
    ("ftp://x/Patient/1", K.OTHER, "", "", "", ""),
    ("http://evil.example/x y", K.OTHER, "", "", "", ""),
    ("Patient/1\n", K.OTHER, "", "", "", ""),
    ("../Patient/1", K.OTHER, "", "", "", ""),
    ("Patient/", K.OTHER, "", "", "", ""),
    ("", K.OTHER, "", "", "", ""),
]


@pytest.mark.parametrize(("text", "kind", "base", "type_", "id_", "version"), PARSED)
def test_a_reference_is_told_apart(text: str, kind: K, base: str, type_: str, id_: str, version: str) -> None:
    found = parse_reference(text)
    assert (found.kind, found.base, found.type, found.id, found.version) == (kind, base, type_, id_, version)
    assert found.text == text


PLAN: Resource = {
    "resourceType": "CarePlan",
    "subject": {"reference": "Patient/1", "display": "Patient/1"},
    "description": "Patient/1",
    "contained": [
        {
            "resourceType": "Immunization",
            "patient": {"reference": "Patient/1"},
            "education": [{"reference": "Patient/1"}],
        },
        {"resourceType": "DetectedIssue", "reference": "Patient/1"},
    ],
    "extension": [
        {"url": "u", "valueReference": {"reference": "Patient/1"}},
        {"url": "Patient/1", "valueUri": "Patient/1"},
        {"url": "e", "valueExpression": {"language": "text/cql", "reference": "Patient/1"}},
    ],
    "activity": [{"reference": {"reference": "Task/1", "identifier": {"value": "Patient/1"}}}],
    "meta": {"source": "Patient/1"},
}


def test_every_reference_is_found_with_its_path() -> None:
    assert {path: holder["reference"] for path, holder in walk_references(PLAN)} == {
        "CarePlan.subject": "Patient/1",
        "CarePlan.contained[0].patient": "Patient/1",
        "CarePlan.extension[0].valueReference": "Patient/1",
        "CarePlan.activity[0].reference": "Task/1",
    }


def test_only_reference_strings_are_rewritten_and_the_original_is_kept() -> None:
    before = copy.deepcopy(PLAN)
    changed = rewrite_references(PLAN, lambda text: f"hapi-{text}")
    assert before == PLAN
    assert [holder["reference"] for _, holder in walk_references(changed)] == [
        f"hapi-{holder['reference']}" for _, holder in walk_references(PLAN)
    ]
    undone = rewrite_references(changed, lambda text: text.removeprefix("hapi-"))
    assert undone == PLAN
    assert list(undone) == list(PLAN)


def test_examples_without_a_change_come_back_as_they_are() -> None:
    for resource in examples():
        assert rewrite_references(resource, lambda text: text) is resource
