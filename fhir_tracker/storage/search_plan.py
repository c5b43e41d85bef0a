"""Which statement finds what a search asks for: all conditions, led by the one that leaves the least to look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import BigInteger, Column, ColumnElement, Select, func, literal_column, select

from fhir_tracker.fhir.definitions.registry import resource_types
from fhir_tracker.fhir.query import Filter
from fhir_tracker.fhir.query_values import TokenValue
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.storage.arrays import among
from fhir_tracker.storage.conditions import Condition, Types, by_keys, combined, condition, dated, windows
from fhir_tracker.storage.database import Dialect, Tx
from fhir_tracker.storage.scope import confined_to, led_by, row_scope
from fhir_tracker.storage.scope_leads import few_seen
from fhir_tracker.storage.search_links import Asked, Some, linked
from fhir_tracker.storage.search_membership import membership
from fhir_tracker.storage.tables import ix, resource

FEW = 2000
"""Up to so many index rows are fetched and sorted; a walk in order is cheaper beyond."""
_walked = ix.alias("walked")
"""The index rows of the key that is walked along: others are probed for their `k`, before any resource is looked at."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Conditions on rows of `resource`, and `base`, those on its columns.

    With `key` its rows are joined to the index and walked along that key; `lead` is then its condition, which is not among
    `conditions`. With `ks` the matches are looked for among these. Without both they are looked for among all of `types`.
    """

    dialect: Dialect
    types: Types
    base: tuple[ColumnElement[bool], ...]
    conditions: tuple[Condition, ...]
    lead: Condition | None = None
    key: int | None = None
    ks: tuple[int, ...] | None = None

    @property
    def few(self) -> bool:
        """Whether the matches are among so few that they are looked at one by one."""
        return self.ks is not None

    @property
    def k(self) -> Column[int]:
        """The `k` to order by."""
        return resource.c.k if self.key is None else _walked.c.k

    @property
    def meeting(self) -> tuple[Condition, ...]:
        """The other conditions that are one key each, as that which is walked along."""
        return tuple(one for one in self.conditions if self.key is not None and one.is_single)

    def of(self, chosen: Select[Any]) -> Select[Any]:
        """`chosen` (from `resource`) with all conditions."""
        return self._joined(chosen).where(*self._where(self.conditions))

    def merged(self, chosen: Select[Any]) -> Select[Any]:
        """The same where much of every key is read: on PostgreSQL keys are joined in their order and not probed for.

        They stand in the statement, so that it is planned for them and not for keys in general.
        """
        meeting = self.meeting
        if self.dialect != "postgresql" or not meeting:
            return self.of(chosen)
        chosen = self._joined(chosen, literal=True)
        for number, one in enumerate(meeting):
            met = ix.alias(f"met_{number}")
            chosen = chosen.join(met, met.c.k == self.k).where(met.c.h == _literal(one.keys or ()))
        return chosen.where(*self._where([one for one in self.conditions if one not in meeting]))

    def probing(self, k: Column[int], conditions: Sequence[Condition]) -> list[ColumnElement[bool]]:
        """The conditions on a statement that joins `resource` and walks along another index, which has this `k`."""
        return [*self.base, *_of_types(self.types), *(one.holds(k, self.dialect) for one in conditions)]

    @property
    def all_conditions(self) -> tuple[Condition, ...]:
        """With the one that leads."""
        return self.conditions if self.lead is None else (self.lead, *self.conditions)

    def _joined(self, chosen: Select[Any], *, literal: bool = False) -> Select[Any]:
        if self.key is None:
            return chosen
        key = _literal([self.key]) if literal else self.key
        return chosen.join_from(resource, _walked, _walked.c.k == resource.c.k).where(_walked.c.h == key)

    def _where(self, conditions: Sequence[Condition]) -> list[ColumnElement[bool]]:
        where = list(self.base)
        if self.ks is not None:
            where.append(among(self.dialect, resource.c.k, self.ks))
        elif self.key is None:
            where += _of_types(self.types)
        return [*where, *(one.holds(self.k, self.dialect) for one in conditions)]


def _literal(keys: Sequence[int]) -> ColumnElement[int]:
    (key,) = keys
    return literal_column(str(int(key)), BigInteger)


def plan(
    tx: Tx,
    viewer: Viewer,
    types: Types,
    filters: Sequence[Filter],
    compartment: tuple[str, str] | None = None,
    some: Some | None = None,
) -> Plan:
    """How to find the resources of `types` that pass every filter and that `viewer` may see.

    With `some` it is enough that those are found. Raises Incorrect, too costly, for a chain or reverse chain that meets
    too many resources on its way.
    """
    return _chosen(tx, viewer, types, _conditions(tx, viewer, types, filters, compartment, some))


def _conditions(
    tx: Tx,
    viewer: Viewer,
    types: Types,
    filters: Sequence[Filter],
    compartment: tuple[str, str] | None,
    some: Some | None,
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
    links = sorted((one for one in filters if one.links), key=lambda one: one.type == "has")
    for one in links:
        asked = Asked(
            tx=tx,
            types=types,
            find=lambda wanted, inner, columns: _find(tx, viewer, wanted, (inner,), columns),
            candidates=lambda so_far=tuple(known): _chosen(tx, viewer, types, so_far),  # type: ignore[misc]
            some=some if one is links[-1] else None,
        )
        known.append(linked(asked, one))
    return known


def _find(
    tx: Tx, viewer: Viewer, types: Types, filters: Sequence[Filter], columns: Sequence[ColumnElement[Any]]
) -> Select[Any]:
    return plan(tx, viewer, types, filters).of(select(*columns).select_from(resource))


def _chosen(tx: Tx, viewer: Viewer, types: Types, conditions: Sequence[Condition]) -> Plan:
    lead = _lead(tx, [*conditions, *_of_viewer(tx, viewer, types)])
    found = Plan(
        dialect=tx.dialect,
        types=types,
        base=(~resource.c.deleted, row_scope(viewer, resource, right="s", types=_named(types))),
        conditions=tuple(one for one in conditions if lead is None or one is not lead.condition),
    )
    if lead is None:
        return found
    if lead.few is not None:
        return replace(found, ks=tuple(lead.few))
    (key,) = lead.condition.keys or ()
    return replace(found, lead=lead.condition, key=key)


def _of_viewer(tx: Tx, viewer: Viewer, types: Types) -> list[Condition]:
    """Where all that may be seen is of one patient, or of little work, or has one of some keys, that can lead: it is in the row
    scope anyway.
    """
    if viewer.sight.is_bounded:
        few = few_seen(tx, viewer, "s", types, FEW)
        return [] if few is None else [Condition(ks=few)]
    if len(types) == len(resource_types()):
        return []
    patient = confined_to(viewer, "s", types)
    if patient is not None:
        return [Condition(found=select(resource.c.k).where(resource.c.patient == patient, *_of_types(types)))]
    keys = led_by(viewer, "s", types)
    return [by_keys(tx.dialect, keys)] if keys else []


def _of_types(types: Types) -> list[ColumnElement[bool]]:
    if len(types) == len(resource_types()):
        return []
    return [resource.c.type == types[0] if len(types) == 1 else resource.c.type.in_(types)]


def _named(types: Types) -> Types:
    """The types where they are not all there are."""
    return () if len(types) == len(resource_types()) else types


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
    single = [one for one in leading if one.is_single]
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
