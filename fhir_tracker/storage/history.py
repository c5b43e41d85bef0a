"""Versions of one resource, of a type or of everything, newest first, page by page.

The order is by time, then by `k` and version: what a later write adds comes before the first page, so that each version
that was there when a walk began comes exactly once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, exists, func, or_, select

from fhir_tracker.model.viewer import Viewer
from fhir_tracker.storage.arrays import among
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.records import from_row
from fhir_tracker.storage.resources import Op
from fhir_tracker.storage.scope import row_scope
from fhir_tracker.storage.scope_leads import few_seen
from fhir_tracker.storage.tables import resource, resource_version

MOST_COUNTED = 10_000
"""A history with more versions than this is served without its total, as one in which few are seen of more than these."""
FEW = 2000
"""Up to so many resources of a type, their versions are fetched and sorted; a walk along time is cheaper beyond."""


@dataclass(frozen=True, kw_only=True)
class PastVersion:
    """One version, past or present; `body` is None for a deletion."""

    k: int
    type: str
    id: str
    version: int
    updated_at: datetime
    op: Op
    body: str | None
    patient: str | None = None


@dataclass(frozen=True, kw_only=True)
class Span:
    """What a history is of: all without `type`, one resource with `id`.

    `since`: written then or later. `low` and `high`: current at some time in [low, high); each may be open.
    """

    type: str | None = None
    id: str | None = None
    since: datetime | None = None
    low: datetime | None = None
    high: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a page ended."""

    updated_at: datetime
    k: int
    version: int


@dataclass(frozen=True, kw_only=True)
class HistoryPage:
    """`total` None when there are too many to count; `next` None on the last page."""

    versions: tuple[PastVersion, ...]
    total: int | None
    next: Place | None = None


def page(tx: Tx, viewer: Viewer, span: Span, *, count: int, after: Place | None = None) -> HistoryPage:
    """Up to `count` versions, newest first, going on `after` the end of an earlier page."""
    few = None if span.id is not None else _few(tx, viewer, span)
    scope = _scope(tx, viewer, span, few)
    is_counted = few is not None or span.id is not None or _is_countable(tx, viewer)
    total = _total(tx, scope) if is_counted else None
    if count == 0:
        return HistoryPage(versions=(), total=total)
    when, k, version = (resource_version.c[name] for name in ("updated_at", "k", "version"))
    chosen = _columns().where(*scope).order_by(when.desc(), k.desc(), version.desc()).limit(count + 1)
    if after is not None:
        chosen = chosen.where(_older(after))
    versions = tuple(from_row(PastVersion, row) for row in tx.rows(chosen))
    if len(versions) <= count:
        return HistoryPage(versions=versions, total=total)
    last = versions[count - 1]
    place = Place(updated_at=last.updated_at, k=last.k, version=last.version)
    return HistoryPage(versions=versions[:count], total=total, next=place)


def _columns() -> Select[Any]:
    is_current = (resource.c.version == resource_version.c.version) & ~resource.c.deleted
    body = case((is_current, resource.c.body), else_=resource_version.c.body).label("body")
    own = [resource_version.c[name] for name in ("k", "version", "updated_at", "op", "patient")]
    return select(*own, resource.c.type, resource.c.id, body).select_from(
        resource_version.join(resource, resource.c.k == resource_version.c.k)
    )


def _total(tx: Tx, scope: Sequence[ColumnElement[bool]]) -> int | None:
    rows = _columns().with_only_columns(resource_version.c.k).where(*scope).limit(MOST_COUNTED + 1).subquery()
    total = int(tx.value(select(func.count()).select_from(rows)))
    return total if total <= MOST_COUNTED else None


def _is_countable(tx: Tx, viewer: Viewer) -> bool:
    """Whether what this viewer sees need not be looked for among more versions than are counted."""
    if viewer.sees_all:
        return True
    some = select(resource_version.c.k).limit(MOST_COUNTED + 1).subquery()
    return int(tx.value(select(func.count()).select_from(some))) <= MOST_COUNTED


def _scope(tx: Tx, viewer: Viewer, span: Span, few: Sequence[int] | None) -> list[ColumnElement[bool]]:
    """Both the resource and the version must be for this viewer: a resource can have changed its patient."""
    right, types = "s" if span.id is None else "r", () if span.type is None else (span.type,)
    scope = [row_scope(viewer, table, right=right, types=types) for table in (resource, resource_version)]
    if span.type is not None and span.id is not None:
        scope += [resource.c.type == span.type, resource.c.id == span.id]
    else:
        scope += [] if span.type is None else [_is_of(span.type)]
        scope += [] if few is None else [among(tx.dialect, resource_version.c.k, few)]
    if span.since is not None:
        scope.append(resource_version.c.updated_at >= span.since)
    if span.high is not None:
        scope.append(resource_version.c.updated_at < span.high)
    if span.low is not None:
        scope.append(_lasted_beyond(span.low))
    return scope


def _is_of(type_: str) -> ColumnElement[bool]:
    """A condition that no index answers, so that the versions are walked along time and not fetched and sorted."""
    return func.coalesce(resource.c.type, "") == type_


def _few(tx: Tx, viewer: Viewer, span: Span) -> Sequence[int] | None:
    """All of the span that the viewer sees, or all of its type, where that is few."""
    seen = few_seen(tx, viewer, "s", () if span.type is None else (span.type,), FEW)
    if seen is not None or span.type is None:
        return seen
    found = tx.rows(select(resource.c.k).where(resource.c.type == span.type).limit(FEW + 1))
    return [row["k"] for row in found] if len(found) <= FEW else None


def _lasted_beyond(moment: datetime) -> ColumnElement[bool]:
    following = resource_version.alias("following")
    return ~exists().where(
        following.c.k == resource_version.c.k,
        following.c.version == resource_version.c.version + 1,
        following.c.updated_at <= moment,
    )


def _older(place: Place) -> ColumnElement[bool]:
    when, k, version = (resource_version.c[name] for name in ("updated_at", "k", "version"))
    same = or_(k < place.k, and_(k == place.k, version < place.version))
    return and_(when <= place.updated_at, or_(when < place.updated_at, same))
