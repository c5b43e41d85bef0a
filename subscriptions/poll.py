"""Polling one type: everything changed since the watermark, page by page, rows and cursor in one transaction.

https://hl7.org/fhir/R4/search.html#lastUpdated
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

from fhir_tracker import intake
from fhir_tracker.errors import RemoteFailure
from fhir_tracker.fhir.dates import instant
from fhir_tracker.intake import Received, Tally, Unusable
from fhir_tracker.storage import cursors
from fhir_tracker.storage.cursors import Cursor
from subscriptions.abilities import want_comparison
from subscriptions.bundles import Entry, Page, is_outcome, link_expired, outcome_codes, says_nothing_found, says_partial
from subscriptions.following import PAGE_SIZE, Follow, TypeReport
from subscriptions.outbound import origin
from subscriptions.paging import PagingGuard
from subscriptions.quirks import CLOCK_SET_BACK, quirks_of
from subscriptions.steadying import counts_rows, is_in_order, last_moment
from subscriptions.strategies import LAST_UPDATED, Choice
from subscriptions.windows import PLAINEST, Progress, progress_from

PLAIN = Choice(strategy=LAST_UPDATED, why="")
RESTARTS = 3
STUCK_AFTER = 3
_REFUSED = frozenset({400, 405, 422, 501})
"""What a server answers that does not bear a parameter."""


@dataclass
class _Pass:
    """One pass over one type in this process."""

    url: str
    cursor: Cursor
    progress: Progress
    guard: PagingGuard
    besides: str = ""
    first: bool = True
    steady: bool = True
    bound: datetime | None = None
    restarts: int = 0
    tally: Tally = field(default_factory=Tally)
    pages: int = 0
    notes: tuple[str, ...] = ()


def poll_type(follow: Follow, type_: str, choice: Choice = PLAIN) -> TypeReport:
    """Bring one type up to date, by what `choice` says of its searches.

    A failure is reported, and leaves the cursor where the last committed page put it.

    Raises Busy when another process has taken the connection over, and what the database raises.
    """
    state = _opened(follow, type_, choice)
    try:
        while _turn_page(follow, type_, state):
            pass
    except RemoteFailure as failure:
        if not failure.auth:
            _note_failure(follow, state)
        return _report(follow, type_, state, failure)
    return _report(follow, type_, state, None)


def query(type_: str, lower: datetime | None, plainness: int, *, besides: str = "", days: bool = False) -> str:
    """The relative address of a pass: changed since `lower`, oldest first, as far as the server bears it.

    `besides` is what every search of the type must say, `days` that the server knows no time of day.
    """
    parameters: list[tuple[str, str]] = parse_qsl(besides)
    if lower is not None and plainness < PLAINEST:
        parameters.append(("_lastUpdated", f"ge{lower.date().isoformat() if days else instant(lower)}"))
    if plainness == 0:
        parameters.append(("_sort", "_lastUpdated"))
    parameters.append(("_count", str(PAGE_SIZE)))
    return f"{type_}?{urlencode(parameters)}"


def _opened(follow: Follow, type_: str, choice: Choice) -> _Pass:
    with follow.database.read() as tx:
        found = cursors.find(tx, follow.connection.key, type_)
    cursor = found or Cursor(
        connection=follow.connection.key,
        type=type_,
        updated_at=follow.now(),
    )
    progress = progress_from(cursor.detail)
    if choice.days:
        progress = replace(progress, days=True)
    state = _Pass(url="", cursor=cursor, progress=progress, guard=PagingGuard(follow.page_cap), besides=choice.query)
    if cursor.next_url and progress.failures < STUCK_AFTER:
        state.url, state.first = cursor.next_url, False
        return state
    return _begun(state, follow, type_)


def _begun(state: _Pass, follow: Follow, type_: str) -> _Pass:
    """Set to the first page of a new pass from the committed watermark."""
    lower = state.progress.lower_bound(state.cursor.watermark, follow.overlap)
    state.url = _address(follow, type_, state, lower)
    state.cursor = replace(state.cursor, window_start=lower, next_url=None)
    state.progress = replace(state.progress.begun(None), failures=0)
    state.guard = PagingGuard(follow.page_cap)
    state.first, state.steady, state.bound = True, True, lower
    return state


def _address(follow: Follow, type_: str, state: _Pass, lower: datetime | None) -> str:
    asked = query(type_, lower, state.progress.plainness, besides=state.besides, days=state.progress.days)
    return f"{follow.client.base_url}/{asked}"


def _is_own(follow: Follow, type_: str, state: _Pass) -> bool:
    """Whether what is asked next is a search that we made up, and no link of the server's."""
    place, _, asked = state.url.partition("?")
    ours = {"_lastUpdated", "_sort", "_count", *(name for name, _ in parse_qsl(state.besides))}
    return place == f"{follow.client.base_url}/{type_}" and {name for name, _ in parse_qsl(asked)} <= ours


def _turn_page(follow: Follow, type_: str, state: _Pass) -> bool:
    """Fetch, judge and commit one page; False after the last."""
    own = _is_own(follow, type_, state)
    answer = follow.client.search(state.url) if own else follow.client.get(state.url)
    if not state.first and link_expired(answer) and state.restarts < RESTARTS:
        state.restarts += 1
        state.notes += ("a paging link had expired; the window was read again",)
        _begun(state, follow, type_)
        return True
    if state.first and answer.status in _REFUSED and state.progress.plainness < PLAINEST:
        state.progress = state.progress.plainer(has_bound=state.cursor.window_start is not None)
        _begun(state, follow, type_)
        return True
    page = follow.page(state.url, "searchset", answer, own=own)
    if state.first and _is_set_back(follow, state, page):
        _begin_anew(follow, type_, state)
        return True
    if state.first:
        state.progress = state.progress.begun(page.as_of).having(quirks_of(page, state.url))
        state.notes += _doubts(state, page)
    entries, notes = read_entries(follow, type_, page)
    state.notes += notes
    if any(is_outcome(one) and says_partial(one) for one in page.entries):
        state.progress = replace(state.progress, partial=True)
    page = _steadied(follow, type_, state, page, entries)
    dead_end = _dead_end(follow, state, page)
    if dead_end:
        page = replace(page, next_url=None)
    _commit(follow, state, page, entries, complete=dead_end is None and not state.progress.partial)
    if dead_end:
        raise dead_end
    return page.next_url is not None


def _is_set_back(follow: Follow, state: _Pass, page: Page) -> bool:
    """Whether the server's clock stands before the watermark, farther than the overlap covers."""
    mark, served = state.cursor.watermark, page.served_at
    return mark is not None and served is not None and mark - served > follow.overlap


def _begin_anew(follow: Follow, type_: str, state: _Pass) -> None:
    """Read everything: what was stamped since the clock was set back would lie behind the watermark until it is there."""
    state.notes += (f"{CLOCK_SET_BACK}; everything is read again, and compared",)
    state.cursor = replace(state.cursor, watermark=None)
    state.progress = replace(state.progress, lag=None, previous_high=None).having({CLOCK_SET_BACK})
    want_comparison(follow)
    _begun(state, follow, type_)


def _steadied(follow: Follow, type_: str, state: _Pass, page: Page, entries: Sequence[Received | Unusable]) -> Page:
    """The page with a link that loses no row while others change, where the server's own would."""
    if page.next_url is None or not counts_rows(page.next_url) or state.progress.plainness:
        return page
    stamps = [entry.updated for entry in entries if isinstance(entry, Received)]
    state.steady = state.steady and is_in_order(stamps, state.bound)
    bound = last_moment(stamps, state.bound) if state.steady else None
    if bound is None:
        return page
    state.bound = bound
    return replace(page, next_url=_address(follow, type_, state, bound))


def _dead_end(follow: Follow, state: _Pass, page: Page) -> RemoteFailure | None:
    """Why the page's `next` is not followed; the page itself is good."""
    try:
        state.guard.check(state.url, page)
        if page.next_url is not None and origin(page.next_url) != origin(follow.client.base_url):
            return RemoteFailure("The server's next page is on another origin, which is not followed.", permanent=True)
    except RemoteFailure as failure:
        return failure
    return None


def _commit(
    follow: Follow, state: _Pass, page: Page, entries: Sequence[Received | Unusable], *, complete: bool
) -> None:
    """Rows and cursor in one transaction; a last page moves the watermark if the pass came to its proper end."""
    stamps = [entry.updated for entry in entries if isinstance(entry, Received) and entry.updated]
    progress = state.progress.seen(stamps, page.served_at, follow.now())
    cursor = replace(state.cursor, next_url=page.next_url, updated_at=follow.now())
    if page.next_url is None and complete:
        cursor = replace(cursor, watermark=progress.watermark(cursor.watermark), window_start=None)
        progress = progress.completed(follow.now())
    cursor = replace(cursor, detail={**cursor.detail, **progress.as_detail()})
    state.tally += follow.write(entries, lambda tx: cursors.save(tx, cursor))
    state.cursor, state.progress = cursor, progress
    state.pages += 1
    state.first = False
    state.url = page.next_url or ""


def read_entries(follow: Follow, type_: str, page: Page) -> tuple[list[Received | Unusable], tuple[str, ...]]:
    """The entries of a page, and what the server says about its own answer: any note means that it may not be whole."""
    entries: list[Received | Unusable] = []
    notes: list[str] = []
    for entry in page.entries:
        if is_outcome(entry):
            if not says_nothing_found(entry):
                notes.append(_outcome_note(entry))
        elif entry.mode != "include":
            entries.append(_read_entry(follow, type_, entry))
    return entries, tuple(dict.fromkeys(notes))


def _read_entry(follow: Follow, type_: str, entry: Entry) -> Received | Unusable:
    if entry.problem or not entry.raw:
        reason = entry.problem or "the entry has no resource"
        return intake.unusable(type_, "", reason, entry.raw.decode("utf-8", "replace").replace("\0", "\ufffd"))
    return intake.read_later(entry.raw, type_, follow.translate)


def _outcome_note(entry: Entry) -> str:
    return f"the server says that its answer is not the whole story ({outcome_codes(entry.raw) or 'no code'})"


def _doubts(state: _Pass, page: Page) -> tuple[str, ...]:
    """What the server left out of our question, by its own self link."""
    if not page.self_url or state.progress.plainness == PLAINEST:
        return ()
    asked = parse_qs(urlsplit(state.url).query)
    understood = parse_qs(urlsplit(page.self_url).query)
    if "_lastUpdated" in asked and "_lastUpdated" not in understood:
        return ("the server does not say that it looked at _lastUpdated",)
    return ()


def _note_failure(follow: Follow, state: _Pass) -> None:
    """Count how often this page could not be had, so that a pass that is stuck is begun anew."""
    failed = replace(state.progress, failures=state.progress.failures + 1)
    detail = {**state.cursor.detail, **failed.as_detail()}
    cursor = replace(state.cursor, detail=detail, updated_at=follow.now())
    with follow.database.begin() as tx:
        follow.hold(tx)
        cursors.save(tx, cursor)
    state.cursor = cursor


def _report(follow: Follow, type_: str, state: _Pass, failure: RemoteFailure | None) -> TypeReport:
    completed = state.progress.completed_at
    return TypeReport(
        type=type_,
        tally=state.tally,
        pages=state.pages,
        watermark=state.cursor.watermark,
        lag_seconds=None if completed is None else max((follow.now() - completed).total_seconds(), 0.0),
        error=None if failure is None else failure.message,
        permanent=failure is not None and failure.permanent,
        auth=failure is not None and failure.auth,
        retry_after=None if failure is None else failure.retry_after,
        notes=tuple(dict.fromkeys(state.notes)),
    )
