"""Every kind of parameter with every modifier and prefix: read to a known form, or refused saying what is supported.

https://hl7.org/fhir/R4/search.html#modifiers
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_tracker.errors import Incorrect
from fhir_tracker.fhir.dates import date_range
from fhir_tracker.fhir.definitions.registry import resource_types
from fhir_tracker.fhir.own_parameters import parameters_of
from fhir_tracker.fhir.quantities import decimal_range
from fhir_tracker.fhir.query import (
    DEFAULT_COUNT,
    LONGEST_VALUE,
    MODIFIERS,
    MOST_ALTERNATIVES,
    MOST_COUNT,
    MOST_PARAMETERS,
    SORTED_BY,
    Filter,
    Include,
    Link,
    Query,
    SortKey,
    parse_query,
    parse_system_query,
)
from fhir_tracker.fhir.query_values import (
    PREFIXES,
    CompositeValue,
    DateValue,
    NearValue,
    NumberValue,
    QuantityValue,
    ReferenceValue,
    StringValue,
    TokenValue,
    UriValue,
    escaped,
    split,
    unescape,
)
from fhir_tracker.fhir.search_values import unindexed_reason

BASE = "http://here/fhir"
# search type -> a resource type, its parameter, a value, and what that value is read as
KINDS: dict[str, tuple[str, str, str, object]] = {
    "token": ("Task", "code", "s|c", TokenValue(system="s", code="c")),
    "reference": ("Task", "subject", "Patient/1", ReferenceValue(targets=("Patient/1",))),
    "string": ("Patient", "family", "Ash", StringValue(folded="ash", text="Ash")),
    "date": ("Task", "due", "2026-03", DateValue(prefix="eq", low=1772323200000, high=1775001600000)),
    "number": ("RiskAssessment", "probability", "0.5", NumberValue(prefix="eq", value=0.5, low=0.45, high=0.55)),
    "quantity": (
        "Observation",
        "value-quantity",
        "5|http://u|mg",
        QuantityValue(number=NumberValue(prefix="eq", value=5, low=4.5, high=5.5), system="http://u", unit="mg"),
    ),
    "uri": ("PlanDefinition", "url", "http://x", UriValue(uri="http://x")),
    "special": ("Location", "near", "42.5|-83.25|10|km", NearValue(latitude=42.5, longitude=-83.25, kilometres=10)),
    "composite": (
        "Observation",
        "code-value-quantity",
        "c$5",
        CompositeValue(
            parts=(
                TokenValue(system=None, code="c"),
                QuantityValue(number=NumberValue(prefix="eq", value=5, low=4.5, high=5.5), system=None, unit=None),
            )
        ),
    ),
}
EVERY_MODIFIER = (
    *(
        "missing",
        "exact",
        "contains",
        "text",
        "not",
        "above",
        "below",
        "in",
        "not-in",
        "of-type",
        "identifier",
        "iterate",
    ),
    *("Patient", "Group", "Nobody", "MISSING", "x:y", " "),
)


def parsed(type_: str, *pairs: tuple[str, str], strict: bool = True) -> Query:
    return parse_query(type_, pairs, strict=strict, own_base=BASE)


def refusal(type_: str, *pairs: tuple[str, str]) -> str:
    with pytest.raises(Incorrect) as caught:
        parsed(type_, *pairs)
    with pytest.raises(Incorrect):
        parsed(type_, *pairs, strict=False)
    return caught.value.message


def test_the_table_has_every_kind_of_parameter() -> None:
    assert KINDS.keys() == MODIFIERS.keys()
    assert all(parameters_of(type_)[code].type == kind for kind, (type_, code, _, _) in KINDS.items())


@pytest.mark.requirement(19, 24)
@pytest.mark.parametrize("kind", KINDS)
def test_a_plain_value_is_read_as_its_kind(kind: str) -> None:
    type_, code, text, value = KINDS[kind]
    query = parsed(type_, (code, text))
    assert query.filters == (Filter(param=code, type=kind, values=(value,)),)  # type: ignore[arg-type]
    assert query.applied == ((code, text),)
    twice = parsed(type_, (code, f"{text},{text}"), (code, text))
    assert [len(one.values) for one in twice.filters] == [2, 1]


@pytest.mark.requirement(19, 22)
@pytest.mark.parametrize(("kind", "modifier"), list(product(KINDS, EVERY_MODIFIER)))
def test_each_modifier_is_taken_or_refused_naming_those_there_are(kind: str, modifier: str) -> None:
    type_, code, text, value = KINDS[kind]
    name = f"{code}:{modifier}"
    if modifier == "missing":
        for said in ("true", "false"):
            expected = Filter(param=code, type=kind, modifier="missing", missing=said == "true")
            assert parsed(type_, (name, said)).filters == (expected,)
        assert "true or false" in refusal(type_, (name, "1"))
    elif modifier in MODIFIERS[kind]:
        read = TokenValue(system="s", code="c") if modifier == "identifier" else value
        given_ = "s|c" if modifier == "identifier" else text
        expected = Filter(param=code, type=kind, values=(read,), modifier=modifier)  # type: ignore[arg-type]
        assert parsed(type_, (name, given_)).filters == (expected,)
    elif kind == "reference" and modifier in resource_types():
        (found,) = parsed(type_, (name, "7")).filters
        assert (found.values, found.modifier) == ((ReferenceValue(targets=(f"{modifier}/7",)),), modifier)
    else:
        message = refusal(type_, (name, text))
        assert all(f":{known}" in message for known in MODIFIERS[kind]), message
        assert ("a resource type" in message) == (kind == "reference")


@pytest.mark.requirement(19, 24)
@pytest.mark.parametrize("prefix", PREFIXES)
def test_dates_numbers_and_quantities_take_every_prefix(prefix: str) -> None:
    low, high = date_range("2026-03")
    assert parsed("Task", ("due", f"{prefix}2026-03")).filters[0].values == (
        DateValue(prefix=prefix, low=low, high=high),
    )
    (number,) = parsed("RiskAssessment", ("probability", f"{prefix}0.5")).filters[0].values
    assert number == NumberValue(prefix=prefix, value=0.5, low=0.45, high=0.55)
    (quantity,) = parsed("Observation", ("value-quantity", f"{prefix}5||mg")).filters[0].values
    assert isinstance(quantity, QuantityValue)
    assert (quantity.number.prefix, quantity.system, quantity.unit) == (prefix, None, "mg")
    (moment,) = parsed("Task", ("_lastUpdated", f"{prefix}2026-03")).filters[0].values
    assert moment == DateValue(prefix=prefix, low=low, high=high)


@pytest.mark.parametrize("prefix", ["xx", "EQ", "Ge", "e", "=", ">", ">=", "lte", "gege", " ge"])
@pytest.mark.parametrize(("kind", "value"), [("date", "2026-03"), ("number", "0.5"), ("quantity", "5||mg")])
def test_what_is_no_prefix_is_refused(kind: str, value: str, prefix: str) -> None:
    type_, code, _, _ = KINDS[kind]
    assert code in refusal(type_, (code, f"{prefix}{value}"))


@pytest.mark.parametrize("prefix", PREFIXES)
def test_the_other_kinds_have_no_prefixes(prefix: str) -> None:
    assert parsed("Task", ("code", f"{prefix}x")).filters[0].values == (TokenValue(system=None, code=f"{prefix}x"),)
    text = f"{prefix}x"
    assert parsed("Patient", ("family", text)).filters[0].values == (StringValue(folded=text, text=text),)
    assert parsed("PlanDefinition", ("url", text)).filters[0].values == (UriValue(uri=text),)


@pytest.mark.requirement(20)
@pytest.mark.parametrize(
    ("text", "system", "code"),
    [
        ("c", None, "c"),
        ("s|c", "s", "c"),
        ("|c", "", "c"),
        ("s|", "s", None),
        (r"a\|b", None, "a|b"),
        (r"s\|t|c", "s|t", "c"),
        (r"a\\|b", "a\\", "b"),
        (r"a\\\|b", None, "a\\|b"),
        (r"a\$b", None, "a$b"),
        (r"a\,b", None, "a,b"),
        (r"a\xb", None, "a\\xb"),
        (" c ", None, " c "),
        ("true", None, "true"),
    ],
)
def test_the_forms_of_a_token(text: str, system: str | None, code: str | None) -> None:
    assert parsed("Task", ("code", text)).filters[0].values == (TokenValue(system=system, code=code),)


PLAIN = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=10)


@pytest.mark.requirement(20)
@given(st.lists(st.tuples(st.none() | PLAIN, PLAIN), min_size=1, max_size=5))
def test_any_tokens_can_be_asked_for_by_escaping_them(tokens: list[tuple[str | None, str]]) -> None:
    text = ",".join(
        escaped(code) if system is None else f"{escaped(system)}|{escaped(code)}" for system, code in tokens
    )
    read = parsed("Task", ("code", text)).filters[0].values
    assert read == tuple(TokenValue(system=system, code=code) for system, code in tokens)


@given(PLAIN, PLAIN)
def test_any_uri_string_and_combination_can_be_asked_for_by_escaping_it(text: str, other: str) -> None:
    assert parsed("PlanDefinition", ("url", escaped(text))).filters[0].values == (UriValue(uri=text),)
    (value,) = parsed("Observation", ("code-value-concept", f"{escaped(text)}${escaped(other)}")).filters[0].values
    assert isinstance(value, CompositeValue)
    assert value.parts == (TokenValue(system=None, code=text), TokenValue(system=None, code=other))


@given(st.text(max_size=30), st.sampled_from([",", "$", "|"]))
def test_splitting_loses_nothing(text: str, separator: str) -> None:
    assert separator.join(split(text, separator)) == text
    assert unescape(escaped(text)) == text


@pytest.mark.requirement(21)
@pytest.mark.parametrize(
    ("name", "text", "targets"),
    [
        ("subject", "Patient/7", ("Patient/7",)),
        ("subject", "Patient/7/_history/3", ("Patient/7",)),
        ("subject", f"{BASE}/Patient/7", ("Patient/7",)),
        ("subject", "https://other/fhir/Patient/7", ("https://other/fhir/Patient/7",)),
        (
            "subject",
            "urn:uuid:00000000-0000-4000-8000-000000000000",
            ("urn:uuid:00000000-0000-4000-8000-000000000000",),
        ),
        ("subject:Group", "Group/7", ("Group/7",)),
        ("subject:Group", f"{BASE}/Group/7", ("Group/7",)),
        ("patient", "7", ("Patient/7",)),
        ("owner", "Practitioner/a.b-C", ("Practitioner/a.b-C",)),
        ("subject", "#p1", ("#p1",)),
    ],
)
def test_the_forms_of_a_reference(name: str, text: str, targets: tuple[str, ...]) -> None:
    assert parsed("Task", (name, text)).filters[0].values == (ReferenceValue(targets=targets),)


def test_an_id_alone_may_be_of_every_type_the_parameter_points_to() -> None:
    (value,) = parsed("Task", ("owner", "7")).filters[0].values
    assert isinstance(value, ReferenceValue)
    assert set(value.targets) == {f"{type_}/7" for type_ in parameters_of("Task")["owner"].targets}


@pytest.mark.parametrize(
    ("name", "text"),
    [("subject:Group", "Patient/7"), ("subject:Group", "https://x/y z"), ("subject:Group", "urn:uuid:1")],
)
def test_a_reference_of_another_type_than_named_is_refused(name: str, text: str) -> None:
    assert "subject" in refusal("Task", (name, text))


@pytest.mark.requirement(25)
@pytest.mark.parametrize(
    ("text", "number", "system", "unit"),
    [
        ("5", "5", None, None),
        ("5.40", "5.40", None, None),
        ("-1e2|http://u|mg", "-1e2", "http://u", "mg"),
        ("5||mg", "5", None, "mg"),
        ("5|http://u|", "5", "http://u", None),
        (r"5||a\|b", "5", None, "a|b"),
    ],
)
def test_the_forms_of_a_quantity(text: str, number: str, system: str | None, unit: str | None) -> None:
    (value,) = parsed("Observation", ("value-quantity", text)).filters[0].values
    low, high = decimal_range(number)
    expected = NumberValue(prefix="eq", value=float(number), low=low, high=high)
    assert value == QuantityValue(number=expected, system=system, unit=unit)


@pytest.mark.parametrize("text", ["mg", "5|mg", "5|a|b|c", "|http://u|mg", "1,5x", "inf", "1e400", "0x10", "١"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    assert "value-quantity" in refusal("Observation", ("value-quantity", text))


@pytest.mark.parametrize(
    ("text", "kilometres"),
    [("1|2", 50), ("1|2|3", 3), ("1|2|3|km", 3), ("1|2|500|m", 0.5), ("1|2|1|[mi_i]", 1.609344), ("1|2||", 50)],
)
def test_the_forms_of_a_place(text: str, kilometres: float) -> None:
    (value,) = parsed("Location", ("near", text)).filters[0].values
    assert value == NearValue(latitude=1, longitude=2, kilometres=kilometres)


@pytest.mark.parametrize("text", ["1", "1|x", "91|0", "0|181", "1|2|-1", "1|2|3|feet", "1|2|3|km|4", "|", "nan|1"])
def test_what_is_no_place_is_refused(text: str) -> None:
    assert "near" in refusal("Location", ("near", text))


@pytest.mark.parametrize("text", ["c", "c$5$6", "$", "c$mg", r"c\$5"])
def test_a_combination_needs_each_of_its_parts(text: str) -> None:
    assert "code-value-quantity" in refusal("Observation", ("code-value-quantity", text))


@pytest.mark.requirement(29)
@pytest.mark.parametrize(
    ("text", "count", "only"),
    [("1", 1, False), ("50", 50, False), ("1000", 1000, False), ("999999999", MOST_COUNT, False), ("0", 0, True), ("007", 7, False)],
)  # fmt: skip
def test_a_count_is_capped_and_zero_asks_for_the_total(text: str, count: int, only: bool) -> None:
    query = parsed("Task", ("_count", text))
    assert (query.count, query.only_count) == (count, only)
    assert parsed("Task").count == DEFAULT_COUNT


@pytest.mark.parametrize("text", ["-1", "1.5", "x", "1e3", "+1", " 1", "9" * 10, "²", "1,2"])
def test_what_is_no_count_is_refused(text: str) -> None:
    assert "_count" in refusal("Task", ("_count", text))


@pytest.mark.requirement(30)
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_sorting_is_by_parameters_with_an_order(kind: str) -> None:
    type_, code, _, _ = KINDS[kind]
    if kind in SORTED_BY:
        assert parsed(type_, ("_sort", f"-{code},{code}")).sort == (
            SortKey(param=code, type=kind, descending=True),
            SortKey(param=code, type=kind),
        )
    else:
        message = refusal(type_, ("_sort", code))
        assert all(one in message for one in ("_id", "_lastUpdated", *SORTED_BY))


@pytest.mark.parametrize("text", ["--due", "due:missing", "Task.due", "_text", "_score", "due desc", "x" * 200])
def test_what_is_no_sort_key_is_refused(text: str) -> None:
    assert "_sort" in refusal("Task", ("_sort", text))


@pytest.mark.requirement(27)
@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("_include", "Task:patient", Include(source="Task", param="patient")),
        ("_include", "Task:owner:Practitioner", Include(source="Task", param="owner", target="Practitioner")),
        ("_revinclude", "Flag:subject", Include(source="Flag", param="subject", reverse=True)),
        ("_revinclude", "Task:part-of:Task", Include(source="Task", param="part-of", target="Task", reverse=True)),
        ("_include", "*", Include(source="*", param="*")),
        ("_include", "Task:*", Include(source="Task", param="*")),
        ("_revinclude", "Provenance:*", Include(source="Provenance", param="*", reverse=True)),
        ("_revinclude", "*", Include(source="*", param="*", reverse=True)),
        ("_include:iterate", "Patient:link", Include(source="Patient", param="link", iterate=True)),
        ("_include:recurse", "Task:part-of", Include(source="Task", param="part-of", iterate=True)),
        ("_revinclude:iterate", "Task:part-of", Include(source="Task", param="part-of", reverse=True, iterate=True)),
    ],
)
def test_the_forms_of_an_include(name: str, text: str, expected: Include) -> None:
    assert parsed("Task", (name, text)).includes == (expected,)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(
            ("_include", text)
            for text in ("Task", "Task:", ":patient", "Task:status", "Task:patient:Nope", "Task:*:Nope", "*:*")
        ),
        *(("_include", text) for text in ("Patient:link", "task:patient", "Task:patient:Patient:x", "Nope:patient")),
        *(
            ("_revinclude", text)
            for text in ("**", "*:subject", "Flag", "Flag:status", "Nope:subject", "Flag:subject:Nope")
        ),
    ],
)
def test_what_is_no_include_is_refused_with_its_form(name: str, text: str) -> None:
    assert name in refusal("Task", (name, text))


@pytest.mark.parametrize("type_", sorted(random.Random(3).sample(sorted(resource_types()), 25)))
def test_every_reference_parameter_of_a_type_can_be_included_and_no_other(type_: str) -> None:
    for code, parameter in parameters_of(type_).items():
        if parameter.type == "reference":
            assert parsed(type_, ("_include", f"{type_}:{code}")).includes
            assert parsed("Patient", ("_revinclude", f"{type_}:{code}")).includes
        else:
            assert refusal(type_, ("_include", f"{type_}:{code}"))


@pytest.mark.requirement(18, 23)
@pytest.mark.parametrize("type_", sorted(resource_types()))
def test_every_parameter_of_every_type_is_read_passed_over_or_refused(type_: str) -> None:
    values = {kind: text for kind, (_, _, text, _) in KINDS.items()} | {
        "reference": "x1",
        "composite": "",
    }
    for code, parameter in parameters_of(type_).items():
        text = values[parameter.type] or "$".join("1" for _ in parameter.components)
        if code == "_lastUpdated":
            text = "2026"
        query = parsed(type_, (code, text), strict=False) if parameter.type != "composite" else None
        if query is None:
            assert parsed(type_, (f"{code}:missing", "true")).filters
        elif code in ("_id", "_lastUpdated"):
            assert query.filters
        elif unindexed_reason(type_, code) is None and parameter.type in MODIFIERS:
            assert [one.param for one in query.filters] == [code]
        else:
            assert (query.filters, query.ignored) == ((), (code,))


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([("code", "x")] * (MOST_PARAMETERS + 1), str(MOST_PARAMETERS)),
        ([("code", ",".join("x" * (MOST_ALTERNATIVES + 1)))], str(MOST_ALTERNATIVES)),
        ([("code", "x" * (LONGEST_VALUE + 1))], str(LONGEST_VALUE)),
        ([("c" * 201, "x")], str(LONGEST_VALUE)),
        ([("code", ",,,")], "1 to"),
        ([("_id", ",")], "_id"),
        ([("_id:exact", "1")], ":not, :missing"),
        ([("_lastUpdated:not", "2026")], ":missing"),
        ([("_include:logical", "Task:patient")], ":iterate"),
        ([("_total", "yes")], "none, estimate or accurate"),
        ([("owner.colour", "x")], "colour"),
        ([("_has:Task:x:y", "x")], "no reference parameter"),
        ([("_has", "x")], "_has:Type"),
        ([("focus.subject.subject.status", "x")], "name one"),
        ([("focus.subject.name", "x")] * 10, "too many types"),
    ],
)
def test_limits_and_what_is_not_supported_are_said(pairs: Sequence[tuple[str, str]], message: str) -> None:
    assert message in refusal("Task", *pairs)


def test_the_largest_search_that_is_allowed_is_read() -> None:
    wide = parsed("Task", ("code", ",".join(f"c{number}" for number in range(MOST_ALTERNATIVES))))
    assert len(wide.filters[0].values) == MOST_ALTERNATIVES
    assert len(parsed("Task", *[("code", "x")] * MOST_PARAMETERS).filters) == MOST_PARAMETERS
    assert parsed("Patient", ("name", "x" * LONGEST_VALUE)).filters


# which pairs belong to one walk: those that differ in _count, _total, _format and in what was passed over
SAME = [
    [("status", "x")],
    [("status", "x"), ("_count", "3")],
    [("_total", "none"), ("status", "x"), ("_count", "9")],
    [("status", "x"), ("_format", "json"), ("_pretty", "true")],
    [("status", "x"), ("colour", "red"), ("due", "")],
]
OTHER = [
    [("status", "y")],
    [("status", "x"), ("_sort", "due")],
    [("status", "x"), ("status", "x")],
    [("status:not", "x")],
    [("status", "x"), ("_include", "Task:patient")],
    [("status", "x"), ("_summary", "count")],
    [("code", "x")],
    [],
]


@pytest.mark.requirement(29)
def test_a_fingerprint_is_stable_and_tells_walks_apart() -> None:
    same = {parsed("Task", *pairs, strict=False).fingerprint for pairs in SAME}
    other = [parsed("Task", *pairs, strict=False).fingerprint for pairs in OTHER]
    assert same == {parsed("Task", ("status", "x")).fingerprint}
    assert len({*same, *other}) == len(OTHER) + 1
    assert parsed("CarePlan", ("status", "x")).fingerprint not in same


def test_a_fingerprint_does_not_change_from_one_release_to_the_next() -> None:
    assert parsed("Task", ("status", "requested"), ("_sort", "-due")).fingerprint == "316ada978ccb098074"


@pytest.mark.requirement(18)
@pytest.mark.parametrize(
    "name",
    ["colour", "_text", "_content", "_query", "_filter", "_list", "_type", "_contained", "_score", "colour.name"],
)
def test_what_is_not_supported_is_passed_over_or_refused_by_name(name: str) -> None:
    query = parsed("Task", (name, "text"), ("status", "x"), strict=False)
    assert (query.ignored, query.applied) == ((name,), (("status", "x"),))
    with pytest.raises(Incorrect, match=name):
        parsed("Task", (name, "text"))


def system(*pairs: tuple[str, str], compartment: tuple[str, str] | None = None) -> Query:
    return parse_system_query(pairs, strict=True, own_base=BASE, compartment=compartment)


@pytest.mark.requirement(16, 32)
def test_a_system_search_takes_what_all_its_types_have() -> None:
    query = system(
        ("_type", "Task,CarePlan"), ("status", "active"), ("subject", "Patient/1"), ("_sort", "-_lastUpdated")
    )
    assert (query.type, query.types, query.searched) == ("", ("Task", "CarePlan"), ("Task", "CarePlan"))
    assert [one.param for one in query.filters] == ["status", "subject"]
    assert query.applied[0] == ("_type", "Task,CarePlan")
    every = system(("_tag", "x"), ("_id", "1"))
    assert (every.types, len(every.searched)) == ((), 146)


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        ([("status", "x")], "status"),
        ([("_type", "Task,CarePlan"), ("owner", "x")], "owner"),
        ([("_type", "Nope")], "Nope"),
        ([("_type", "Task,CarePlan"), ("_sort", "due")], "_sort"),
    ],
)
def test_what_not_all_types_have_is_refused_in_a_system_search(pairs: list[tuple[str, str]], said: str) -> None:
    with pytest.raises(Incorrect, match=said):
        system(*pairs)


@pytest.mark.requirement(32)
def test_a_compartment_is_part_of_a_query() -> None:
    one = parse_query("Task", [("status", "x")], strict=True, compartment=("Patient", "1"))
    assert (one.type, one.compartment) == ("Task", ("Patient", "1"))
    assert one.fingerprint != parsed("Task", ("status", "x")).fingerprint
    assert (
        one.fingerprint != parse_query("Task", [("status", "x")], strict=True, compartment=("Patient", "2")).fingerprint
    )
    assert {"Task", "CarePlan", "Patient"} <= set(system(compartment=("Patient", "1")).types)
    assert system(("_type", "Task"), compartment=("Patient", "1")).types == ("Task",)
    with pytest.raises(Incorrect):
        parse_query("Subscription", [], strict=True, compartment=("Patient", "1"))
    with pytest.raises(Incorrect):
        system(compartment=("Task", "1"))
    with pytest.raises(Incorrect):
        system(("_type", "Subscription"), compartment=("Patient", "1"))


@pytest.mark.requirement(28)
def test_a_chain_leads_to_every_type_that_has_the_parameter_or_the_one_named() -> None:
    (some,) = parsed("Task", ("subject.name", "x")).filters
    (named,) = parsed("Task", ("subject:Patient.name", "x")).filters
    name = Filter(param="name", type="string", values=(StringValue(folded="x", text="x"),))
    assert named == Filter(param="subject", type="chain", links=(Link(types=("Patient",), filter=name),))
    assert {"Patient", "Organization"} <= set(some.links[0].types)
    (back,) = parsed("Task", ("_has:Task:based-on:status", "requested")).filters
    status = Filter(param="status", type="token", values=(TokenValue(system=None, code="requested"),))
    assert back == Filter(param="based-on", type="has", links=(Link(types=("Task",), filter=status),))
    (nested,) = parsed("Patient", ("_has:Task:patient:_has:Provenance:target:agent.name", "x")).filters
    assert nested.links[0].filter.type == "has"
    assert nested.links[0].filter.links[0].filter.type == "chain"
