"""The generated tables agree with themselves: every type, target, value set and parameter they name is there.

https://hl7.org/fhir/R4/downloads.html
"""

from __future__ import annotations

import random
import re

import pytest

from fhir_tracker.fhir.definitions.registry import (
    all_search_parameters,
    ancestors,
    elements,
    is_complex,
    is_resource,
    resource_types,
    search_parameter,
    search_parameters,
    value_set,
)
from fhir_tracker.fhir.expressions import compile_expression
from fhir_tracker.fhir.own_parameters import OWN_PARAMETERS, parameters_of
from fhir_tracker.fhir.primitives import PRIMITIVES
from fhir_tracker.fhir.search_values import COLUMNS, indexed_parameters, unindexed_reason

TYPES = sorted(resource_types())
SEARCH_TYPES = {"token", "reference", "string", "date", "number", "quantity", "uri", "composite", "special"}


def reached(type_: str) -> set[str]:
    """Every complex type that a value of this type can hold, itself included."""
    found, waiting = set[str](), [type_]
    while waiting:
        one = waiting.pop()
        if one not in found and is_complex(one):
            found.add(one)
            waiting += [leaf for element in elements(one).values() for leaf in element.types if leaf not in PRIMITIVES]
    return found


@pytest.mark.parametrize("type_", TYPES)
def test_every_element_has_types_targets_and_codes_that_there_are(type_: str) -> None:
    for holder in reached(type_):
        for element in elements(holder).values():
            assert element.types, (holder, element.name)
            for leaf in element.types:
                assert leaf in PRIMITIVES or is_complex(leaf) or leaf == "Resource", (holder, element.name, leaf)
            assert element.targets <= resource_types(), (holder, element.name)
            assert element.is_choice == element.name.endswith("[x]")
            assert len(element.types) == 1 or element.is_choice, (holder, element.name)
            assert not element.targets or {"Reference", "canonical"} & set(element.types), (holder, element.name)
            assert re.fullmatch(r"[a-z][A-Za-z0-9]*(\[x\])?", element.name)


@pytest.mark.parametrize("type_", TYPES)
def test_every_type_inherits_what_all_resources_have(type_: str) -> None:
    members = elements(type_)
    assert ancestors(type_)[0] == type_
    assert ancestors(type_)[-1] == "Resource"
    assert list(members)[:4] == ["id", "meta", "implicitRules", "language"]
    assert ("text" in members) == ("DomainResource" in ancestors(type_))
    assert is_resource(type_)
    assert not is_resource(f"{type_}.nothing")


@pytest.mark.parametrize("type_", TYPES)
def test_no_two_elements_share_a_json_name(type_: str) -> None:
    for holder in reached(type_):
        names = [
            element.name.removesuffix("[x]") + leaf[0].upper() + leaf[1:] if element.is_choice else element.name
            for element in elements(holder).values()
            for leaf in element.types
        ]
        assert len(names) == len(set(names)), holder


@pytest.mark.parametrize("type_", TYPES)
def test_every_parameter_of_a_type_has_a_kind_and_leads_somewhere(type_: str) -> None:
    parameters = search_parameters(type_)
    assert parameters.keys() >= COLUMNS
    for code, parameter in parameters.items():
        assert parameter.code == code
        assert parameter.type in SEARCH_TYPES
        assert set(parameter.base) & set(ancestors(type_))
        assert set(parameter.targets) <= resource_types()
        assert bool(parameter.components) == (parameter.type == "composite")
        assert search_parameter(parameter.url) == parameter
        if parameter.expression and code not in COLUMNS:
            assert compile_expression(parameter.expression, type_), code
    assert indexed_parameters(type_) == {code for code in parameters_of(type_) if unindexed_reason(type_, code) is None}


def test_every_required_value_set_of_codes_that_is_known_has_codes_without_spaces_around_them() -> None:
    named = {
        element.codes
        for type_ in TYPES
        for holder in reached(type_)
        for element in elements(holder).values()
        if element.codes
    }
    known = {name: value_set(name) for name in named if value_set(name)}
    assert len(known) > 150
    for name, systems in known.items():
        for system, codes in systems.items():
            assert re.match(r"(https?://|urn:)", system), name
            assert codes, name
            assert all(code == code.strip() and code for code in codes), name
    assert value_set("no-such-value-set") == {}


@pytest.mark.parametrize(
    ("name", "codes"),
    [
        ("task-intent", "unknown proposal plan order original-order reflex-order filler-order instance-order option"),
        ("request-priority", "routine urgent asap stat"),
        (
            "appointmentstatus",
            "proposed pending booked arrived fulfilled cancelled noshow entered-in-error checked-in waitlist",
        ),
        ("administrative-gender", "male female other unknown"),
        ("event-status", "preparation in-progress not-done on-hold stopped completed entered-in-error unknown"),
        ("flag-status", "active inactive entered-in-error"),
        ("request-status", "draft active on-hold revoked completed entered-in-error unknown"),
    ],
)
def test_the_value_sets_of_the_product_are_those_of_the_specification(name: str, codes: str) -> None:
    assert {code for found in value_set(name).values() for code in found} == set(codes.split())


def test_the_tables_cannot_be_changed_by_who_reads_them() -> None:
    for table in (elements("Task"), value_set("task-status"), search_parameters("Task"), parameters_of("Task")):
        with pytest.raises(TypeError):
            table["new"] = None  # type: ignore[index]


def test_a_parameter_is_found_by_its_url_and_a_stranger_is_not() -> None:
    every = list(all_search_parameters().values())
    assert len(every) > 1300
    for parameter in random.Random(5).sample(every, 50):
        assert search_parameter(parameter.url) is parameter
        for base in set(parameter.base) & resource_types():
            assert search_parameters(base)[parameter.code].code == parameter.code
    assert search_parameter("https://fhir-tracker.example/none") is None
    assert all(search_parameter(own.url) is None for own in OWN_PARAMETERS)
