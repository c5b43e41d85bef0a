"""AuditEvents: read and searched as any type, made from the rows of the trail, and only for who may read it.

https://hl7.org/fhir/R4/auditevent.html
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from api.fhir.auditing import asked_for
from api.fhir.bundles import address, bundle, match_entries, outcome_entry
from api.fhir.exchange import AuditNote, FhirRequest, FhirResponse
from api.fhir.negotiation import etag_of, http_date, is_unchanged
from api.fhir.subsets import subset_of_one
from fhir_tracker import audit_events
from fhir_tracker.errors import Forbidden, Incorrect, Issue, NotFound
from fhir_tracker.fhir.body import write_json
from fhir_tracker.fhir.query import Query
from fhir_tracker.fhir.query_values import ReferenceValue
from fhir_tracker.fhir.subsets import subset_text
from fhir_tracker.model.sight import EVERYTHING
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.storage import audit_search
from fhir_tracker.storage.audit import AuditRow
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.key_walk import Hit
from fhir_tracker.storage.page_cursor import PageCursor
from fhir_tracker.storage.scope import confined_to

TYPE = "AuditEvent"
INTERACTIONS = frozenset({"read", "vread", "search-type"})
PAGE = "_page"
_NO_SUCH = "There is no AuditEvent with this id."
_SORTED = frozenset({"date", "_lastUpdated"})


def knows(type_: str, code: str) -> bool:
    """Whether a type is searched by this parameter, as far as the trail is concerned: all but AuditEvent are."""
    return type_ != TYPE or code in audit_search.PARAMETERS


def may_read(viewer: Viewer, right: str) -> bool:
    """Whether someone may read the trail: by a role with the act `audit`, or a scope that names AuditEvent.

    A scope for every type does not name it.
    """
    sight = viewer.sight
    if sight is EVERYTHING:
        return True
    return sight.may(right, TYPE) and ("audit" in sight.acts or TYPE in sight.named(right))


def _check(request: FhirRequest, right: str) -> None:
    if not may_read(request.viewer, right):
        raise Forbidden("The audit trail is read by auditors, and by systems whose scope names AuditEvent.")


def read(request: FhirRequest, tx: Tx) -> FhirResponse:
    """One AuditEvent, also as its only version; 404 for one that never was."""
    _check(request, "r")
    row, of = _named(request, tx)
    patients = of or audit_events.patients_of(row)
    note = AuditNote(
        action="vread" if request.version else "read", ref=f"{TYPE}/{request.id}", patients=patients, version=1
    )
    headers = {"ETag": etag_of(1), "Last-Modified": http_date(row.at)}
    if is_unchanged(headers["ETag"], row.at, request.header("if-none-match"), request.header("if-modified-since")):
        return FhirResponse(status=304, headers=headers, note=note)
    body = subset_text(_text(request, row, of), subset_of_one(request))
    return FhirResponse(status=200, body=body.encode(), headers=headers, note=note)


def _named(request: FhirRequest, tx: Tx) -> tuple[AuditRow, tuple[str, ...]]:
    """The row of an id, and of which patient alone where the id says so; raises NotFound."""
    number, point, place = request.id.partition(".")
    row = None
    if number.isdecimal() and len(number) < 19 and request.version in ("", "1"):
        row = audit_search.find(tx, request.viewer, int(number))
    if row is None:
        raise NotFound(_NO_SUCH)
    everybody = audit_events.patients_of(row)
    of = (everybody[int(place) - 1],) if place.isdecimal() and 0 < int(place[:9]) <= len(everybody) else ()
    only = confined_to(request.viewer, "r", [TYPE])
    is_theirs = only is None or (of or everybody) == (only,)
    if not is_theirs or (point and audit_events.event_id(row, of) != request.id):
        raise NotFound(_NO_SUCH)
    return row, of


def search(request: FhirRequest, tx: Tx, query: Query, path: str, note: AuditNote) -> FhirResponse:
    """A searchset of AuditEvents, newest first unless asked otherwise."""
    _check(request, "s")
    if query.includes:
        raise Incorrect("AuditEvents are searched without _include and _revinclude.", expression="_include")
    if len(query.sort) > 1 or any(one.param not in _SORTED for one in query.sort):
        raise Incorrect("AuditEvents are sorted by date or -date.", expression="_sort")
    key = request.context.secret_key.encode()
    given = next(iter(request.values(PAGE)), None)
    place = PageCursor.decode(given, key) if given else None
    if place is not None and place.query != query.fingerprint:
        raise Incorrect("The page link belongs to another search.", expression=PAGE)
    counted = query.only_count or query.total in ("accurate", "estimate")
    after = place.k if place else None
    coded = partial(audit_events.coded, base=request.base)
    found = audit_search.page(tx, request.viewer, query, coded, request.now, after=after, counted=counted)
    links = _links(request, query, path, given, found.next)
    of = _about_one(request.viewer, query)
    body = bundle("searchset", _entries(request, query, found.rows, of), links, request.now, found.total)
    told_of = ({*of} & {*everybody} or everybody for everybody in map(audit_events.patients_of, found.rows))
    patients = {one for some in told_of for one in some} - {note.patient}
    detail = {**note.detail, "parameters": sorted({name for name, _ in query.applied}), "found": len(found.rows)}
    told = replace(
        note, detail=detail, patients=tuple(sorted(one for one in patients if one)), query=asked_for(request)
    )
    return FhirResponse(status=200, body=body, note=told)


def _about_one(viewer: Viewer, query: Query) -> tuple[str, ...]:
    """The patient of whom alone the events tell: the only one that the viewer may know of, or that the search names."""
    only = confined_to(viewer, "s", [TYPE])
    named = {query.compartment[1]} if query.compartment is not None else set()
    for one in query.filters:
        if one.param in ("patient", "entity") and not one.modifier:
            targets = (target for value in one.values if isinstance(value, ReferenceValue) for target in value.targets)
            named |= {target.removeprefix("Patient/") for target in targets if target.startswith("Patient/")}
    return (only,) if only else tuple(named) if len(named) == 1 else ()


def _entries(request: FhirRequest, query: Query, rows: Sequence[AuditRow], of: Sequence[str]) -> list[str]:
    hits = [Hit(k=row.seq, type=TYPE, id=audit_events.event_id(row, of), body=_text(request, row, of)) for row in rows]
    entries = list(match_entries(request.base, hits, query.subset))
    if query.ignored:
        named = ", ".join(name[:60] for name in query.ignored[:20])
        issue = Issue(
            message=f"Not supported for {TYPE} and ignored: {named}", code="not-supported", severity="warning"
        )
        entries.append(outcome_entry([issue]))
    return entries


def _text(request: FhirRequest, row: AuditRow, of: Sequence[str]) -> str:
    return write_json(audit_events.event_of(row, request.base, of))


def _links(
    request: FhirRequest, query: Query, path: str, given: str | None, following: int | None
) -> list[tuple[str, str]]:
    own = (*query.applied, *([(PAGE, given)] if given else []))
    links = [("self", address(request.base, path, own)), ("first", address(request.base, path, query.applied))]
    if following is not None:
        cursor = PageCursor(query=query.fingerprint, values=(), k=following).encode(request.context.secret_key.encode())
        links.append(("next", address(request.base, path, (*query.applied, (PAGE, cursor)))))
    return links
