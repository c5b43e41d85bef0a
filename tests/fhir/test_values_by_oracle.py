"""The search values of every official example are those of a FHIRPath engine and a second conversion.

https://hl7.org/fhir/R4/search.html
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

import pytest

from fhir_tracker.fhir.definitions.registry import SearchParameter, search_parameter, value_set
from fhir_tracker.fhir.expressions import compile_expression
from fhir_tracker.fhir.json_types import Json, Resource
from fhir_tracker.fhir.own_parameters import parameters_of
from fhir_tracker.fhir.search_rows import CompositeRow, Part, ReferenceRow, SearchValues
from fhir_tracker.fhir.search_values import COLUMNS, extract, unindexed_reason
from tests.fhir import slow_values as slow
from tests.fhir.examples import examples
from tests.fhir.oracle import alternatives_of, selected, values_of

TYPES = sorted({resource["resourceType"] for resource in examples()})
# Its scheduledString looks like a date, and is none.
SCHEDULED_IN_WORDS = {("CarePlan", id_, "activity-date") for id_ in ("f001", "f002", "f003")}
# Published with the expressions of its two parts exchanged.
EXCHANGED = {"DocumentReference-relationship"}


def of_type(type_: str) -> list[Resource]:
    return [resource for resource in examples() if resource["resourceType"] == type_]


def compared(type_: str, search_type: str) -> Iterable[tuple[Resource, SearchParameter]]:
    """Each example of a type with each of its parameters of one search type that gives rows."""
    for parameter in parameters_of(type_).values():
        if parameter.type == search_type and unindexed_reason(type_, parameter.code) is None:
            for resource in of_type(type_):
                yield resource, parameter


def together(values: list[Json], convert: Callable[[Json], Iterable[object]]) -> set[object]:
    return {found for value in values for found in convert(value)}


def test_most_resource_types_have_an_official_example() -> None:
    assert len(TYPES) >= 80


@pytest.mark.requirement(23)
@pytest.mark.parametrize("type_", TYPES)
def test_tokens_are_those_of_the_engine(type_: str) -> None:
    for resource, parameter in compared(type_, "token"):
        rows = {(row.system, row.code) for row in extract(resource).tokens if row.param == parameter.code}
        expected = together(values_of(resource, parameter), slow.tokens)
        systems = {
            system
            for path in compile_expression(parameter.expression, type_)
            if path.codes and path.type == "code"
            for system in value_set(path.codes)
        }
        plain = {(None if system in systems else system, code) for system, code in rows}
        assert plain == expected, (parameter.code, resource["id"])


@pytest.mark.requirement(23)
@pytest.mark.parametrize("type_", TYPES)
def test_references_are_those_of_the_engine(type_: str) -> None:
    for resource, parameter in compared(type_, "reference"):
        rows = [row for row in extract(resource).references if row.param == parameter.code]
        expected = together(values_of(resource, parameter), slow.references)
        assert {shown(row) for row in rows} == expected, (parameter.code, resource["id"])


@pytest.mark.requirement(23)
@pytest.mark.parametrize("type_", TYPES)
def test_dates_are_those_of_the_engine(type_: str) -> None:
    for resource, parameter in compared(type_, "date"):
        if (type_, resource["id"], parameter.code) in SCHEDULED_IN_WORDS:
            continue
        values = [value for value in values_of(resource, parameter) if is_moment(value)]
        rows = {(row.low, row.high) for row in extract(resource).dates if row.param == parameter.code}
        assert rows == together(values, slow.moments), (parameter.code, resource["id"])


@pytest.mark.requirement(23)
@pytest.mark.parametrize("type_", TYPES)
def test_strings_and_uris_are_those_of_the_engine(type_: str) -> None:
    for resource, parameter in compared(type_, "string"):
        rows = {row.folded for row in extract(resource).strings if row.param == parameter.code}
        assert rows == together(values_of(resource, parameter), slow.strings), (parameter.code, resource["id"])
    for resource, parameter in compared(type_, "uri"):
        uris = {row.uri for row in extract(resource).uris if row.param == parameter.code}
        assert uris == set(values_of(resource, parameter)), (parameter.code, resource["id"])


@pytest.mark.requirement(23)
@pytest.mark.parametrize("type_", TYPES)
def test_numbers_and_quantities_are_those_of_the_engine(type_: str) -> None:
    for search_type in ("number", "quantity"):
        for resource, parameter in compared(type_, search_type):
            values = extract(resource)
            rows = {(row.low, row.high) for row in values.numbers if row.param == parameter.code}
            rows |= {(row.low, row.high) for row in values.quantities if row.param == parameter.code}
            found = [value for value in values_of(resource, parameter) if not is_sampled(value)]
            assert rows == together(found, slow.numbers), (parameter.code, resource["id"])


@pytest.mark.parametrize("type_", TYPES)
def test_composites_are_every_combination_within_one_part_of_the_resource(type_: str) -> None:
    for resource, parameter in compared(type_, "composite"):
        expected: Counter[int] = Counter()
        for base in alternatives_of(parameter, type_):
            for position in range(len(selected(resource, base)) if "." in base else 1):
                place = f"{base}[{position}]" if "." in base else base
                expected[combinations(resource, parameter, place)] += 1
        rows = [row for row in extract(resource).composites if row.param == parameter.code]
        assert len(rows) == sum(size * times for size, times in expected.items()), (parameter.code, resource["id"])
        assert all(len(row.parts) == len(parameter.components) for row in rows)


def combinations(resource: Resource, parameter: SearchParameter, place: str) -> int:
    """How many combinations of the parts of a composite one place gives."""
    size = 1
    texts = [component.expression for component in parameter.components]
    if parameter.url.rpartition("/")[2] in EXCHANGED:
        texts.reverse()
    for component, text_of_part in zip(parameter.components, texts, strict=True):
        definition = search_parameter(component.definition)
        assert definition is not None
        convert = CONVERT[definition.type]
        found: set[object] = set()
        for expression in text_of_part.split(" | "):
            text = expression.replace("DateTime", "dateTime")
            text = text.replace("%resource", type_of(resource)) if "%resource" in text else f"{place}.{text}"
            found |= together(selected(resource, text), convert)
        size *= len(found)
    return size


def test_the_examples_give_rows_of_every_kind_and_of_most_parameters() -> None:
    kinds: Counter[type[Part | CompositeRow]] = Counter()
    named: dict[str, set[str]] = {}
    for resource in examples():
        values = extract(resource)
        kinds.update(type(row) for group in groups(values) for row in group)
        named.setdefault(resource["resourceType"], set()).update(values.present)
    assert len(kinds) == 8
    assert kinds.total() > 900
    assert sum(len(codes) for codes in named.values()) > 600


@pytest.mark.parametrize("type_", TYPES)
def test_no_row_has_a_parameter_that_its_type_has_not(type_: str) -> None:
    known = parameters_of(type_).keys() - COLUMNS
    for resource in of_type(type_):
        values = extract(resource)
        rows = [row for group in groups(values) for row in group]
        assert {row.param.partition(":")[0] for row in rows} <= known
        assert values.present == {row.param.partition(":")[0] for row in rows}
        assert len(rows) == len(set(rows))
        assert extract(resource) == values


def groups(values: SearchValues) -> tuple[tuple[Part | CompositeRow, ...], ...]:
    return (
        *(values.tokens, values.references, values.uris, values.dates),
        *(values.strings, values.numbers, values.quantities, values.composites),
    )


def shown(row: ReferenceRow) -> str:
    return f"{row.type}/{row.id}" if row.id else row.url or ""


def type_of(resource: Resource) -> str:
    return str(resource["resourceType"])


def is_moment(value: Json) -> bool:
    """Not an Age, Range or string of a choice, which no date can be compared with."""
    if isinstance(value, str):
        return value[:4].isdigit()
    return not {"value", "low", "high"} & set(value)


def is_sampled(value: Json) -> bool:
    return isinstance(value, dict) and "origin" in value


CONVERT: dict[str, Callable[[Json], Iterable[object]]] = {
    "token": slow.tokens,
    "reference": slow.references,
    "date": slow.moments,
    "string": slow.strings,
    "number": slow.numbers,
    "quantity": slow.numbers,
    "uri": lambda value: {value},
}
