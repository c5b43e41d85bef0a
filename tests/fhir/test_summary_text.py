"""Narratives made from the elements of a resource: what they say, what they leave out, and when they are made."""

from __future__ import annotations

import re
from typing import Any

import pytest

from fhir_tracker.fhir.body import read_json
from fhir_tracker.fhir.checks import check
from fhir_tracker.fhir.summary_text import LONGEST_VALUE, MOST_ROWS, summary, with_text_in_step
from tests.fhir.examples import example, example_names

PLAN: dict[str, Any] = {
    "resourceType": "CarePlan",
    "id": "p",
    "meta": {"versionId": "7"},
    "text": {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">old</div>'},
    "extension": [{"url": "http://example.org/secret", "valueString": "not told"}],
    "status": "active",
    "intent": "plan",
    "title": "Walking",
    "subject": {"reference": "Patient/1", "display": "A. Synthetic"},
    "period": {"start": "2026-01-01"},
    "category": [{"coding": [{"system": "http://x", "code": "assess-plan", "display": "Assess"}]}, {"text": "other"}],
    "activity": [
        {"reference": {"reference": "Task/1", "display": "First call"}},
        {
            "detail": {
                "status": "scheduled",
                "description": "Walk <b>daily</b>",
                "dailyAmount": {"value": 2, "unit": "km"},
            }
        },
    ],
}


def rows(narrative: dict[str, Any]) -> list[tuple[str, str]]:
    return re.findall("<tr><th>(.*?)</th><td>(.*?)</td></tr>", narrative["div"])


def test_a_summary_has_a_line_for_each_element_in_words() -> None:
    told = summary(PLAN)
    assert told["status"] == "generated"
    assert "<p><b>Walking</b></p>" in told["div"]
    assert {
        ("Status", "active"),
        ("Intent", "plan"),
        ("Category", "Assess"),
        ("Category", "other"),
        ("Title", "Walking"),
        ("Subject", "A. Synthetic"),
        ("Period", "2026-01-01 to"),
        ("Activity", "First call"),
        ("Activity", "scheduled, Walk &lt;b&gt;daily&lt;/b&gt;, 2, km"),
    } == set(rows(told))
    assert "not told" not in told["div"]


def test_choices_numbers_and_truths_are_told() -> None:
    body = read_json(
        b'{"resourceType":"Observation","status":"final","code":{"text":"Weight"},"valueQuantity":{"value":1.50,"unit":"kg"},'
        b'"component":[{"code":{"text":"ok"},"valueBoolean":true}]}'
    )
    assert rows(summary(body)) == [
        ("Status", "final"),
        ("Code", "Weight"),
        ("Value", "1.50, kg"),
        ("Component", "ok, yes"),
    ]


def test_a_summary_stays_small_whatever_it_tells() -> None:
    notes = [{"text": "x" * 10_000}] * 500
    told = summary({"resourceType": "Task", "status": "draft", "intent": "order", "note": notes})
    assert len(rows(told)) == MOST_ROWS
    assert all(len(text) <= LONGEST_VALUE + 1 for _, text in rows(told))
    deep: Any = "x"
    for _ in range(60):
        deep = {"item": [deep]}
    assert summary({"resourceType": "Questionnaire", "status": "draft", "item": [deep]})


def test_only_a_generated_text_that_was_left_behind_is_made_anew() -> None:
    changed = PLAN | {"status": "revoked"}
    assert "revoked" in with_text_in_step(PLAN, changed)["text"]["div"]
    assert with_text_in_step(PLAN, dict(PLAN)) == PLAN
    own = changed | {"text": {"status": "generated", "div": "<div>mine</div>"}}
    assert with_text_in_step(PLAN, own) == own
    bare = {name: value for name, value in changed.items() if name != "text"}
    assert with_text_in_step(PLAN, bare) == bare
    spoken = PLAN | {"text": {"status": "additional", "div": PLAN["text"]["div"]}}
    assert with_text_in_step(spoken, spoken | {"status": "revoked"})["text"] == spoken["text"]


@pytest.mark.parametrize("name", example_names()[::4])
def test_the_summary_of_an_official_example_is_valid(name: str) -> None:
    shown = {"resourceType": "Basic", "code": {"text": "x"}, "text": summary(example(name))}
    assert [issue for issue in check(shown) if issue.severity in ("error", "fatal")] == []
