"""Answers of a form: nested, weighted, of every type, wrong, and kept as text without a loss."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_tracker.model.answers import MOST, ORDINAL, Answer, answers_of, as_text, from_text

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=6) | st.just("q1"),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from("item answer linkId valueCoding valueInteger code system display extension url".split()),
            inner,
        )
    ),
    max_leaves=30,
)


def answered(link: str, **value: Any) -> dict[str, Any]:
    return {"linkId": link, "answer": [value]}


def test_answers_are_found_in_groups_and_under_answers_in_the_order_of_the_form() -> None:
    coded = {
        "system": "urn:s",
        "code": "LA6570-1",
        "display": "Several days",
        "extension": [{"url": ORDINAL[0], "valueDecimal": 1}],
    }
    form = {
        "item": [
            {"linkId": "g", "item": [answered("q1", valueCoding=coded), answered("q2", valueInteger=3)]},
            {"linkId": "q3", "answer": [{"valueBoolean": True, "item": [answered("q3a", valueString="since May")]}]},
            answered("q4", valueQuantity={"value": Decimal("7.50")}),
        ]
    }
    assert answers_of(form) == (
        Answer(link="q1", code="urn:s|LA6570-1", weight=Decimal(1), text="Several days"),
        Answer(link="q2", number=Decimal(3)),
        Answer(link="q3", number=Decimal(1), text="true"),
        Answer(link="q3a", text="since May"),
        Answer(link="q4", number=Decimal("7.50")),
    )


def test_no_more_than_the_most_are_read_however_deep() -> None:
    deep: dict[str, Any] = {"linkId": "x"}
    for _ in range(3000):
        deep = {"linkId": "x", "answer": [{"valueInteger": 1}], "item": [deep]}
    assert len(answers_of({"item": [deep]})) == MOST


@given(resource=st.fixed_dictionaries({"item": JSON}))
@settings(max_examples=200, deadline=None)
def test_any_response_gives_answers_that_survive_being_kept(resource: dict[str, Any]) -> None:
    found = answers_of(resource)
    assert from_text(as_text(found)) == found
