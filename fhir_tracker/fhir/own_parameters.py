"""The search parameters this product adds to the official ones, in the same shape."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from fhir_tracker.fhir.definitions.registry import SearchParameter, search_parameters
from fhir_tracker.fhir.query_values import PREFIXES

BASE_URL = "https://fhir-tracker.example/SearchParameter/"

OWN_PARAMETERS: tuple[SearchParameter, ...] = (
    SearchParameter(
        code="due",
        type="date",
        url=BASE_URL + "Task-due",
        base=("Task",),
        expression="Task.restriction.period.end",
        comparators=PREFIXES,
    ),
    SearchParameter(
        code="instantiates-canonical",
        type="reference",
        url=BASE_URL + "Task-instantiates-canonical",
        base=("Task",),
        expression="Task.instantiatesCanonical",
        targets=("ActivityDefinition", "PlanDefinition"),
    ),
)


@cache
def parameters_of(type_: str) -> Mapping[str, SearchParameter]:
    """Code -> search parameter of a resource type: the official ones and ours."""
    own = {parameter.code: parameter for parameter in OWN_PARAMETERS if type_ in parameter.base}
    return MappingProxyType(dict(search_parameters(type_)) | own)
