"""What of a search its caller may ask: no answer, order or count depends on what they may not see.

https://hl7.org/fhir/R4/search.html
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from fhir_tracker.errors import Forbidden
from fhir_tracker.fhir.compartments import compartment_parameters
from fhir_tracker.fhir.definitions.registry import resource_types
from fhir_tracker.fhir.element_parameters import parameters_reading
from fhir_tracker.fhir.query import Query
from fhir_tracker.fhir.query_filters import Filter, Link
from fhir_tracker.fhir.query_results import EVERY, Include
from fhir_tracker.model.sight import Sight

Types = tuple[str, ...]


def permitted(sight: Sight, query: Query) -> Query:
    """The query over those types, and along those references, that may be searched.

    Raises Forbidden for a type that is named and may not be searched, for a chain or `_has` that leads to such types alone,
    and for a parameter that reads an element which is not shown.
    """
    if sight.is_whole("s") and not sight.hides:
        return query
    asking = _Asking(sight)
    types = asking.types_of(query)
    if query.sort:
        asking.check(types, (one.param for one in query.sort))
    for include in query.includes:
        asking.check_include(include)
    filters = tuple(asking.filter(types, one) for one in query.filters)
    return replace(query, types=types if types != query.searched else query.types, filters=filters)


def hidden_parameters(sight: Sight, type_: str) -> frozenset[str]:
    """The parameters of a type that would tell of what is not shown."""
    hidden = sight.hidden(type_)
    return parameters_reading(type_, hidden) if hidden else frozenset()


@dataclass(frozen=True)
class _Asking:
    sight: Sight

    def types_of(self, query: Query) -> Types:
        """The types that are searched; those that nobody named are left out where they may not be."""
        named = query.type or any(name == "_type" for name, _ in query.applied)
        found = tuple(one for one in query.searched if self.sight.may("s", one) and self._may_join(one, query))
        if not found or (named and len(found) < len(query.searched)):
            refused = next((one for one in query.searched if one not in found), "")
            raise Forbidden(
                f"Neither your role nor your scopes let you search {refused if named else 'anything'} here."
            )
        return found

    def filter(self, types: Types, one: Filter) -> Filter:
        """The same along links that may be gone."""
        if one.type == "has":
            links = self._links(one, along=one.param)
            return replace(one, links=links)
        self.check(types, [one.param])
        return replace(one, links=self._links(one)) if one.links else one

    def check(self, types: Iterable[str], params: Iterable[str]) -> None:
        """Raise Forbidden where a parameter reads what is not shown."""
        asked = tuple(params)
        for type_ in types:
            found = hidden_parameters(self.sight, type_) & set(asked)
            if found:
                raise Forbidden(f"Your role does not let you search or sort {type_} by {min(found)}.")

    def check_include(self, one: Include) -> None:
        """Raise Forbidden for an include by a reference that is not shown."""
        if one.param != EVERY:
            self.check(resource_types() if one.source == EVERY else [one.source], [one.param])

    def _links(self, one: Filter, along: str = "") -> tuple[Link, ...]:
        found: list[Link] = []
        for link in one.links:
            types = tuple(type_ for type_ in link.types if self.sight.may("s", type_))
            if types:
                if along:
                    self.check(types, [along])
                found.append(Link(types=types, filter=self.filter(types, link.filter)))
        if not found:
            raise Forbidden(f"Neither your role nor your scopes let you search along {one.param} here.")
        return tuple(found)

    def _may_join(self, type_: str, query: Query) -> bool:
        """Whether it may be known which resources of a type are in the compartment that is searched."""
        if query.compartment is None:
            return True
        return not hidden_parameters(self.sight, type_) & set(compartment_parameters(query.compartment[0], type_))
