"""Which statement finds what a search asks for: all conditions, led by the one that leaves the least to look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, func, select

from fhir_tracker.fhir.definitions.registry import resource_types
from fhir_tracker.fhir.query import Filter
from fhir_tracker.fhir.query_values import TokenValue
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.storage.arrays import among
from fhir_tracker.storage.conditions import Condition, Types, by_keys, combined, condition, dated, windows
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.scope import row_scope
from fhir_tracker.storage.search_links import Asked, linked
from fhir_tracker.storage.search_membership import membership
from fhir_tracker.storage.tables import ix, resource

FEW = 2000
"""Up to so many index rows are fetched and sorted; a walk in order is cheaper beyond."""
_walked = ix.alias("walked")
"""The index rows of the key that is walked along: others are probed for their `k`, before any resource is looked at."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Conditions on rows of `resource`; with `key` they are joined to the index and walked along that key.

    With `few` they are looked at one by one, at most FEW.
    """

    where: tuple[ColumnElement[bool], ...]
    key: int | None = None
    few: bool = False

    @property
    def k(self) -> ColumnElement[int]:
        """The `k` to order by."""
        return resource.c.k if self.key is None else _walked.c.k

    def of(self, chosen: Select[Any]) -> Select[Any]:
        """`chosen` (from `resource`) with all conditions."""
        if self.key is not None:
            chosen = chosen.join_from(resource, _walked, _walked.c.k == resource.c.k).where(_walked.c.h == self.key)
        return chosen.where(*self.where)


def plan(
    tx: Tx, viewer: Viewer, types: Types, filters: Sequence[Filter], compartment: tuple[str, str] | None = None
) -> Plan:
    """How to find the resources of `types` that pass every filter and that `viewer` may see.

    Raises Incorrect, too costly, for a chain or reverse chain that meets too many resources on its way.
    """
    return _chosen(tx, viewer, types, _conditions(tx, viewer, types, filters, compartment))


def _conditions(
    tx: Tx, viewer: Viewer, types: Types, filters: Sequence[Filter], compartment: tuple[str, str] | None
) -> list[Condition]:
    """The simple conditions first: a reverse chain looks only at what they leave."""
    simple = tuple(one for one in filters if not one.links)
    known: list[Condition] = []
    if compartment is not None:
        known.append(membership(tx.dialect, types, compartment, _rows_of(tx, (compartment[0],), [compartment[1]])))
    key, rest = combined(types, simple)
    if key is not None:
        known.append(by_keys(tx.dialect, [key]))
    for merge in (dated, windows):
        found, rest = merge(types, rest)
        known += found
    known += [_of_ids(tx, types, one) if _is_ids(one) else condition(tx.dialect, types, one) for one in rest]
    for one in filters:
        if one.links:
            asked = Asked(
                tx=tx,
                types=types,
                find=lambda wanted, inner, columns: _find(tx, viewer, wanted, (inner,), columns),
                candidates=lambda columns, so_far=tuple(known): (  # type: ignore[misc]
                    _chosen(tx, viewer, types, so_far).of(select(*columns).select_from(resource))
                ),
            )
            known.append(linked(asked, one))
    return known


def _find(
    tx: Tx, viewer: Viewer, types: Types, filters: Sequence[Filter], columns: Sequence[ColumnElement[Any]]
) -> Select[Any]:
    return plan(tx, viewer, types, filters).of(select(*columns).select_from(resource))


def _chosen(tx: Tx, viewer: Viewer, types: Types, conditions: Sequence[Condition]) -> Plan:
    where: list[ColumnElement[bool]] = [~resource.c.deleted, row_scope(viewer, resource)]
    lead = _lead(tx, conditions)
    key: int | None = None
    if lead is None:
        where += _of_types(types)
    elif lead.condition.keys and len(lead.condition.keys) == 1 and lead.few is None:
        (key,) = lead.condition.keys
    elif lead.few is not None:
        where.append(among(tx.dialect, resource.c.k, lead.few))
    others = [one for one in conditions if lead is None or one is not lead.condition]
    where += [one.holds(resource.c.k if key is None else _walked.c.k, tx.dialect) for one in others]
    return Plan(where=tuple(where), key=key, few=lead is not None and lead.few is not None)


def _of_types(types: Types) -> list[ColumnElement[bool]]:
    if len(types) == len(resource_types()):
        return []
    return [resource.c.type == types[0] if len(types) == 1 else resource.c.type.in_(types)]


def _is_ids(one: Filter) -> bool:
    return one.type == "id" and one.modifier is None


def _of_ids(tx: Tx, types: Types, one: Filter) -> Condition:
    ids = [value.code or "" for value in one.values if isinstance(value, TokenValue)]
    return Condition(ks=tuple(_rows_of(tx, types, ids)))


def _rows_of(tx: Tx, types: Types, ids: Sequence[str]) -> list[int]:
    named = select(resource.c.k).where(resource.c.type.in_(types), resource.c.id.in_(ids))
    return [row["k"] for row in tx.rows(named)]


@dataclass(frozen=True, kw_only=True)
class _Lead:
    """The condition to start from: `few` all it finds, or none where its one key is walked along."""

    condition: Condition
    few: list[int] | None = None


def _lead(tx: Tx, conditions: Sequence[Condition]) -> _Lead | None:
    """The smallest of those that can be listed, by counting each up to FEW; else the first with a single key."""
    leading = [one for one in conditions if one.leads]
    single = [one for one in leading if one.keys is not None and len(one.keys) == 1 and not one.ks]
    if len(leading) == 1 and single:
        return _Lead(condition=single[0])
    sized = [(size, one) for one in leading if (size := _size(tx, one)) <= FEW]
    if sized:
        _, best = min(sized, key=lambda pair: pair[0])
        found = [row["k"] for row in tx.rows(best.found)] if best.found is not None else []
        return _Lead(condition=best, few=sorted({*found, *best.ks}))
    return _Lead(condition=single[0]) if single else None


def _size(tx: Tx, one: Condition) -> int:
    """How many index rows it finds, counted up to one more than FEW."""
    if one.found is None or len(one.ks) > FEW:
        return len(one.ks)
    some = one.found.limit(FEW + 1).subquery()
    return len(one.ks) + int(tx.value(select(func.count()).select_from(some)))
