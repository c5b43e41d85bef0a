"""search of one type, of everything and of a compartment, by GET or POST, paged by opaque links.

https://hl7.org/fhir/R4/search.html
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache

from api.fhir import trail_view
from api.fhir.auditing import asked_for
from api.fhir.bundles import address, bundle, match_entries, match_entry, outcome_entry
from api.fhir.exchange import AuditNote, FhirRequest, FhirResponse, Pairs
from api.fhir.negotiation import preference
from fhir_tracker.errors import Incorrect, Issue
from fhir_tracker.fhir.compartments import compartment_types
from fhir_tracker.fhir.dates import milliseconds
from fhir_tracker.fhir.query import Query, parse_query, parse_system_query
from fhir_tracker.fhir.search_approximation import is_approximate, settled
from fhir_tracker.storage import search as index
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.page_cursor import PageCursor
from fhir_tracker.storage.search import SearchPage

PAGE = "_page"
EVERY_MEMBER = "*"
_SHORT = 500


def search(request: FhirRequest, tx: Tx) -> FhirResponse:
    """A searchset of one type, whose self link names what was used; what was ignored is named in an outcome entry."""
    asked = _asked(request)
    read = _remembered if sum(len(value) for _, value in asked) < _SHORT else _parsed
    query = read(request.type, asked, _is_strict(request), request.base)
    return _answer(request, tx, query, request.type, AuditNote(action="search", ref=request.type))


def search_all(request: FhirRequest, tx: Tx) -> FhirResponse:
    """The same over the types that `_type` names, or over every type."""
    query = parse_system_query(_asked(request), strict=_is_strict(request), own_base=request.base)
    return _answer(request, tx, query, "", AuditNote(action="search", ref=""))


def search_compartment(request: FhirRequest, tx: Tx) -> FhirResponse:
    """The same over one type in the compartment of a resource, or with `*` over every type that can be in it."""
    member = request.path[2]
    place, strict, base = (request.type, request.id), _is_strict(request), request.base
    if member == EVERY_MEMBER:
        query = parse_system_query(_asked(request), strict=strict, own_base=base, compartment=place)
    else:
        query = parse_query(member, _asked(request), strict=strict, own_base=base, compartment=place)
    patient = request.id if request.type == "Patient" else None
    note = AuditNote(action="search", ref=f"{request.type}/{request.id}", patient=patient, detail={"type": member})
    return _answer(request, tx, query, f"{request.type}/{request.id}/{member}", note)


def is_in_compartment(type_: str, member: str) -> bool:
    """Whether `Type/id/member` is the address of a search in a compartment."""
    types = compartment_types(type_)
    return member in types or (member == EVERY_MEMBER and bool(types))


def _asked(request: FhirRequest) -> Pairs:
    return tuple(pair for pair in request.pairs if pair[0] != PAGE)


def _parsed(type_: str, pairs: Pairs, strict: bool, own_base: str) -> Query:
    return parse_query(type_, pairs, strict=strict, own_base=own_base)


_remembered = lru_cache(maxsize=1024)(_parsed)
"""The same few searches come again and again; what they mean depends on nothing else."""


def _is_strict(request: FhirRequest) -> bool:
    return preference(request.header("prefer")).strict


def _answer(request: FhirRequest, tx: Tx, query: Query, path: str, note: AuditNote) -> FhirResponse:
    if query.subset.summary == "text" and query.includes:
        raise Incorrect("_summary=text cannot be used with _include and _revinclude.", expression="_summary")
    if query.types == (trail_view.TYPE,):
        return trail_view.search(request, tx, query, path, note)
    given = next(iter(request.values(PAGE)), None)
    key = request.context.secret_key.encode()
    place = PageCursor.decode(given, key) if given else None
    began = (place.at if place else milliseconds(request.now)) if is_approximate(query) else 0
    page = index.search(tx, request.viewer, settled(query, began), page=place)
    links = _links(request, query, path, page, given, began)
    body = bundle("searchset", _entries(request, query, page), links, request.now, page.total)
    detail = {**note.detail, "parameters": sorted({name for name, _ in query.applied}), "found": len(page.shown)}
    found = {one.patient for one in (*page.shown, *page.included) if one.patient and one.patient != note.patient}
    noted = note.having(detail=detail, patients=tuple(sorted(found)), query=asked_for(request))
    return FhirResponse(status=200, body=body, note=noted)


def _entries(request: FhirRequest, query: Query, page: SearchPage) -> Iterator[str]:
    yield from match_entries(request.base, page.shown, query.subset)
    yield from (match_entry(request.base, stored, "include", query.subset) for stored in page.included)
    issues = []
    if query.ignored:
        named = ", ".join(name[:60] for name in query.ignored[:20])
        message = f"Not supported for {query.type or 'this search'} and ignored: {named}"
        issues.append(Issue(message=message, code="not-supported", severity="warning"))
    if page.cut:
        message = "There is more to include than one page holds; ask for what is missing by its own search."
        issues.append(Issue(message=message, code="incomplete", severity="warning"))
    if issues:
        yield outcome_entry(issues)


def _links(
    request: FhirRequest, query: Query, path: str, page: SearchPage, given: str | None, began: int
) -> list[tuple[str, str]]:
    first = address(request.base, path, query.applied)
    start = f"{first}{'&' if query.applied else '?'}{PAGE}="
    links = [
        ("self", address(request.base, path, (*query.applied, (PAGE, given))) if given else first),
        ("first", first),
    ]
    key = request.context.secret_key.encode()
    around = (("previous", page.previous), ("next", page.next))
    return links + [(name, start + replace(place, at=began).encode(key)) for name, place in around if place is not None]
