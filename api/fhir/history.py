"""The history of one resource, of a type and of everything here.

https://hl7.org/fhir/R4/http.html#history
"""

from __future__ import annotations

import re
from datetime import datetime
from hashlib import blake2b

from api.fhir import trail_view
from api.fhir.auditing import asked_for
from api.fhir.bundles import address, bundle, version_entry
from api.fhir.exchange import AuditNote, FhirRequest, FhirResponse, Pairs
from api.fhir.negotiation import preference
from api.fhir.subsets import subset_of
from fhir_tracker.errors import Incorrect, MethodNotAllowed, NotFound
from fhir_tracker.fhir.dates import OPEN_END, asked_range, from_milliseconds
from fhir_tracker.storage import history as log
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.history import HistoryPage, Place, Span
from fhir_tracker.storage.page_cursor import PageCursor
from fhir_tracker.storage.types import microseconds, moment

HISTORY_PAGE = 50
LARGEST_HISTORY_PAGE = 1000
PAGE = "_page"
_ORDER = "-_lastUpdated"
_KNOWN = ("_count", "_since", "_at", "_sort", "_summary", "_elements")
_ABOUT_THE_ANSWER = frozenset({"_format", "_pretty", PAGE})


def history_of_one(request: FhirRequest, tx: Tx) -> FhirResponse:
    """The versions of one resource, newest first, deletions without resource; 404 for one that never was."""
    _check_has_history(request.type)
    one = Span(type=request.type, id=request.id)
    if log.page(tx, request.viewer, one, count=0).total == 0:
        raise NotFound(f"There is no {request.type} with this id.")
    return _answer(request, tx, f"{request.type}/{request.id}", one)


def history_of_type(request: FhirRequest, tx: Tx) -> FhirResponse:
    """The versions of every resource of a type, newest first."""
    _check_has_history(request.type)
    return _answer(request, tx, request.type, Span(type=request.type))


def history_of_all(request: FhirRequest, tx: Tx) -> FhirResponse:
    """The versions of every resource here, newest first."""
    return _answer(request, tx, "", Span())


def _check_has_history(type_: str) -> None:
    if type_ == trail_view.TYPE:
        raise MethodNotAllowed("AuditEvents never change, so they have no history: search them.")


def page_size(values: list[str], default: int, largest: int) -> int:
    """The number a `_count` asks for, capped at `largest`; raises Incorrect for what is not a whole number."""
    if not values:
        return default
    if not re.fullmatch("[0-9]{1,18}", values[0]):
        raise Incorrect("_count is not a whole number of 0 or more.", expression="_count")
    return min(int(values[0]), largest)


def _answer(request: FhirRequest, tx: Tx, ref: str, whole: Span) -> FhirResponse:
    used = _used(request)
    span = _narrowed(request, whole)
    subset = subset_of(request)
    count = 0 if subset.summary == "count" else page_size(request.values("_count"), HISTORY_PAGE, LARGEST_HISTORY_PAGE)
    walk = _fingerprint(ref, used)
    page = log.page(tx, request.viewer, span, count=count, after=_place(request, walk))
    entries = [version_entry(request.base, version, subset) for version in page.versions]
    body = bundle("history", entries, _links(request, ref, used, walk, page), request.now, page.total)
    seen = {one.patient for one in page.versions if one.patient}
    patient = next(iter(seen)) if whole.id and len(seen) == 1 else None
    note = AuditNote(
        action="history",
        ref=ref,
        patient=patient,
        patients=() if patient else tuple(sorted(seen)),
        query=asked_for(request),
        detail={"versions": len(page.versions)},
    )
    return FhirResponse(status=200, body=body, note=note)


def _used(request: FhirRequest) -> Pairs:
    """The parameters that count, for the self link; with `handling=strict` others are refused."""
    if preference(request.header("prefer")).strict:
        unknown = [name for name, value in request.pairs if value and name not in {*_KNOWN, *_ABOUT_THE_ANSWER}]
        if unknown:
            raise Incorrect(f"A history takes {', '.join(_KNOWN)}; not {unknown[0][:40]!r}.")
    if request.values("_sort") not in ([], [_ORDER]):
        raise Incorrect(f"A history is sorted by {_ORDER} and nothing else.", expression="_sort")
    return tuple((name, value) for name, value in request.pairs if name in _KNOWN and value)


def _narrowed(request: FhirRequest, whole: Span) -> Span:
    since = _range(request, "_since")
    at = _range(request, "_at")
    return Span(
        type=whole.type,
        id=whole.id,
        since=since[0] if since else None,
        low=at[0] if at else None,
        high=at[1] if at else None,
    )


def _range(request: FhirRequest, name: str) -> tuple[datetime, datetime | None] | None:
    values = request.values(name)
    if not values:
        return None
    if len(values) > 1:
        raise Incorrect(f"{name} is given once.", expression=name)
    try:
        low, high = asked_range(values[0])
    except Incorrect as error:
        raise Incorrect(f"{name}: {error.message}", expression=name) from None
    return from_milliseconds(low), None if high >= OPEN_END else from_milliseconds(high)


def _links(request: FhirRequest, ref: str, used: Pairs, walk: str, page: HistoryPage) -> list[tuple[str, str]]:
    path = f"{ref}/_history".removeprefix("/")
    given = [(PAGE, value) for value in request.values(PAGE)[:1]]
    links = [("self", address(request.base, path, (*used, *given)))]
    if page.next is not None:
        values = (microseconds(page.next.updated_at), page.next.version)
        cursor = PageCursor(query=walk, values=values, k=page.next.k).encode(_key(request))
        links.append(("next", address(request.base, path, (*used, (PAGE, cursor)))))
    return links


def _place(request: FhirRequest, walk: str) -> Place | None:
    given = request.values(PAGE)
    if not given:
        return None
    cursor = PageCursor.decode(given[0], _key(request))
    match cursor.values:
        case (int(updated_at), int(version)) if cursor.query == walk:
            return Place(updated_at=moment(updated_at), k=cursor.k, version=version)
    raise Incorrect("The page link belongs to another history.", expression=PAGE)


def _fingerprint(ref: str, used: Pairs) -> str:
    walked = [f"{name}={value}" for name, value in used if name in ("_since", "_at")]
    return blake2b("\x1f".join(["_history", ref, *walked]).encode(), digest_size=9).hexdigest()


def _key(request: FhirRequest) -> bytes:
    return request.context.secret_key.encode()
