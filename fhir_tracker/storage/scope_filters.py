"""The filters of scopes, as what the search index must hold of a resource for it to be within.

https://hl7.org/fhir/smart-app-launch/STU2.2/scopes-and-launch-context.html#finer-grained-resource-constraints-using-search-parameters
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from fhir_tracker.fhir.query_values import TokenValue
from fhir_tracker.model.held_filters import held_filter
from fhir_tracker.model.sight import Filters
from fhir_tracker.storage.conditions import filter_keys

MOST_KEYS = 2000


@dataclass(frozen=True)
class Needed:
    """One of `keys` must be in the index under the resource, or its id one of `ids`."""

    keys: frozenset[int] = frozenset()
    ids: frozenset[str] = frozenset()


def needed(types: Iterable[str], filters: Filters) -> tuple[Needed, ...] | None:
    """What resources of `types` must have to be found by all of `filters`; None where none of them can be.

    A type by which one of the filters cannot be understood is not reached: its keys are in none of the index rows.
    """
    found: list[Needed] = []
    able = [type_ for type_ in types if all(_of(type_, *one) for one in filters)]
    for name, value in filters:
        each = [one for type_ in able if (one := _of(type_, name, value)) is not None]
        keys = frozenset(key for one in each for key in one.keys)
        ids = frozenset(id_ for one in each for id_ in one.ids)
        if not (keys or ids) or len(keys) > MOST_KEYS:
            return None
        found.append(Needed(keys, ids))
    return tuple(found)


def able(types: Iterable[str], filters: Filters) -> tuple[str, ...]:
    """Those of `types` for which all of `filters` are understood."""
    return tuple(type_ for type_ in types if all(_of(type_, *one) for one in filters))


@lru_cache(maxsize=16_384)
def _of(type_: str, name: str, value: str) -> Needed | None:
    found = held_filter(type_, name, value)
    if found is None:
        return None
    if found.type == "id":
        ids = frozenset(one.code for one in found.values if isinstance(one, TokenValue) and one.code)
        return Needed(ids=ids) if ids else None
    keys = filter_keys((type_,), found)
    return Needed(keys=frozenset(keys)) if keys else None
