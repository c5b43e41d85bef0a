"""Which queries of scopes can be held to: those that the search index answers by an exact match.

https://hl7.org/fhir/smart-app-launch/STU2.2/scopes-and-launch-context.html#finer-grained-resource-constraints-using-search-parameters
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from fhir_tracker.errors import Incorrect
from fhir_tracker.fhir.definitions.registry import resource_types
from fhir_tracker.fhir.query_filters import Filter, read_filter
from fhir_tracker.model.grants import ANY, Grant

_TYPES: Final = frozenset({"token", "reference", "uri", "id"})
CANNOT: Final = "a query that nobody can be held to: use codes, identifiers, references and _id, without modifiers"


@lru_cache(maxsize=16_384)
def held_filter(type_: str, name: str, value: str) -> Filter | None:
    """The condition on resources of a type; None for negations, dates, texts, numbers, chains and unknown names."""
    try:
        found = read_filter((type_,), name, value, "")
    except Incorrect:
        return None
    if found is None or found.links or found.missing is not None or found.modifier not in {None, "identifier"}:
        return None
    return found if found.type in _TYPES and found.values else None


def is_understood(grant: Grant) -> bool:
    """Whether all filters of a grant can be held to, for some type it names; one that cannot gives nothing."""
    types = sorted(resource_types()) if grant.type == ANY else [grant.type]
    return any(all(held_filter(type_, *one) is not None for one in grant.filters) for type_ in types)
