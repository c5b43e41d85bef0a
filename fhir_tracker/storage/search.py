"""Searches answered from the index, page by page: each resource there throughout a walk comes exactly once.

Without `_sort` the order is by `k`, newest first, which no later write changes. With `_sort` a resource whose sort value
is changed during a walk moves with it. A walk goes forward and back over the same places.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import func, select

from fhir_tracker.errors import Incorrect, Issue
from fhir_tracker.fhir.query import Query
from fhir_tracker.model.search_rights import permitted
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.storage import key_walk
from fhir_tracker.storage.arrays import among
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.glance import Glance
from fhir_tracker.storage.key_walk import Hit
from fhir_tracker.storage.page_cursor import PageCursor, SortValue
from fhir_tracker.storage.records import from_row
from fhir_tracker.storage.resources import Stored
from fhir_tracker.storage.search_includes import included
from fhir_tracker.storage.search_links import Some
from fhir_tracker.storage.search_plan import FEW, Plan, plan
from fhir_tracker.storage.search_sorting import MOST_READ, Sorting
from fhir_tracker.storage.search_walks import walked
from fhir_tracker.storage.tables import resource

__all__ = ["FEW", "SearchPage", "search"]

_Placed = tuple[tuple[SortValue, ...], int]
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class SearchPage:
    """`total` is given where it was asked for or is known anyway; `next` is None on the last page, `previous` on the first.

    With `cut`, not everything is included that was asked for. A search by a Glance gives `hits` in place of matches.
    """

    matches: tuple[Stored, ...] = ()
    hits: tuple[Hit, ...] = ()
    included: tuple[Stored, ...] = ()
    total: int | None = None
    next: PageCursor | None = None
    previous: PageCursor | None = None
    cut: bool = False

    @property
    def shown(self) -> Sequence[Stored | Hit]:
        """The matches, as much of them as was read."""
        return self.matches or self.hits


def search(tx: Tx, viewer: Viewer, query: Query, *, page: PageCursor | None = None) -> SearchPage:
    """One page of what `query` finds for `viewer`; raises Incorrect for a cursor of another query, Forbidden as `permitted`."""
    query = permitted(viewer.sight, query)
    if page is not None and page.query != query.fingerprint:
        raise Incorrect("The page link belongs to another search.")
    is_counted = query.only_count or query.total in {"accurate", "estimate"}
    quick = key_walk.matches(tx, viewer, query, page) if isinstance(tx, Glance) and not query.only_count else None
    if quick is not None:
        return _quick_page(query, page, quick)
    found = plan(
        tx, viewer, query.searched, query.filters, query.compartment, None if is_counted else _some(query, page)
    )
    total = int(tx.value(found.merged(select(func.count()).select_from(resource)))) if is_counted else None
    if query.only_count:
        return SearchPage(matches=(), total=total)
    sorting = Sorting(query.searched, query.sort, few=found.few)
    placed, matches = _read(tx, viewer, query, found, sorting, page)
    previous, following = _around(query, page, placed)
    if following is None and page is None and total is None:
        total = len(matches)
    more, cut = included(tx, viewer, query, matches)
    return SearchPage(matches=matches, included=more, total=total, next=following, previous=previous, cut=cut)


def _some(query: Query, page: PageCursor | None) -> Some | None:
    """The matches that a page without `_sort` needs."""
    if query.sort or page is None:
        return None if query.sort else Some(count=query.count + 1)
    return Some(count=query.count + 1, place=page.k, back=page.back)


def _quick_page(query: Query, page: PageCursor | None, found: Sequence[Hit]) -> SearchPage:
    previous, following = _around(query, page, [((), one.k) for one in found])
    total = len(found) if page is None and following is None else None
    return SearchPage(hits=_shown(query, page, found), total=total, next=following, previous=previous)


def _shown(query: Query, page: PageCursor | None, found: Sequence[T]) -> tuple[T, ...]:
    """What the page holds of rows in order, which may be one more than that: the first one, where it was read backward."""
    if page is not None and page.back:
        return tuple(found[-query.count :])
    return tuple(found[: query.count])


def _around(
    query: Query, page: PageCursor | None, placed: Sequence[_Placed]
) -> tuple[PageCursor | None, PageCursor | None]:
    """The places before and after a page; where a walk came from there is always something."""
    shown = _shown(query, page, placed)
    if not shown:
        return None, None
    has_more, is_back = len(placed) > query.count, page is not None and page.back
    (before, first), (after, last) = shown[0], shown[-1]
    at_start = not has_more if is_back else page is None
    at_end = not is_back and not has_more
    return (
        None if at_start else PageCursor(query=query.fingerprint, values=before, k=first, back=True),
        None if at_end else PageCursor(query=query.fingerprint, values=after, k=last),
    )


def _read(
    tx: Tx, viewer: Viewer, query: Query, found: Plan, sorting: Sorting, page: PageCursor | None
) -> tuple[list[_Placed], tuple[Stored, ...]]:
    """The places of the matches of a page, one more than it holds when the walk goes on, and the matches."""
    if sorting.reads_bodies:
        return _read_sorted(tx, query, found, sorting, page)
    if page is not None:
        sorting.check(page)
    is_back = page is not None and page.back
    rows = walked(tx, viewer, query, found, sorting, page)
    if rows is None:
        chosen = sorting.on(found.merged(select(resource)))
        if page is not None:
            chosen = chosen.where(sorting.beyond(page, found.k))
        rows = tx.rows(chosen.order_by(*sorting.order(found.k, back=is_back)).limit(query.count + 1))
    ordered = list(reversed(rows)) if is_back else list(rows)
    placed = [(sorting.values(row), row["k"]) for row in ordered]
    return placed, tuple(from_row(Stored, row) for row in _shown(query, page, ordered))


def _read_sorted(
    tx: Tx, query: Query, found: Plan, sorting: Sorting, page: PageCursor | None
) -> tuple[list[_Placed], tuple[Stored, ...]]:
    chosen = sorting.on(found.of(select(resource.c.k, resource.c.body)))
    rows = tx.rows(chosen.limit(MOST_READ + 1))
    if len(rows) > MOST_READ:
        message = f"_sort by a token or reference takes up to {MOST_READ} matches; add a narrower condition."
        raise Incorrect(message, issues=(Issue(message=message, code="too-costly"),))
    values = [(sorting.values(row), row["k"]) for row in rows]
    ordered = sorting.arranged(values if page is None else [one for one in values if sorting.after(page, *one)])
    is_back = page is not None and page.back
    placed = ordered[-query.count - 1 :] if is_back else ordered[: query.count + 1]
    ks = [k for _, k in _shown(query, page, placed)]
    bodies = {row["k"]: row for row in tx.rows(select(resource).where(among(tx.dialect, resource.c.k, ks)))}
    return placed, tuple(from_row(Stored, bodies[k]) for k in ks)
