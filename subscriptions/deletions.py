"""Deletions of one type, from the server's type history: a search never shows what is gone.

https://hl7.org/fhir/R4/http.html#history
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from urllib.parse import urlencode

from fhir_tracker import intake, quarantine
from fhir_tracker.errors import Incorrect, RemoteFailure
from fhir_tracker.fhir.dates import instant, parse_datetime
from fhir_tracker.intake import Received, Tally, Unusable
from fhir_tracker.storage import cursors, resources
from fhir_tracker.storage.cursors import Cursor
from fhir_tracker.storage.database import Tx
from subscriptions.bundles import Entry, Page, read_object
from subscriptions.following import PAGE_SIZE, Follow
from subscriptions.outbound import origin
from subscriptions.paging import PagingGuard
from subscriptions.windows import ROUNDING, progress_from

_LOCATION = re.compile(r"(?:\S*/)?(?P<type>[A-Z][A-Za-z]+)/(?P<id>[^/?#\s]+)(?:/_history/(?P<version>[^/?#\s]+))?")
_ETAG = re.compile(r'(?:W/)?"(?P<version>[^"]+)"')


@dataclass(frozen=True, kw_only=True)
class Deletion:
    """One deletion the history tells of; `version` is the version id of the deletion itself, where it is told."""

    remote_id: str
    version: str | None


@dataclass(frozen=True, kw_only=True)
class _Checked:
    """Deletions that are certain, those of them that a read has shown, and what a read shows to be alive after all."""

    sure: list[Deletion] = field(default_factory=list)
    gone: list[Deletion] = field(default_factory=list)
    revived: list[Received | Unusable] = field(default_factory=list)


def poll_deletions(follow: Follow, type_: str) -> Tally:
    """Apply the deletions since the last look; needs one complete pass of `poll_type` before it.

    Raises RemoteFailure where the history cannot be read; what was committed before stays.
    """
    with follow.database.read() as tx:
        searched = cursors.find(tx, follow.connection.key, type_)
        found = cursors.find(tx, follow.connection.key, cursor_name(type_))
    if searched is None or searched.watermark is None:
        return Tally()
    cursor = found or _first_cursor(follow, type_, searched)
    since = min(cursor.watermark or searched.watermark, searched.watermark) - follow.overlap - ROUNDING
    lag = timedelta(seconds=progress_from(searched.detail).lag or 0.0)
    url: str | None = f"{follow.client.base_url}/{_query(type_, since)}"
    guard = PagingGuard(follow.page_cap)
    tally = Tally()
    as_of: datetime | None = None
    while url:
        page = follow.page(url, "history")
        guard.check(url, page)
        if page.next_url is not None and origin(page.next_url) != origin(follow.client.base_url):
            raise RemoteFailure("The server's next page is on another origin, which is not followed.", permanent=True)
        as_of = as_of or page.as_of
        if _is_past(page, since):
            page = replace(page, next_url=None)
        if page.next_url is None and as_of is not None:
            cursor = replace(cursor, watermark=max(as_of - lag, cursor.watermark or as_of - lag))
        tally += _take(follow, type_, page, replace(cursor, updated_at=follow.now()))
        url = page.next_url
    return tally


def cursor_name(type_: str) -> str:
    """Under which name the cursor over the type's history is kept."""
    return f"{type_}/_history"


def _query(type_: str, since: datetime) -> str:
    return f"{type_}/_history?{urlencode({'_since': instant(since), '_count': PAGE_SIZE})}"


def _is_past(page: Page, since: datetime) -> bool:
    """Whether a page, newest first, lies wholly before the window: some servers forget `_since` in their next link."""
    try:
        return bool(page.entries) and all(parse_datetime(entry.modified) < since for entry in page.entries)
    except Incorrect:
        return False


def _first_cursor(follow: Follow, type_: str, searched: Cursor) -> Cursor:
    return Cursor(
        connection=follow.connection.key,
        type=cursor_name(type_),
        watermark=searched.watermark,
        updated_at=follow.now(),
    )


def _take(follow: Follow, type_: str, page: Page, cursor: Cursor) -> Tally:
    """Apply one page's deletions, with the cursor; those of unknown order or in quarantine are confirmed by a read."""
    told = [deletion for entry in page.entries if (deletion := deletion_of(entry, type_))]
    checked = _confirmed(follow, type_, told)
    key = follow.connection.key
    gone = 0

    def apply(tx: Tx) -> None:
        nonlocal gone
        author = follow.author()
        gone = sum(intake.take_deletion(tx, type_, one.remote_id, one.version, key, author) for one in checked.sure)
        for one in checked.gone:
            intake.forget_waiting(tx, type_, one.remote_id, key, author.at)
        cursors.save(tx, cursor)

    return follow.write(checked.revived, apply) + Tally(deleted=gone)


def deletion_of(entry: Entry, type_: str) -> Deletion | None:
    """The deletion that a history entry tells of, or None when it is something else."""
    if entry.method != "DELETE":
        return None
    match = _LOCATION.fullmatch(entry.location)
    if match is None or match["type"] != type_:
        return None
    etag = _ETAG.fullmatch(entry.etag)
    return Deletion(remote_id=match["id"], version=match["version"] or (etag["version"] if etag else None))


def _confirmed(follow: Follow, type_: str, told: Sequence[Deletion]) -> _Checked:
    """Raises RemoteFailure when the server cannot say; the same deletions are then told again."""
    if not told:
        return _Checked()
    with follow.database.read() as tx:
        known = resources.known(tx, follow.connection.key, type_, {one.remote_id for one in told})
        aside = quarantine.waiting(tx, follow.author().viewer, follow.connection.key)
    waiting = {one.remote_id for one in aside if one.type == type_}
    checked = _Checked()
    for one in told:
        held = known.get(one.remote_id)
        is_alive = held is not None and not held.deleted
        is_ordered = held is not None and intake.is_ordered(one.version, held)
        if one.remote_id not in waiting:
            if not is_alive:
                continue
            if is_ordered:
                checked.sure.append(one)
                continue
        found = _asked(follow, type_, one.remote_id)
        if found is None:
            checked.sure.append(one if is_ordered else replace(one, version=None))
            checked.gone.append(one)
        else:
            checked.revived.append(found)
    return checked


def _asked(follow: Follow, type_: str, remote_id: str) -> Received | Unusable | None:
    """What the server holds under that id now, None when it is gone."""
    answer = follow.client.get(f"{type_}/{remote_id}")
    if answer.status in (404, 410):
        return None
    if answer.status == 403:
        reason = "The server says that it was deleted, and forbids to read it."
        return Unusable(type=type_, remote_id=remote_id, reason=reason, body="")
    if read_object(answer).get("resourceType") != f'"{type_}"'.encode():
        raise RemoteFailure(f"The server answered with something else than the {type_} that was asked for.")
    found = intake.read_entry(answer.body, type_, follow.translate)
    return found if isinstance(found, Received) else replace(found, remote_id=remote_id)
