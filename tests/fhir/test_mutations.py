"""In a resource of every type, each kind of mistake in every element is found, once and in its place.

https://hl7.org/fhir/R4/validation.html
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from fhir_tracker.fhir.body import read_resource, write_json
from fhir_tracker.fhir.checks import check
from fhir_tracker.fhir.definitions.registry import resource_types
from fhir_tracker.fhir.json_types import Json, Resource
from fhir_tracker.fhir.primitives import PRIMITIVES
from fhir_tracker.fhir.search_values import extract
from tests.fhir.made import RIGHT, SMALL, WRONG, Spot, full, least, member_name, spots

TYPES = sorted(resource_types())
DEEP = ("Task", "CarePlan", "Appointment", "Patient", "Communication", "Questionnaire")
"""What people and EHRs write most is filled to the parts of parts."""
Found = list[tuple[str | None, str]]
Mistake = tuple[Json, str, str]
"""What is put in the element's place, where the issue is, and its code."""


@cache
def made(type_: str) -> Resource:
    return full(type_, 2 if type_ in DEEP else 1)


@cache
def places(type_: str) -> tuple[Spot, ...]:
    """Every element of a deep type; of another, an element of a datatype only where it is met first."""
    found = list(spots(type_, made(type_)))
    first = {(spot.within, spot.element.name, spot.leaf): spot for spot in reversed(found)}
    return tuple(found if type_ in DEEP else reversed(first.values()))


def holding(resource: Any, path: tuple[str | int, ...]) -> tuple[Any, Any]:
    """A copy along the path only, and the copied holder at its end."""
    copy: Any = dict(resource) if isinstance(resource, dict) else list(resource)
    if not path:
        return copy, copy
    copy[path[0]], holder = holding(copy[path[0]], path[1:])
    return copy, holder


def put(type_: str, path: tuple[str | int, ...], value: Json) -> Found:
    """The issues after putting a value at a path."""
    resource, holder = holding(made(type_), path[:-1])
    holder[path[-1]] = value
    return issues(resource)


def without(type_: str, path: tuple[str | int, ...]) -> Found:
    """The issues after taking out what is at a path."""
    resource, holder = holding(made(type_), path[:-1])
    del holder[path[-1]]
    return issues(resource)


def issues(resource: Resource) -> Found:
    """What is wrong but for the invariants, which resources filled by a table do not keep."""
    return [(issue.expression, issue.code) for issue in check(resource) if issue.code != "invariant"]


def wrapped(spot: Spot, value: Json) -> tuple[Json, str]:
    """The value as this element holds it, and where an issue of the value then is."""
    return ([value], f"{spot.shown}[0]") if spot.element.many else (value, spot.shown)


def wrong_kinds(spot: Spot) -> Iterator[Mistake]:
    """A JSON value of another kind than the element has."""
    is_primitive = spot.leaf in PRIMITIVES
    if spot.element.many:
        yield "x", spot.shown, "structure"
        yield [], spot.shown, "structure"
        yield None, spot.shown, "structure"
    else:
        yield [SMALL.get(spot.leaf, "x")], spot.shown, "value" if is_primitive else "structure"
    for value in ({"nonsense": 1}, None) if is_primitive else ("x", 5, None, {}):
        held, where = wrapped(spot, value)
        if spot.leaf == "Resource" or held != value or value is not None or not spot.element.many:
            yield held, where, "value" if is_primitive else "structure"


def wrong_values(spot: Spot) -> Iterator[Mistake]:
    """A value of the right kind that the format, the value set or the targets do not allow."""
    if spot.leaf in PRIMITIVES:
        held, where = wrapped(spot, WRONG[spot.leaf])
        yield held, where, "value"
        if spot.leaf == "code" and spot.codes:
            held, where = wrapped(spot, "no-such-code")
            yield held, where, "code-invalid"
    elif spot.leaf == "Reference":
        held, where = wrapped(spot, {"reference": "not a reference"})
        yield held, f"{where}.reference", "value"
        outside = sorted(resource_types() - spot.element.targets)
        if spot.element.targets and outside:
            held, where = wrapped(spot, {"reference": f"https://ehr.example/fhir/{outside[0]}/1"})
            yield held, f"{where}.reference", "structure"
    elif spot.leaf in ("Coding", "CodeableConcept") and spot.codes:
        coding = {"system": "http://example.org/other", "code": "no-such-code"}
        held, where = wrapped(spot, {"coding": [coding]} if spot.leaf == "CodeableConcept" else coding)
        yield held, where, "code-invalid"


@pytest.mark.requirement(4)
@pytest.mark.parametrize("type_", TYPES)
def test_the_least_and_the_fullest_resource_of_a_type_have_no_issue(type_: str) -> None:
    for resource in (least(type_), made(type_)):
        assert issues(resource) == []
        again = read_resource(write_json(resource).encode())
        assert again == resource
        assert issues(again) == []
    assert len(places(type_)) >= len(made(type_)) - 1
    assert extract(made(type_)).present


@pytest.mark.requirement(4)
@pytest.mark.parametrize("type_", TYPES)
def test_a_value_of_another_kind_is_found_in_its_place(type_: str) -> None:
    for spot in places(type_):
        for value, where, code in wrong_kinds(spot):
            found = put(type_, spot.path, value)
            assert (where, code) in found, (spot.shown, value)
            assert all(where.startswith(at or "?") for at, _ in found), (spot.shown, value)


@pytest.mark.requirement(4)
@pytest.mark.parametrize("type_", TYPES)
def test_a_value_of_a_wrong_format_code_or_target_is_found_in_its_place(type_: str) -> None:
    for spot in places(type_):
        for value, where, code in wrong_values(spot):
            found = put(type_, spot.path, value)
            assert (where, code) in found, (spot.shown, value)
            assert all(where.startswith(at or "?") for at, _ in found), (spot.shown, value)


@pytest.mark.requirement(4)
@pytest.mark.parametrize("type_", TYPES)
def test_a_missing_required_element_is_named_and_another_may_be_left_out(type_: str) -> None:
    for spot in places(type_):
        found = without(type_, spot.path)
        holder = spot.shown.rpartition(".")[0]
        if found and spot.shown.endswith(".coding[0].system"):
            place = (
                f"{holder}.code"
                if spot.shown.endswith("language.coding[0].system")
                else holder.removesuffix(".coding[0]")
            )
            assert found == [(place, "code-invalid")], spot.shown
            continue
        label = spot.element.name.removesuffix("[x]")
        alone = is_alone(type_, spot)
        expected = [(f"{holder}.{label}", "required")] if spot.element.required else []
        assert found == ([(holder, "structure")] if alone else expected), spot.shown


def is_alone(type_: str, spot: Spot) -> bool:
    """Whether taking it out leaves an empty object."""
    holder: Any = made(type_)
    for step in spot.path[:-1]:
        holder = holder[step]
    return len(holder) == 1


@pytest.mark.requirement(4)
@pytest.mark.parametrize("type_", TYPES)
def test_an_unknown_element_is_found_in_every_part(type_: str) -> None:
    holders = {spot.path[:-1]: spot.shown.rpartition(".")[0] for spot in places(type_)}
    for path, shown in holders.items():
        for name in ("nonsense", "_nonsense", "resourcetype", "Status", "<b>"):
            found = put(type_, (*path, name), "x")
            assert found == [(shown, "structure")], (shown, name)


@pytest.mark.parametrize("type_", TYPES)
def test_a_choice_takes_each_of_its_types_and_only_one_at_a_time(type_: str) -> None:
    for spot in (one for one in places(type_) if one.element.is_choice):
        holder, _, _ = spot.shown.rpartition(".")
        label = spot.element.name.removesuffix("[x]")
        second = next((leaf for leaf in spot.element.types if leaf != spot.leaf and leaf in PRIMITIVES), None)
        if second is None:
            continue
        name, value = member_name(spot.element, second), RIGHT[second]
        assert put(type_, (*spot.path[:-1], name), value) == [(f"{holder}.{label}", "structure")], spot.shown


@pytest.mark.parametrize("type_", TYPES)
def test_a_primitive_may_carry_an_extension_beside_it_and_other_elements_not(type_: str) -> None:
    beside = {"extension": [{"url": "http://example.org/why", "valueString": "x"}]}
    for spot in places(type_):
        name = f"_{spot.path[-1]}"
        member = [beside] if spot.element.many else beside
        found = put(type_, (*spot.path[:-1], name), member)
        holder, _, _ = spot.shown.rpartition(".")
        may = spot.leaf in PRIMITIVES and spot.leaf != "xhtml"
        assert found == ([] if may else [(holder, "structure")]), spot.shown


def test_the_mutations_reach_most_of_what_can_be_wrong() -> None:
    kinds: Counter[str] = Counter()
    for type_ in TYPES:
        for spot in places(type_):
            kinds["required"] += spot.element.required
            kinds["many"] += spot.element.many
            kinds["choice"] += spot.element.is_choice
            kinds["coded"] += bool(spot.codes)
            kinds["targeted"] += bool(spot.element.targets)
            kinds["all"] += 1
    assert kinds["all"] > 10_000, kinds
    assert min(kinds.values()) > 200, kinds


def test_several_mistakes_are_told_at_once() -> None:
    task = least("Task") | {
        "status": "no-such-code",
        "nonsense": 1,
        "for": {"reference": "no reference"},
        "priority": [],
    }
    assert sorted(issues(task)) == [
        ("Task", "structure"),
        ("Task.for.reference", "value"),
        ("Task.priority", "value"),
        ("Task.status", "code-invalid"),
    ]
