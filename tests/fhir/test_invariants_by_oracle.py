"""The compiled invariants answer as a FHIRPath engine by other people does, on official examples whole and damaged.

https://hl7.org/fhirpath/N1/
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

import fhirpathpy
import pytest
from fhirpathpy.models import models

from fhir_tracker.fhir.body import read_json, write_json
from fhir_tracker.fhir.definitions.registry import Constraint, ancestors, constraints, elements, is_complex
from fhir_tracker.fhir.invariants.rules import NOT_COMPILABLE, STRUCTURAL, expression_of, rule_of
from fhir_tracker.fhir.invariants.values import Scope
from fhir_tracker.fhir.json_types import Json, Resource
from tests.fhir.examples import examples

# What the engine cannot be asked, or answers otherwise than the specification: key, why.
UNASKED = {
    "dom-3": "the engine gives up on as() of more than one value",
    "ctm-1": "the engine has no resolve()",
    "rng-2": "the engine does not compare parsed Quantities",
    "txt-1": "no engine outside of HL7's has htmlChecks()",
}
PER_TYPE = 40
MOMENTS = ("2030", "1990-01-01T00:00:00Z", "2012-06")
WORDS = ("display", "entered-in-error", "#none")
TYPES = sorted({resource["resourceType"] for resource in examples()})


def held(type_: str, value: Json, resource: Resource) -> Iterator[tuple[str, Resource, Resource]]:
    """Each object in a value with its FHIR type and the resource it is in; contained resources are their own."""
    if not isinstance(value, dict):
        return
    if type_ == "Resource":
        type_, resource = str(value.get("resourceType")), value
    yield type_, value, resource
    for element in elements(type_).values():
        for leaf in element.types:
            name = element.name.removesuffix("[x]") + leaf[0].upper() + leaf[1:] if element.is_choice else element.name
            inner = value.get(name)
            if leaf == "Resource" or is_complex(leaf):
                for one in inner if isinstance(inner, list) else [inner]:
                    yield from held(leaf, one, resource)


def damaged(value: Resource, rng: random.Random) -> Resource:
    """A copy with one member gone or of another value."""
    fresh = copy.deepcopy(value)
    names = [name for name in fresh if name != "resourceType"]
    if not names:
        return fresh
    name = rng.choice(names)
    taken = fresh.pop(name)
    if rng.random() < 0.4 and isinstance(taken, str):
        fresh[name] = rng.choice(MOMENTS if taken[:4].isdigit() else WORDS)
    return fresh


def asked(type_: str) -> Iterator[tuple[Constraint, str, Resource, Resource]]:
    """Invariants of this resource type and of what is in it, with an object to ask and its resource."""
    rng = random.Random(f"invariants of {type_}")
    rows: list[tuple[Constraint, str, Resource, Resource]] = []
    for example in examples():
        if example["resourceType"] != type_:
            continue
        for inner, value, resource in held(type_, example, example):
            found = [row for base in ancestors(inner) for row in constraints(base)]
            for row in found:
                if not {row.key} & (STRUCTURAL.keys() | NOT_COMPILABLE.keys() | UNASKED.keys()):
                    rows.append((row, inner, value, resource))
                    rows.append((row, inner, damaged(value, rng), resource))
    yield from rows if len(rows) <= PER_TYPE else rng.sample(rows, PER_TYPE)


def plain(value: Json) -> Any:
    """The same JSON with fractions as floats, as the engine wants them."""
    return json.loads(write_json(value))


@pytest.mark.requirement(4)
@pytest.mark.parametrize("type_", TYPES)
def test_an_invariant_answers_as_the_engine_does(type_: str) -> None:
    for row, inner, value, resource in asked(type_):
        ours = rule_of(row, inner).test(value, Scope(resource, resource)) is True
        # The engine has no hasValue(), and no value here has only an extension.
        path = {"base": inner, "expression": expression_of(row).replace(".hasValue()", ".exists()")}
        variables = {"resource": plain(resource), "rootResource": plain(resource)}
        theirs = fhirpathpy.evaluate(plain(value), path, variables, models["r4"])
        assert ours == (theirs == [True]), (row.key, value, theirs)


def test_numbers_keep_their_digits_where_rules_compare_them() -> None:
    quantity = read_json(b'{"value": 0.10000000000000000000000001, "code": "a", "system": "http://unitsofmeasure.org"}')
    (row,) = (row for row in constraints("Age") if row.key == "age-1")
    assert rule_of(row, "Age").test(quantity, Scope(quantity, quantity)) is True
