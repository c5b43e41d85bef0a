"""A search as it was asked for: the parameters of a URL made into a checked query, knowing nothing of how it is answered.

https://hl7.org/fhir/R4/search.html
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b

from fhir_tracker.errors import Incorrect
from fhir_tracker.fhir.compartments import COMPARTMENTS, compartment_types
from fhir_tracker.fhir.definitions.registry import resource_types
from fhir_tracker.fhir.query_filters import APART, MODIFIERS, MOST_ALTERNATIVES, Filter, Link, read_filter, shown
from fhir_tracker.fhir.query_results import (
    MOST_COUNT,
    SORTED_BY,
    Include,
    SortKey,
    read_count,
    read_include,
    read_sort,
    read_total,
)
from fhir_tracker.fhir.query_values import ReferenceValue
from fhir_tracker.fhir.subsets import WHOLE, Subset, read_subset

__all__ = [
    "DEFAULT_COUNT", "LONGEST_VALUE", "MODIFIERS", "MOST_ALTERNATIVES", "MOST_COUNT", "MOST_PARAMETERS", "SORTED_BY",
    "Filter", "Include", "Link", "Query", "SortKey", "parse_query", "parse_system_query",
]  # fmt: skip

DEFAULT_COUNT = 50
MOST_PARAMETERS = 50
MOST_KEYS = 30_000
"""What the alternatives of one parameter may come to, over all types searched and referred to."""
MOST_LINKED = 120
"""Links of all chains in one search together, each of which may be a statement."""
LONGEST_VALUE = 2000
NOT_FILTERS = frozenset({"_format", "_pretty"})
"""Parameters that are about the answer's form; whoever answers reads them."""
_NOT_WALKED = frozenset({"_count", "_total"})


@dataclass(frozen=True, kw_only=True)
class Query:
    """All conditions must hold. `applied` are the pairs that count, for the self link; `ignored` the names passed over.

    `type` is "" for a search of the whole system; `types` are those searched, none for every type. With `compartment`,
    a type and an id, only what is in that compartment. `subset` is for whoever writes the answer.
    """

    type: str
    types: tuple[str, ...] = ()
    compartment: tuple[str, str] | None = None
    own_base: str = ""
    filters: tuple[Filter, ...] = ()
    sort: tuple[SortKey, ...] = ()
    count: int = DEFAULT_COUNT
    only_count: bool = False
    total: str | None = None
    subset: Subset = WHOLE
    includes: tuple[Include, ...] = ()
    applied: tuple[tuple[str, str], ...] = ()
    ignored: tuple[str, ...] = ()

    @property
    def searched(self) -> tuple[str, ...]:
        """The types searched, by name where they are all."""
        return self.types or _every_type()

    @property
    def fingerprint(self) -> str:
        """Equal for queries whose pages belong to one walk: all but `_count` and `_total`."""
        walked = [f"{key}={value}" for key, value in self.applied if key not in _NOT_WALKED]
        place = [] if self.type and not self.compartment else ["", *self.types, *(self.compartment or ())]
        return blake2b("\x1f".join([self.type, *walked, *place]).encode(), digest_size=9).hexdigest()


@dataclass(kw_only=True)
class _Reading:
    types: tuple[str, ...]
    own_base: str
    filters: list[Filter] = field(default_factory=list)
    sort: tuple[SortKey, ...] = ()
    count: int = DEFAULT_COUNT
    total: str | None = None
    summaries: list[str] = field(default_factory=list)
    elements: list[str] = field(default_factory=list)
    includes: list[Include] = field(default_factory=list)


def parse_query(
    type_: str,
    pairs: Sequence[tuple[str, str]],
    *,
    strict: bool,
    own_base: str = "",
    compartment: tuple[str, str] | None = None,
) -> Query:
    """The query of a search on `type_` by decoded `pairs` of name and value; `own_base` is our FHIR address without closing slash.

    A name that is not known or not supported is put into `ignored`, or with `strict` raises Incorrect. A wrong value or
    modifier always raises Incorrect, naming the parameter and what is supported. Empty values are passed over.
    """
    if compartment is not None and type_ not in compartment_types(compartment[0]):
        raise Incorrect(f"{type_} is in no compartment of {shown(compartment[0])}.")
    asked = Query(type=type_, types=(type_,), compartment=compartment, own_base=own_base.rstrip("/"))
    return _parse(asked, pairs, strict)


def parse_system_query(
    pairs: Sequence[tuple[str, str]],
    *,
    strict: bool,
    own_base: str = "",
    compartment: tuple[str, str] | None = None,
) -> Query:
    """The query of a search over the types that `_type` names, or without it over every type or all of the compartment.

    Only parameters that all these types have, with one meaning, are known. Raises as `parse_query`.
    """
    if compartment is not None and compartment[0] not in COMPARTMENTS:
        raise Incorrect(f"{shown(compartment[0])} has no compartment; {', '.join(sorted(COMPARTMENTS))} have.")
    types = compartment_types(compartment[0]) if compartment else ()
    named = [one for name, value in pairs if name == "_type" for one in value.split(",") if one]
    for one in named:
        if one not in (types or resource_types()):
            raise Incorrect(f"_type: {shown(one)} is not a type that is searched here.")
    if APART & set(named) and len(set(named)) > 1:
        raise Incorrect(f"_type: {', '.join(sorted(APART & set(named)))} is searched by itself, without other types.")
    if named:
        types = tuple(dict.fromkeys(named))
    asked = Query(type="", types=types, compartment=compartment, own_base=own_base.rstrip("/"))
    return _parse(asked, pairs, strict)


def _parse(asked: Query, pairs: Sequence[tuple[str, str]], strict: bool) -> Query:
    if len(pairs) > MOST_PARAMETERS:
        raise Incorrect(f"A search takes up to {MOST_PARAMETERS} parameters; this one has {len(pairs)}.")
    reading = _Reading(types=asked.searched, own_base=asked.own_base)
    applied: list[tuple[str, str]] = []
    ignored: list[str] = []
    for name, value in pairs:
        _check_text(name, value)
        if name in NOT_FILTERS or not value:
            continue
        if (name == "_type" and not asked.type) or _read(reading, name, value):
            applied.append((name, str(reading.count) if name == "_count" else value))
        elif strict:
            raise Incorrect(f"The parameter {shown(name)} is not supported for {asked.type or 'all types searched'}.")
        else:
            ignored.append(name)
    if sum(map(_links, reading.filters)) > MOST_LINKED:
        raise Incorrect("The chains of this search lead to too many types; name them, such as subject:Patient.name.")
    subset = read_subset(reading.summaries, reading.elements)
    return replace(
        asked,
        filters=tuple(reading.filters),
        sort=reading.sort,
        count=reading.count,
        only_count=subset.summary == "count" or reading.count == 0,
        total=reading.total,
        subset=subset,
        includes=tuple(dict.fromkeys(reading.includes)),
        applied=tuple(applied),
        ignored=tuple(dict.fromkeys(ignored)),
    )


def _links(one: Filter) -> int:
    return sum(1 + _links(link.filter) for link in one.links)


def _weight(one: Filter) -> int:
    return sum(len(value.targets) if isinstance(value, ReferenceValue) else 1 for value in one.values)


def _every_type() -> tuple[str, ...]:
    return tuple(sorted(resource_types()))


def _check_text(name: str, value: str) -> None:
    if len(name) > 200 or len(value) > LONGEST_VALUE:
        raise Incorrect(f"A search parameter is longer than {LONGEST_VALUE} characters.")
    for text in (name, value):
        if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
            raise Incorrect("A search parameter holds a character that no text can hold.")


def _read(reading: _Reading, name: str, value: str) -> bool:
    """True when the pair counts; False when it is not known or not supported."""
    match name:
        case "_count":
            reading.count = read_count(value)
        case "_sort":
            reading.sort = read_sort(reading.types, value)
        case "_summary":
            reading.summaries.append(value)
        case "_elements":
            reading.elements.append(value)
        case "_total":
            reading.total = read_total(value)
        case _ if name.partition(":")[0] in {"_include", "_revinclude"}:
            reading.includes.append(read_include(reading.types, name, value))
        case _:
            found = read_filter(reading.types, name, value, reading.own_base)
            if found is None:
                return False
            if _weight(found) * len(reading.types) > MOST_KEYS:
                raise Incorrect(f"{shown(name)} has too many values for so many types.")
            reading.filters.append(found)
    return True
