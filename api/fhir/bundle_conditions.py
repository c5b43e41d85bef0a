"""What the conditions of a transaction find: in the store, and among the entries of the same Bundle.

https://hl7.org/fhir/R4/http.html#trules
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from urllib.parse import parse_qsl

from api.fhir.conditional import condition_query
from api.fhir.exchange import FhirRequest
from api.fhir.needs import require
from fhir_tracker.fhir.body import read_json
from fhir_tracker.fhir.bundle_references import Target
from fhir_tracker.fhir.definitions.registry import search_parameters
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.query import LONGEST_VALUE
from fhir_tracker.storage import search
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.resources import Stored

AT_ONCE = 50
"""Identifiers looked up in one search."""
_SPECIAL = frozenset(",\\$")
Identifier = tuple[str, str, str]
"""Type of the resource, system and value."""


@dataclass(frozen=True, kw_only=True)
class Condition:
    """A condition on resources of `type`; `identifier` where that is all it asks for."""

    type: str
    text: str
    identifier: Identifier | None

    @property
    def is_chained(self) -> bool:
        """Whether resources of other types have a say in it."""
        return any("." in name or name.startswith("_has") for name, _ in parse_qsl(self.text))


def condition(type_: str, text: str) -> Condition:
    """The condition `text`, with or without the type and `?` before it."""
    bare = text.removeprefix(type_).removeprefix("?")
    return Condition(type=type_, text=bare, identifier=_identifier(type_, bare))


class Conditions:
    """Finds what conditions select: resources of the store that this transaction leaves alone, and its own ones."""

    def __init__(self, request: FhirRequest, tx: Tx) -> None:
        self._request = request
        self._tx = tx
        self._stored: dict[Identifier, tuple[Target, ...]] = {}
        self._own: dict[Identifier, list[str]] = defaultdict(list)
        self._replaced: set[str] = set()

    def look_up(self, wanted: Iterable[Condition]) -> None:
        """Search the store for many identifiers at once."""
        by_type: dict[str, set[Identifier]] = defaultdict(set)
        for one in wanted:
            if one.identifier and one.identifier not in self._stored:
                by_type[one.type].add(one.identifier)
        for type_, identifiers in sorted(by_type.items()):
            for some in _batches(sorted(identifiers)):
                self._look_up(type_, some)

    def add(self, ref: str, resource: Resource) -> None:
        """Count in what this transaction writes as `ref`, instead of what the store holds there."""
        self._replaced.add(ref)
        type_ = ref.partition("/")[0]
        for system, value in _identifiers(resource):
            self._own[type_, system, value].append(ref)

    def found(self, wanted: Condition) -> dict[str, Target]:
        """`Type/id` -> target of what a condition selects; what was added counts where only an identifier is asked for."""
        if wanted.identifier is None:
            return {one.ref: _target(one) for one in self._search(wanted, 2)}
        if wanted.identifier not in self._stored:
            self._look_up(wanted.type, [wanted.identifier])
        kept = {one.ref: one for one in self._stored[wanted.identifier] if one.ref not in self._replaced}
        return kept | {ref: Target(ref=ref) for ref in self._own.get(wanted.identifier, ())}

    def _look_up(self, type_: str, identifiers: list[Identifier]) -> None:
        for identifier in identifiers:
            self._stored[identifier] = ()
        text = "identifier=" + ",".join(_quoted(f"{system}|{value}") for _, system, value in identifiers)
        limit = 4 * len(identifiers) + 50
        rows = self._search(Condition(type=type_, text=text, identifier=None), limit)
        if len(rows) == limit and len(identifiers) > 1:
            for identifier in identifiers:
                self._look_up(type_, [identifier])
            return
        for row in rows:
            for system, value in set(_identifiers(read_json(row.body.encode(), max_bytes=1 << 30))):
                if (type_, system, value) in self._stored:
                    self._stored[type_, system, value] += (_target(row),)

    def _search(self, wanted: Condition, count: int) -> tuple[Stored, ...]:
        require(self._request.viewer.sight, "s", wanted.type)
        query = condition_query(replace(self._request, type=wanted.type), wanted.text)
        return search.search(self._tx, self._request.viewer, replace(query, count=count)).matches


def _batches(identifiers: Iterable[Identifier]) -> Iterator[list[Identifier]]:
    """As many at a time as one search parameter takes."""
    some: list[Identifier] = []
    length = 0
    for one in identifiers:
        size = len(one[1]) + len(one[2]) + 2
        if some and (len(some) == AT_ONCE or length + size > LONGEST_VALUE):
            yield some
            some, length = [], 0
        some.append(one)
        length += size
    if some:
        yield some


def _target(stored: Stored) -> Target:
    return Target(ref=stored.ref, version=stored.version)


def _identifier(type_: str, text: str) -> Identifier | None:
    """The identifier of a condition that is one `identifier=system|value` and nothing else."""
    if not _has_plain_identifier(type_):
        return None
    pairs = parse_qsl(text, keep_blank_values=True)
    if len(pairs) != 1 or pairs[0][0] != "identifier" or _SPECIAL & set(pairs[0][1]):
        return None
    system, bar, value = pairs[0][1].partition("|")
    return (type_, system, value) if bar and system and value and "|" not in value else None


@cache
def _has_plain_identifier(type_: str) -> bool:
    parameter = search_parameters(type_).get("identifier")
    if parameter is None:
        return False
    own = [part.strip() for part in parameter.expression.split("|") if part.strip().startswith(f"{type_}.")]
    return own == [f"{type_}.identifier"]


def _identifiers(resource: Resource) -> Iterator[tuple[str, str]]:
    held = resource.get("identifier")
    for one in held if type(held) is list else [held]:
        if type(one) is dict and type(one.get("system")) is type(one.get("value")) is str:
            yield one["system"], one["value"]


def _quoted(text: str) -> str:
    return text.replace("%", "%25").replace("&", "%26").replace("+", "%2B").replace("#", "%23").replace(";", "%3B")
