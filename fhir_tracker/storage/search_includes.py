"""What comes with the matches of a search: what they refer to and what refers to them, by rounds, each resource once.

https://hl7.org/fhir/R4/search.html#revinclude
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from itertools import islice
from typing import Any

import msgspec
from sqlalchemy import func, select

from fhir_tracker.fhir.body import read_json
from fhir_tracker.fhir.definitions.registry import resource_types
from fhir_tracker.fhir.own_parameters import parameters_of
from fhir_tracker.fhir.query import Include, Query
from fhir_tracker.fhir.query_filters import common_parameter
from fhir_tracker.fhir.query_results import EVERY
from fhir_tracker.fhir.references import ReferenceKind, parse_reference
from fhir_tracker.fhir.search_rows import ReferenceRow
from fhir_tracker.fhir.search_values import extract
from fhir_tracker.model.search_rights import hidden_parameters
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.storage import resources
from fhir_tracker.storage.arrays import among
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.hashes import reference_key, uri_key
from fhir_tracker.storage.records import from_row
from fhir_tracker.storage.resources import Stored
from fhir_tracker.storage.scope import row_scope
from fhir_tracker.storage.tables import ix, resource

MOST_INCLUDED = 1000
MOST_KEYS = 200_000
KEYS_AT_ONCE = 20_000
"""How many references to what is there are looked up in a round, and by one statement."""
MOST_ROUNDS = 5
"""How far `:iterate` goes from the matches."""


def included(tx: Tx, viewer: Viewer, query: Query, matches: Sequence[Stored]) -> tuple[tuple[Stored, ...], bool]:
    """What the includes of `query` add to these matches, and whether more would have come but for the limits."""
    if not query.includes or not matches:
        return (), False
    gathering = _Gathering(tx=tx, viewer=viewer, own_base=query.own_base, seen={one.ref for one in matches})
    newest: Sequence[Stored] = matches
    for number in range(MOST_ROUNDS + 1):
        includes = query.includes if number == 0 else [one for one in query.includes if one.iterate]
        found = gathering.round(includes, newest)
        if number == MOST_ROUNDS and found:
            return tuple(gathering.kept), True
        newest = gathering.keep(found)
        if not newest or gathering.cut:
            break
    return tuple(gathering.kept), gathering.cut


@dataclass(kw_only=True)
class _Gathering:
    tx: Tx
    viewer: Viewer
    own_base: str
    seen: set[str]
    kept: list[Stored] = field(default_factory=list)
    cut: bool = False

    def round(self, includes: Sequence[Include], around: Sequence[Stored]) -> list[Stored]:
        """What these includes find from `around` and nobody has found yet."""
        found: dict[str, Stored] = {}
        references = _references(around) if any(not one.reverse for one in includes) else {}
        for include in includes:
            more = self._reverse(include, around) if include.reverse else self._forward(include, references)
            found |= {one.ref: one for one in more if not one.deleted and one.ref not in self.seen}
        return list(found.values())

    def keep(self, found: Sequence[Stored]) -> list[Stored]:
        """Those for which there is room."""
        room = MOST_INCLUDED - len(self.kept)
        self.cut = self.cut or len(found) > room
        fresh = list(found[:room])
        self.kept += fresh
        self.seen |= {one.ref for one in fresh}
        return fresh

    def _forward(self, include: Include, references: dict[str, list[ReferenceRow]]) -> Iterable[Stored]:
        rows = [
            row
            for type_, listed in references.items()
            if include.source in {EVERY, type_}
            for row in listed
            if include.param in {EVERY, row.param} and row.param not in hidden_parameters(self.viewer.sight, type_)
        ]
        local = {ref for row in rows if (ref := self._local(row)) and include.target in {None, ref.partition("/")[0]}}
        wanted = sorted(local - self.seen)
        self.cut = self.cut or len(wanted) > MOST_INCLUDED
        yield from resources.find_many(self.tx, self.viewer, wanted[:MOST_INCLUDED]).values()
        addresses = {row.url for row in rows if row.url and not row.id}
        if addresses:
            yield from self._canonical(include, addresses)

    def _local(self, row: ReferenceRow) -> str | None:
        """The `Type/id` here that a reference means; None when it is to elsewhere."""
        if row.id and not row.url:
            return f"{row.type}/{row.id}"
        base = f"{self.own_base}/"
        if not row.url or not self.own_base or not row.url.startswith(base):
            return None
        parsed = parse_reference(row.url.removeprefix(base))
        return f"{parsed.type}/{parsed.id}" if parsed.kind is ReferenceKind.RELATIVE else None

    def _canonical(self, include: Include, addresses: set[str]) -> Iterator[Stored]:
        """The resources with these canonical addresses; a version after a bar must be theirs."""
        versions: dict[str, set[str]] = {}
        for address in addresses:
            url, _, version = address.partition("|")
            versions.setdefault(url, set()).add(version)
        sources = sorted(resource_types()) if include.source == EVERY else [include.source]
        params = [common_parameter((source,), include.param) for source in sources if include.param != EVERY]
        targets = {target for one in params if one is not None for target in one.targets} or resource_types()
        keys = [uri_key(type_, "url", url) for type_ in sorted(targets) if _has_url(type_) for url in versions]
        for one in self._found_by(keys, "r"):
            told = msgspec.json.decode(one.body, type=dict[str, Any])
            wanted = versions.get(told.get("url", ""), set())
            if include.target in {None, one.type} and (told.get("version") in wanted or wanted == {""}):
                yield one

    def _reverse(self, include: Include, around: Sequence[Stored]) -> Iterator[Stored]:
        wanted = [one.ref for one in around if include.target in {None, one.type}]
        keys = self._keys_to(include, wanted)
        while some := list(islice(keys, KEYS_AT_ONCE)):
            yield from self._found_by(some, "s")

    def _keys_to(self, include: Include, wanted: Sequence[str]) -> Iterator[int]:
        """The keys of references to these resources, as many as may be looked up in one round."""
        sources = self._stored_types if include.source == EVERY else (include.source,)
        seen: set[int] = set()
        for source in sources:
            untold = hidden_parameters(self.viewer.sight, source)
            for param, targets in _reference_parameters(source):
                if include.param in {EVERY, param} and param not in untold:
                    aimed = [ref for ref in wanted if not targets or ref.partition("/")[0] in targets]
                    fresh = dict.fromkeys(reference_key(source, param, ref) for ref in aimed)
                    self.cut = self.cut or len(seen) + len(fresh) > MOST_KEYS
                    fresh = dict.fromkeys(key for key in islice(fresh, MOST_KEYS - len(seen)) if key not in seen)
                    seen.update(fresh)
                    yield from fresh

    @cached_property
    def _stored_types(self) -> tuple[str, ...]:
        """The types that anything is stored of and that may be searched, each by one step in the index."""
        walked = select(func.min(resource.c.type).label("type")).cte("stored_types", recursive=True)
        following = select(func.min(resource.c.type)).where(resource.c.type > walked.c.type).scalar_subquery()
        walked = walked.union_all(select(following).where(walked.c.type.is_not(None)))
        types = [row["type"] for row in self.tx.rows(select(walked.c.type).where(walked.c.type.is_not(None)))]
        return tuple(one for one in types if self.viewer.sight.may("s", one))

    def _found_by(self, keys: Sequence[int], right: str) -> list[Stored]:
        if not keys:
            return []
        having = select(ix.c.k).where(among(self.tx.dialect, ix.c.h, keys))
        chosen = select(resource).where(resource.c.k.in_(having), ~resource.c.deleted)
        chosen = chosen.where(row_scope(self.viewer, resource, right=right))
        rows = self.tx.rows(chosen.order_by(resource.c.k.desc()).limit(MOST_INCLUDED + len(self.seen) + 1))
        return [from_row(Stored, row) for row in rows]


def _references(around: Sequence[Stored]) -> dict[str, list[ReferenceRow]]:
    """Type -> every reference of the resources of that type, once each.

    A canonical with a version has a row without it too, which would mean any version: it is left out.
    """
    found: dict[str, dict[ReferenceRow, None]] = {}
    for one in around:
        rows = extract(read_json(one.body.encode())).references
        versioned = {(row.param, row.url.partition("|")[0]) for row in rows if row.url and "|" in row.url}
        kept = [row for row in rows if (row.param, row.url) not in versioned]
        found.setdefault(one.type, {}).update(dict.fromkeys(kept))
    return {type_: list(rows) for type_, rows in found.items()}


@cache
def _reference_parameters(type_: str) -> tuple[tuple[str, frozenset[str]], ...]:
    """The reference parameters of a type and what each can refer to, nothing where that is everything."""
    known = [(code, common_parameter((type_,), code)) for code in parameters_of(type_)]
    return tuple((code, frozenset(one.targets)) for code, one in known if one is not None and one.type == "reference")


def _has_url(type_: str) -> bool:
    found = parameters_of(type_).get("url")
    return found is not None and found.type == "uri"
