"""The parameters that have no rows of their own are by R4's own definitions what two others find between them."""

from __future__ import annotations

import pytest

from fhir_tracker.fhir.expressions import compile_expression
from fhir_tracker.fhir.own_parameters import parameters_of
from fhir_tracker.fhir.search_unions import UNIONS, is_union, parts_of
from fhir_tracker.fhir.search_values import extract
from tests.fhir.examples import examples

ALL = [(type_, param) for type_, unions in UNIONS.items() for param in unions]


@pytest.mark.parametrize(("type_", "param"), ALL)
def test_a_union_has_the_paths_of_its_parts_and_no_other(type_: str, param: str) -> None:
    known = parameters_of(type_)
    whole, parts = known[param], [known[part] for part in parts_of(type_, param)]
    paths = [set(compile_expression(one.expression, type_)) for one in parts]
    assert set().union(*paths) == set(compile_expression(whole.expression, type_))
    assert {part.type for part in parts} == {whole.type}
    assert all([c.expression for c in part.components] == [c.expression for c in whole.components] for part in parts)


def test_every_other_parameter_is_found_under_itself() -> None:
    assert parts_of("Observation", "code") == ("code",)
    assert parts_of("Task", "combo-code") == ("combo-code",)
    assert not is_union("Observation", "component-code")


def test_without_unions_the_other_values_stay_as_they_are() -> None:
    for resource in examples():
        whole, rest = extract(resource), extract(resource, unions=False)
        unions = set(UNIONS.get(resource["resourceType"], ()))
        assert rest.present == whole.present - unions
        assert set(rest.tokens) == {row for row in whole.tokens if row.param not in unions}
        assert set(rest.composites) == {row for row in whole.composites if row.param not in unions}
