"""Summaries and chosen elements, on every official example.

https://hl7.org/fhir/R4/search.html#summary
"""

from __future__ import annotations

from typing import Any

import pytest

from fhir_tracker.errors import Incorrect
from fhir_tracker.fhir.body import read_json, write_json
from fhir_tracker.fhir.checks import check
from fhir_tracker.fhir.definitions.registry import elements, resource_types, summary_elements
from fhir_tracker.fhir.subsets import SUBSETTED, WHOLE, Subset, read_subset, subset_of, subset_text
from tests.fhir.examples import examples

TASK: dict[str, Any] = {
    "resourceType": "Task",
    "id": "t1",
    "meta": {"versionId": "3", "tag": [{"code": "mine"}]},
    "text": {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">x</div>'},
    "extension": [{"url": "http://x", "valueDecimal": 1}],
    "modifierExtension": [{"url": "http://x", "valueString": "careful"}],
    "status": "requested",
    "_status": {"id": "s"},
    "intent": "order",
    "code": {"text": "call", "extension": [{"url": "http://x", "valueString": "x"}]},
    "for": {"reference": "Patient/p1", "id": "r"},
    "restriction": {"repetitions": 2},
    "note": [{"text": "words"}],
    "input": [{"type": {"text": "x"}, "valueString": "y"}],
}


def members(subset: Subset, body: dict[str, Any] = TASK) -> list[str]:
    return list(subset_of(body, subset))


def test_a_summary_keeps_what_the_definitions_mark() -> None:
    found = subset_of(TASK, Subset(summary="true"))
    assert list(found) == ["resourceType", "id", "meta", "status", "_status", "intent", "code", "for"]
    assert found["code"] == {"text": "call"}
    assert found["for"] == {"reference": "Patient/p1"}
    assert found["meta"] == {"versionId": "3", "tag": [{"code": "mine"}, dict(SUBSETTED)]}


def test_text_keeps_the_narrative_and_what_is_mandatory() -> None:
    kept = ["resourceType", "id", "meta", "text", "modifierExtension", "status", "_status", "intent"]
    assert members(Subset(summary="text")) == kept


def test_data_leaves_out_the_narrative_alone() -> None:
    assert members(Subset(summary="data")) == [name for name in TASK if name != "text"]


@pytest.mark.parametrize(
    ("asked", "more"),
    [
        (["code"], ["code"]),
        (["code,for"], ["code", "for"]),
        (["code", "note"], ["code", "note"]),
        (["Task.code"], ["code"]),
        (["code.coding"], ["code"]),
        ([" code , nonsense"], ["code"]),
        (["Patient.name,for"], ["for"]),
        (["id,meta,status"], []),
    ],
)
def test_chosen_elements_come_with_the_mandatory_ones(asked: list[str], more: list[str]) -> None:
    always = ["resourceType", "id", "meta", "modifierExtension", "status", "_status", "intent"]
    assert set(members(read_subset([], asked))) == {*always, *more}


def test_a_contained_resource_stays_while_something_that_stays_refers_to_it() -> None:
    contained = [
        {"resourceType": "Practitioner", "id": "owner"},
        {"resourceType": "Practitioner", "id": "unused"},
        {"resourceType": "Organization", "id": "behind"},
        {"resourceType": "Location", "id": "place", "managingOrganization": {"reference": "#behind"}},
    ]
    body = TASK | {"contained": contained, "owner": {"reference": "#owner"}, "location": {"reference": "#place"}}
    assert [one["id"] for one in subset_of(body, Subset(summary="true"))["contained"]] == ["owner", "place", "behind"]
    assert [one["id"] for one in subset_of(body, read_subset([], ["owner"]))["contained"]] == ["owner"]
    assert "contained" not in subset_of(body, read_subset([], ["code"]))


def test_a_choice_is_chosen_by_its_name_or_by_its_form() -> None:
    body = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "x"},
        "valueString": "y",
        "_valueString": {},
    }
    for name in ("value", "value[x]", "valueString"):
        assert "valueString" in members(read_subset([], [name]), body)
        assert "_valueString" in members(read_subset([], [name]), body)
    assert "valueString" not in members(read_subset([], ["valueQuantity"]), body)


def test_elements_of_one_type_leave_others_whole_and_included_resources_are_cut_only_by_name() -> None:
    patient = {"resourceType": "Patient", "id": "p", "gender": "other", "active": True}
    assert subset_of(TASK, read_subset([], ["Patient.gender"])) is TASK
    assert subset_of(patient, read_subset([], ["status"]), is_match=False) is patient
    cut = subset_of(patient, read_subset([], ["status,Patient.gender"]), is_match=False)
    assert list(cut) == ["resourceType", "id", "meta", "gender"]


@pytest.mark.parametrize("summary", ["true", "text", "data"])
def test_every_example_cut_down_is_still_valid_and_tagged(summary: str) -> None:
    sound = [body for body in examples() if not check(body)]
    assert len(sound) > 100
    for body in sound:
        cut = subset_of(body, Subset(summary=summary))
        wrong = [one for one in check(cut) if one.severity == "error"]
        if summary == "text":
            wrong = [one for one in wrong if one.code != "invariant"]
        assert wrong == [], body["resourceType"]
        assert dict(SUBSETTED) in cut["meta"]["tag"]
        required = {one.name for one in elements(body["resourceType"]).values() if one.required and not one.is_choice}
        assert required <= set(cut)
        assert ("text" in cut) == (summary == "text" and "text" in body)
        allowed = summary_elements(body["resourceType"]) | required | {"resourceType", "contained"}
        if summary == "true":
            plain = {name for name in cut if not name.startswith("_")}
            assert {
                name for name in plain if not any(name.startswith(one.removesuffix("[x]")) for one in allowed)
            } == set()


def test_the_stored_text_is_served_as_it_is_when_all_is_wanted_and_digits_stay_when_not() -> None:
    text = '{"resourceType":"Basic", "id":"b","code":{"text":"x"},"extension":[{"url":"http://example.org/u","valueDecimal":1.00}]}'
    assert subset_text(text, WHOLE) is text
    assert subset_text(text, Subset(summary="count")) is text
    assert '"valueDecimal":1.00' in subset_text(text, read_subset([], ["extension"]))


def test_a_cut_of_a_cut_is_the_same() -> None:
    for body in examples():
        once = subset_of(body, Subset(summary="true"))
        assert write_json(subset_of(read_json(write_json(once).encode()), Subset(summary="true"))) == write_json(once)


@pytest.mark.parametrize(
    ("summaries", "names"), [(["all"], []), (["TRUE"], []), (["true"], ["id"]), (["text"], ["id"])]
)
def test_what_cannot_be_is_refused(summaries: list[str], names: list[str]) -> None:
    with pytest.raises(Incorrect):
        read_subset(summaries, names)


def test_every_type_has_a_summary_table() -> None:
    for type_ in resource_types():
        assert {"id", "meta"} <= summary_elements(type_)
        assert summary_elements(type_) <= {*elements(type_)}
