"""What a search may ask: limits, escapes, what is passed over, and what a refusal says."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_tracker.errors import Incorrect
from fhir_tracker.fhir.query import Include, SortKey, parse_query, parse_system_query
from fhir_tracker.fhir.query_values import (
    DateValue,
    NumberValue,
    QuantityValue,
    ReferenceValue,
    StringValue,
    TokenValue,
    escaped,
    split,
    unescape,
)
from fhir_tracker.fhir.subsets import Subset
from tests.storage.samples import pairs


def only_value(type_: str, text: str) -> object:
    return parse_query(type_, pairs(text), strict=True, own_base="http://here/fhir/").filters[0].values[0]


@pytest.mark.parametrize(
    ("type_", "text", "expected"),
    [
        ("Task", "status=done", TokenValue(system=None, code="done")),
        ("Task", "code=s|c", TokenValue(system="s", code="c")),
        ("Task", "code=|c", TokenValue(system="", code="c")),
        ("Task", "code=s|", TokenValue(system="s", code=None)),
        ("Task", "code=a\\|b", TokenValue(system=None, code="a|b")),
        ("Task", "patient=7", ReferenceValue(targets=("Patient/7",))),
        ("Task", "subject:Group=7", ReferenceValue(targets=("Group/7",))),
        ("Task", "subject=Group/7/_history/2", ReferenceValue(targets=("Group/7",))),
        ("Task", "subject=http://here/fhir/Group/7", ReferenceValue(targets=("Group/7",))),
        ("Task", "subject=http://there/fhir/Group/7", ReferenceValue(targets=("http://there/fhir/Group/7",))),
        ("Task", "authored-on=ge1970-01-01T00:00:01Z", DateValue(prefix="ge", low=1000, high=2000)),
        ("RiskAssessment", "probability=gt0.5", NumberValue(prefix="gt", value=0.5, low=0.45, high=0.55)),
        (
            "Observation",
            "value-quantity=5||mg",
            QuantityValue(number=NumberValue(prefix="eq", value=5, low=4.5, high=5.5), system=None, unit="mg"),
        ),
        ("Patient", "name=É\\,x", StringValue(folded="e,x", text="É,x")),
    ],
)
def test_a_value_is_read_by_the_type_of_its_parameter(type_: str, text: str, expected: object) -> None:
    assert only_value(type_, text) == expected


@pytest.mark.parametrize(
    ("type_", "text", "said"),
    [
        ("Task", "authored-on=yesterday", "authored-on"),
        ("Task", "authored-on=2026-13-01", "authored-on"),
        ("Task", "authored-on=xx2026", "authored-on"),
        ("Task", "_lastUpdated=now", "_lastUpdated"),
        ("Task", "code=a|b|c", "code"),
        ("Task", "code=|", "system|code"),
        ("Task", "code:in=x", ":not, :missing"),
        ("Task", "code:of-type=x|y|z", ":not, :missing"),
        ("Task", "identifier:text=x", ":of-type"),
        ("Task", "identifier:of-type=x|z", "system|code|value"),
        ("Task", "code:missing=maybe", "true or false"),
        ("Task", "patient:Nobody=1", ":identifier, :missing and a resource type"),
        ("Task", "subject:Patient=Group/1", "not to a Patient"),
        ("Task", "authored-on:exact=2026", ":missing"),
        ("Task", "_id:exact=1", "_id"),
        ("Task", "status.name=x", "no reference"),
        ("Task", "subject.colour=x", "colour"),
        ("Task", "patient:Practitioner.name=x", "does not refer"),
        ("Task", "subject:Patient.birthdate=soon", "birthdate"),
        ("Task", "part-of.part-of.part-of.part-of.status=x", "up to 3"),
        ("Task", "_has:Observation:patient:code=x", "does not refer to Task"),
        ("Task", "_has:Task:status:code=x", "no reference parameter"),
        ("Task", "_has:Nothing:based-on:code=x", "no reference parameter"),
        ("Task", "_has:Task:based-on=x", "_has:Type:reference:parameter"),
        ("Task", "_has:Task:based-on:colour=x", "colour"),
        ("Task", "_count=many", "_count"),
        ("Task", "_count=-1", "_count"),
        ("Task", "_count=²", "_count"),
        ("Task", "_sort=nothing", "_sort"),
        ("Observation", "_sort=code-value-quantity", "date, string"),
        ("Task", "_sort=" + ",".join(["_id"] * 6), "up to 5"),
        ("Task", "_total=all", "_total"),
        ("Task", "_summary=most", "_summary"),
        ("Task", "_elements=a b", "_elements"),
        ("Task", "_elements=,", "_elements"),
        ("Task", "_elements=status&_summary=text", "not both"),
        ("Task", "_include=Task", "Type:parameter"),
        ("Task", "_include=Patient:link", "from Patient"),
        ("Task", "_revinclude=Nothing:patient", "Type:parameter"),
        ("Task", "code=a\0b", "character"),
        ("Task", "code=\ud800", "character"),
        ("Task", "code=" + "x" * 2001, "longer"),
        ("Task", "code=" + ",".join("x" * 201), "200"),
        ("Task", "code=,", "1 to 200"),
        ("Task", "&".join(["code=x"] * 51), "up to 50"),
        ("Observation", "value-quantity=5|mg", "number|system|unit"),
        ("Observation", "value-quantity=NaN", "value-quantity"),
        ("Observation", "value-quantity=1e999", "value-quantity"),
        ("Observation", "code-value-quantity=5", "2 values"),
        ("Patient", "name=\u0301", "at least one"),
    ],
)
def test_a_wrong_value_is_refused_naming_the_parameter_or_what_is_right(type_: str, text: str, said: str) -> None:
    for strict in (True, False):
        with pytest.raises(Incorrect) as raised:
            parse_query(type_, pairs(text), strict=strict)
        assert said in raised.value.message


def test_what_is_not_known_is_passed_over_and_told_or_refused() -> None:
    text = "status=x&color=red&_text=pain&color=blue&_score=1&_format=json&code="
    query = parse_query("Task", pairs(text), strict=False)
    assert query.ignored == ("color", "_text", "_score")
    assert query.applied == (("status", "x"),)
    with pytest.raises(Incorrect, match="color"):
        parse_query("Task", pairs(text), strict=True)


def test_how_the_answer_is_wanted() -> None:
    text = "_count=5000&_sort=-_lastUpdated,authored-on&_total=accurate&_include=Task:patient:Patient&_revinclude=Flag:subject"
    query = parse_query("Task", pairs(text), strict=True)
    assert (query.count, query.total, query.only_count) == (1000, "accurate", False)
    assert query.sort == (
        SortKey(param="_lastUpdated", type="instant", descending=True),
        SortKey(param="authored-on", type="date"),
    )
    assert query.includes == (
        Include(source="Task", param="patient", target="Patient"),
        Include(source="Flag", param="subject", reverse=True),
    )
    assert parse_query("Task", pairs("_count=0"), strict=True).only_count
    assert parse_query("Task", pairs("_summary=count"), strict=True).only_count
    query = parse_query("Task", pairs("_count=5000&_elements=status,for&_elements=code"), strict=True)
    assert (query.subset, query.only_count) == (Subset(elements=("status", "for", "code")), False)
    assert query.applied == (("_count", "1000"), ("_elements", "status,for"), ("_elements", "code"))
    assert parse_query("Task", pairs("_summary=text"), strict=True).subset == Subset(summary="text")


def test_pages_of_one_walk_share_a_fingerprint_and_other_searches_do_not() -> None:
    texts = ("status=a", "status=a&_count=3", "status=b", "status=a&_sort=_id")
    prints = [parse_query("Task", pairs(text), strict=True).fingerprint for text in texts]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 3
    assert parse_query("Patient", [], strict=True).fingerprint != parse_query("Task", [], strict=True).fingerprint


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=8), min_size=1, max_size=5))
def test_escaped_parts_come_out_of_a_split_as_they_went_in(parts: list[str]) -> None:
    assert [unescape(part) for part in split(",".join(map(escaped, parts)), ",")] == parts


@given(st.lists(st.tuples(st.text(max_size=20), st.text(max_size=40)), max_size=5), st.booleans())
def test_no_text_makes_the_parser_fail_otherwise_than_by_saying_so(given_: list[tuple[str, str]], strict: bool) -> None:
    names = [
        "subject.name", "focus.subject:Patient.", "_has:Task:part-of:code", "_has:", "_has:Task", "..", "owner:.x", "_include:iterate",
        "identifier:of-type", "_elements", "_summary",
    ]  # fmt: skip
    names += ["status", "authored-on", "patient", "due", "_sort", "_count", "_include", "_lastUpdated", "code:not"]
    tried = given_ + [(names[index % len(names)], value) for index, (_, value) in enumerate(given_)]
    for type_ in ("Task", "Observation"):
        with suppress(Incorrect):
            assert parse_query(type_, tried, strict=strict).type == type_
    with suppress(Incorrect):
        parse_system_query(tried, strict=strict)
