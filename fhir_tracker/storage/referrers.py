"""What refers to a resource: current resources with a reference to it that the search index knows.

https://hl7.org/fhir/R4/http.html#delete
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from sqlalchemy import ColumnElement, false, select

from fhir_tracker.fhir.definitions.registry import resource_types
from fhir_tracker.fhir.expressions import NotCompilable, compile_expression
from fhir_tracker.fhir.own_parameters import parameters_of
from fhir_tracker.model.sight import BEHIND
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.storage.arrays import among
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.hashes import reference_key
from fhir_tracker.storage.scope import row_scope
from fhir_tracker.storage.tables import ix, resource

MOST_COUNTED = 1000
_KEYS_AT_ONCE = 10_000
_TRAIL = frozenset({"Provenance", "AuditEvent"})
"""What tells of a resource for ever, and so never stands in its way."""


@dataclass(frozen=True, kw_only=True)
class Referrers:
    """The resources that refer to one: `seen` are the `Type/id` of those the viewer may see, in order.

    `hidden`: there are others; `more`: there are more than were counted.
    """

    seen: tuple[str, ...]
    hidden: bool = False
    more: bool = False


def referrers(tx: Tx, viewer: Viewer, refs: Sequence[str], *, besides: Collection[str] = ()) -> Mapping[str, Referrers]:
    """`Type/id` -> who refers to it, with a version or without, for those of `refs` that others refer to.

    Provenance, AuditEvent, the resource itself and `besides` (`Type/id`) do not count, nor do canonicals, references
    by identifier and those no search parameter knows. Where many refer, not all that do may be named.
    """
    found: dict[str, Referrers] = {}
    for keys in _batches(refs):
        found |= _referrers(tx, viewer, keys, frozenset(besides))
    return found


def _batches(refs: Sequence[str]) -> Iterator[dict[int, str]]:
    """Key -> target, for as many targets as can be looked for at once."""
    keys: dict[int, str] = {}
    for ref in refs:
        keys |= {reference_key(type_, param, ref): ref for type_, param in _parameters_to(ref.partition("/")[0])}
        if len(keys) >= _KEYS_AT_ONCE:
            yield keys
            keys = {}
    if keys:
        yield keys


@cache
def _parameters_to(target: str) -> tuple[tuple[str, str], ...]:
    """The (type, parameter) pairs of references that may lead to a resource of type `target`."""
    return tuple(
        (type_, code)
        for type_ in sorted(resource_types() - _TRAIL)
        for code, one in parameters_of(type_).items()
        if one.type == "reference" and target in one.targets and _holds_references(type_, one.expression)
    )


def _holds_references(type_: str, expression: str) -> bool:
    try:
        return any(path.type == "Reference" for path in compile_expression(expression, type_))
    except NotCompilable:
        return False


def _referrers(tx: Tx, viewer: Viewer, keys: Mapping[int, str], besides: frozenset[str]) -> dict[str, Referrers]:
    """A resource that refers twice comes twice, and the target itself may come as often as it has keys."""
    limit = MOST_COUNTED + len(keys) + 1
    chosen = (
        select(ix.c.h, resource.c.type, resource.c.id, _seen(viewer).label("is_seen"))
        .select_from(ix.join(resource, resource.c.k == ix.c.k))
        .where(among(tx.dialect, ix.c.h, list(keys)), ~resource.c.deleted)
        .limit(limit)
    )
    rows = tx.rows(chosen)
    by_target: dict[str, dict[str, bool]] = defaultdict(dict)
    for row in rows:
        target, ref = keys[row["h"]], f"{row['type']}/{row['id']}"
        if ref != target and ref not in besides:
            by_target[target][ref] = bool(row["is_seen"])
    return {target: _told(some, more=len(rows) == limit) for target, some in by_target.items()}


def _seen(viewer: Viewer) -> ColumnElement[bool]:
    """Nothing is named to who acts for somebody else: what that one may see is known to others."""
    return false() if viewer.sight is BEHIND else row_scope(viewer, resource)


def _told(some: Mapping[str, bool], *, more: bool) -> Referrers:
    seen = tuple(sorted(ref for ref, is_seen in some.items() if is_seen))
    return Referrers(seen=seen, hidden=len(seen) < len(some), more=more)
