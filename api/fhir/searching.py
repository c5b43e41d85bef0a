"""search of one type, by GET or POST, paged by opaque links.

https://hl7.org/fhir/R4/search.html
"""

from __future__ import annotations

from collections.abc import Iterator

from api.fhir.bundles import address, bundle, match_entry, outcome_entry
from api.fhir.exchange import AuditNote, FhirRequest, FhirResponse
from api.fhir.negotiation import preference
from fhir_tracker.errors import Issue
from fhir_tracker.fhir.query import Query, parse_query
from fhir_tracker.storage import search as index
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.page_cursor import PageCursor
from fhir_tracker.storage.search import SearchPage

PAGE = "_page"


def search(request: FhirRequest, tx: Tx) -> FhirResponse:
    """A searchset whose self link names what was used; what was ignored is named in an outcome entry."""
    pairs = [pair for pair in request.pairs if pair[0] != PAGE]
    strict = preference(request.header("prefer")).strict
    query = parse_query(request.type, pairs, strict=strict, own_base=request.base)
    given = next(iter(request.values(PAGE)), None)
    key = request.context.secret_key.encode()
    page = index.search(tx, request.viewer, query, page=PageCursor.decode(given, key) if given else None)
    links = _links(request, query, page, given)
    body = bundle("searchset", _entries(request, query, page), links, request.now, page.total)
    names = sorted({name for name, _ in query.applied})
    note = AuditNote(action="search", ref=request.type, detail={"parameters": names, "found": len(page.matches)})
    return FhirResponse(status=200, body=body, note=note)


def _entries(request: FhirRequest, query: Query, page: SearchPage) -> Iterator[str]:
    yield from (match_entry(request.base, stored) for stored in page.matches)
    yield from (match_entry(request.base, stored, "include") for stored in page.included)
    if query.ignored:
        named = ", ".join(name[:60] for name in query.ignored[:20])
        message = f"Not supported for {request.type} and ignored: {named}"
        yield outcome_entry([Issue(message=message, code="not-supported", severity="warning")])


def _links(request: FhirRequest, query: Query, page: SearchPage, given: str | None) -> list[tuple[str, str]]:
    def link(relation: str, cursor: str | None) -> tuple[str, str]:
        pairs = (*query.applied, (PAGE, cursor)) if cursor else query.applied
        return relation, address(request.base, request.type, pairs)

    links = [link("self", given), link("first", None)]
    return [*links, link("next", page.next.encode(request.context.secret_key.encode()))] if page.next else links
