"""A FHIRPath engine by other people, asked the search expressions of one resource."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any

import fhirpathpy
from fhirpathpy.models import models

from fhir_tracker.fhir.definitions.registry import SearchParameter
from fhir_tracker.fhir.json_types import Json, Resource

_RESOLVES = re.compile(r"\.where\(resolve\(\) is (\w+)\)$")
_COMPILED = cache(lambda expression: fhirpathpy.compile(expression, models["r4"], None))


def alternatives_of(parameter: SearchParameter, type_: str) -> list[str]:
    """The alternatives that start at `type_`; the engine would otherwise look for them in any resource."""
    found = [part.strip() for part in parameter.expression.split(" | ")]
    found = [f"{type_}.{part}" if part[0].islower() else part for part in found if part]
    return [part for part in found if re.match(rf"\(*({type_}|Resource|DomainResource)\b", part)]


def selected(resource: Resource, expression: str) -> list[Json]:
    """What fhirpathpy selects; `resolve() is T` is applied to the reference text, as nothing can be fetched."""
    expression = re.sub(r"^(Domain)?Resource\b", resource["resourceType"], expression)
    resolves = _RESOLVES.search(expression)
    compiled: Callable[[Resource, Any], list[Json]] = _COMPILED(_RESOLVES.sub("", expression))
    values = list(compiled(resource, None))
    if resolves:
        to_type = re.compile(rf"(^|/){resolves[1]}/[^/]+(/_history/[^/]+)?$")
        values = [value for value in values if to_type.search(str(value.get("reference", "")))]
    return values


def values_of(resource: Resource, parameter: SearchParameter) -> list[Json]:
    """What the engine finds for a whole parameter of the resource's type."""
    return [
        value
        for expression in alternatives_of(parameter, resource["resourceType"])
        for value in selected(resource, expression)
    ]
