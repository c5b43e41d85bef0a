"""Search expressions find what a FHIRPath engine finds (https://hl7.org/fhir/R4/searchparameter-registry.html)."""

from __future__ import annotations

import pytest

from fhir_tracker.fhir.body import write_json
from fhir_tracker.fhir.definitions.registry import all_search_parameters, resource_types
from fhir_tracker.fhir.expressions import NotCompilable, compile_expression, select
from fhir_tracker.fhir.json_types import Json
from fhir_tracker.fhir.own_parameters import parameters_of
from fhir_tracker.fhir.search_values import unindexed_reason
from tests.fhir import oracle
from tests.fhir.examples import examples

TYPES = sorted({resource["resourceType"] for resource in examples()})


def canonical(values: list[Json]) -> list[str]:
    return sorted(write_json(value) for value in values)


@pytest.mark.parametrize("type_", TYPES)
def test_selected_values_equal_those_of_a_fhirpath_engine(type_: str) -> None:
    resources = [resource for resource in examples() if resource["resourceType"] == type_]
    for parameter in parameters_of(type_).values():
        for expression in oracle.alternatives_of(parameter, type_):
            for resource in resources:
                found = canonical(select(resource, expression))
                assert found == canonical(oracle.selected(resource, expression)), (
                    parameter.code,
                    expression,
                    resource["id"],
                )


def test_every_official_parameter_with_an_expression_compiles() -> None:
    failed = []
    for parameter in all_search_parameters().values():
        for type_ in set(parameter.base) & resource_types():
            try:
                paths = compile_expression(parameter.expression, type_) if parameter.expression else ("none",)
            except NotCompilable as error:
                failed.append((parameter.url, type_, str(error)))
            else:
                if not paths:
                    failed.append((parameter.url, type_, "empty"))
    assert failed == []


def test_only_text_queries_and_columns_give_no_rows() -> None:
    reasons = {
        code: reason
        for type_ in resource_types()
        for code in parameters_of(type_)
        if (reason := unindexed_reason(type_, code)) is not None
    }
    assert set(reasons) == {"_text", "_content", "_query", "_id", "_lastUpdated"}


@pytest.mark.parametrize(
    "expression", ["Task.nothing", "Task.status.lower()", "Task.status.", "(Task.status", "Task.status ~ 'x'", ""]
)
def test_an_expression_outside_the_subset_is_refused(expression: str) -> None:
    with pytest.raises(NotCompilable):
        compile_expression(expression, "Task")


@pytest.mark.parametrize(
    "expression",
    ["(Observation.effective as Period)", "Observation.effective.as(period)", "Observation.effective.ofType(Period)"],
)
def test_the_three_ways_to_name_a_type_are_one(expression: str) -> None:
    (path,) = compile_expression(expression, "Observation")
    assert (path.hops, path.type) == (("effectivePeriod",), "Period")


def test_a_parameter_of_many_types_uses_the_alternative_of_the_type() -> None:
    expression = "Condition.code | (MedicationRequest.medication as CodeableConcept)"
    assert [path.hops for path in compile_expression(expression, "Condition")] == [("code",)]
    assert [path.hops for path in compile_expression(expression, "MedicationRequest")] == [
        ("medicationCodeableConcept",)
    ]
