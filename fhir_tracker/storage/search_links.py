"""Chains and reverse chains: conditions on resources at the other end of a reference, turned into keys or rows.

https://hl7.org/fhir/R4/search.html#chaining
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import msgspec
from sqlalchemy import Column, ColumnElement, Select, select
from sqlalchemy.engine import RowMapping

from fhir_tracker.errors import Incorrect, Issue
from fhir_tracker.fhir.body import read_json
from fhir_tracker.fhir.expressions import compile_expression
from fhir_tracker.fhir.own_parameters import parameters_of
from fhir_tracker.fhir.query import Filter
from fhir_tracker.fhir.search_values import extract
from fhir_tracker.storage.arrays import among
from fhir_tracker.storage.conditions import Condition, Types, by_keys
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.hashes import reference_key
from fhir_tracker.storage.slices import slices
from fhir_tracker.storage.tables import ix, resource

MOST_MET = 100_000
"""How many resources a chain may meet at its other end."""
FEW_READ = 1000
"""Up to so many resources are read to see what they refer to."""

LOOKED_AT = (64, 512, 4096)
"""How many candidates are asked one by one who refers to them, before it is asked of all that are left."""


_refer = ix.alias("refer")
_NAMED = (resource.c.k, resource.c.type, resource.c.id)


class Candidates(Protocol):
    """Resources that could be answers, and their `k`."""

    @property
    def k(self) -> Column[int]:
        """What they are ordered by."""

    def of(self, chosen: Select[Any]) -> Select[Any]:
        """`chosen` (from `resource`) of these."""


@dataclass(frozen=True, kw_only=True)
class Some:
    """The first `count` by `k`, newest first or with `back` oldest first, beyond the `k` of `place`."""

    count: int
    place: int | None = None
    back: bool = False

    def of(self, candidates: Candidates, columns: Sequence[ColumnElement[Any]]) -> Select[Any]:
        """Those of the candidates that come into question, in order."""
        k = candidates.k
        chosen = candidates.of(select(*columns).select_from(resource)).order_by(k.asc() if self.back else k.desc())
        if self.place is None:
            return chosen
        return chosen.where(k > self.place if self.back else k < self.place)


Find = Callable[[Types, Filter, Sequence[ColumnElement[Any]]], Select[Any]]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is searched: `find` selects resources of some types that pass a filter, `candidates` those that could be answers.

    With `some`, only those of the answers are needed.
    """

    tx: Tx
    types: Types
    find: Find
    candidates: Callable[[], Candidates]
    some: Some | None = None


def linked(asked: Asked, one: Filter) -> Condition:
    """The condition of a `chain` or `has` filter; raises Incorrect, too costly, when more than MOST_MET are met."""
    return _chained(asked, one) if one.type == "chain" else _referred(asked, one)


def _chained(asked: Asked, one: Filter) -> Condition:
    canonical = any(_is_canonical(type_, one.param) for type_ in asked.types)
    columns = [resource.c.type, resource.c.id, *([resource.c.body] if canonical else [])]
    targets: set[str] = set()
    for link in one.links:
        for row in _bounded(asked.tx, asked.find(link.types, link.filter, columns), one.param):
            targets |= _names(row, canonical=canonical)
    keys = [reference_key(type_, one.param, target) for type_ in asked.types for target in sorted(targets)]
    return by_keys(asked.tx.dialect, keys)


def _is_canonical(type_: str, param: str) -> bool:
    paths = compile_expression(parameters_of(type_)[param].expression, type_)
    return any(path.type in {"canonical", "uri"} for path in paths)


def _names(row: RowMapping, *, canonical: bool) -> set[str]:
    """The texts that a reference to a resource can be found by: its `Type/id`, and its canonical address."""
    names = {f"{row['type']}/{row['id']}"}
    if canonical:
        url = msgspec.json.decode(row["body"], type=dict[str, Any]).get("url")
        if isinstance(url, str):
            names.add(url)
    return names


def _referred(asked: Asked, one: Filter) -> Condition:
    ks: set[int] = set()
    for link in one.links:
        referring = asked.find(link.types, link.filter, [resource.c.k])
        some = [row["k"] for row in asked.tx.rows(referring.limit(FEW_READ + 1))]
        ks |= (
            _targets(asked, one.param, some) if len(some) <= FEW_READ else _met(asked, one.param, link.types, referring)
        )
    return Condition(ks=tuple(sorted(ks)))


def _targets(asked: Asked, param: str, referring: Sequence[int]) -> set[int]:
    """The `k` of what these resources refer to."""
    wanted: dict[str, set[str]] = {}
    bodies = select(resource.c.body).where(among(asked.tx.dialect, resource.c.k, referring))
    for row in asked.tx.rows(bodies):
        for value in extract(read_json(row["body"].encode())).references:
            if value.param == param and value.type in asked.types and value.id and not value.url:
                wanted.setdefault(value.type, set()).add(value.id)
    found: set[int] = set()
    for type_, ids in wanted.items():
        for listed in slices(sorted(ids), FEW_READ):
            some = select(resource.c.k).where(resource.c.type == type_, resource.c.id.in_(listed))
            found |= {row["k"] for row in asked.tx.rows(some)}
    return found


def _met(asked: Asked, param: str, sources: Types, referring: Select[Any]) -> set[int]:
    """Of the candidates, the `k` of those that any of `referring` refers to: for when these are many."""
    candidates = asked.candidates()
    # With `+ 0` SQLite does not look up every pair of a key and a `k`.
    every = (_refer.c.k + 0).in_(referring.correlate(None))
    if asked.some is None:
        rows = _bounded(asked.tx, candidates.of(select(*_NAMED).select_from(resource)), param)
        return _referred_to(asked, param, sources, rows, every)
    some, found = asked.some, set[int]()
    for size in LOOKED_AT:
        rows = asked.tx.rows(some.of(candidates, _NAMED).limit(size))
        found |= _referred_to(asked, param, sources, rows, _each(referring))
        if len(rows) < size or len(found) >= some.count:
            return found
        some = replace(some, place=rows[-1]["k"])
    rows = _bounded(asked.tx, some.of(candidates, _NAMED), param)
    return found | _referred_to(asked, param, sources, rows, every)


def _each(referring: Select[Any]) -> ColumnElement[bool]:
    """That what refers is one of `referring`, looked up by its `k`."""
    return referring.where(resource.c.k == _refer.c.k).correlate(_refer).offset(0).exists()


def _referred_to(
    asked: Asked, param: str, sources: Types, rows: Sequence[RowMapping], does: ColumnElement[bool]
) -> set[int]:
    by_key = {
        reference_key(source, param, f"{row['type']}/{row['id']}"): row["k"] for row in rows for source in sources
    }
    if not by_key:
        return set()
    met = select(_refer.c.h).where(among(asked.tx.dialect, _refer.c.h, list(by_key)), does)
    return {by_key[row["h"]] for row in asked.tx.rows(met.distinct())}


def _bounded(tx: Tx, chosen: Select[Any], param: str) -> Sequence[RowMapping]:
    rows = tx.rows(chosen.limit(MOST_MET + 1))
    if len(rows) > MOST_MET:
        message = f"{param}: more than {MOST_MET} resources would have to be looked at; add a narrower condition."
        raise Incorrect(message, issues=(Issue(message=message, code="too-costly"),))
    return rows
