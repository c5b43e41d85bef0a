"""read, vread and history of one resource.

https://hl7.org/fhir/R4/http.html#read
"""

from __future__ import annotations

import re
from datetime import datetime

from api.fhir.bundles import address, bundle, version_entry
from api.fhir.exchange import AuditNote, FhirRequest, FhirResponse
from api.fhir.negotiation import etag_of, http_date, is_unchanged
from fhir_tracker.errors import Gone, Incorrect, NotFound
from fhir_tracker.storage import resources
from fhir_tracker.storage.database import Tx

HISTORY_PAGE = 50
LARGEST_HISTORY_PAGE = 1000
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")
"""Of a version: the store counts them in 32 bits, and a larger number names none."""


def read(request: FhirRequest, tx: Tx) -> FhirResponse:
    """The present version, as stored; 404 for one that never was, 410 for a deleted one, 304 for a caller who has it."""
    stored = resources.find(tx, request.viewer, request.type, request.id)
    if stored is None:
        raise NotFound(f"There is no {request.type} with this id.")
    if stored.deleted:
        raise Gone(f"This {request.type} was deleted; its history is still there.")
    note = AuditNote(action="read", ref=stored.ref, patient=stored.patient)
    return _as_asked(request, stored.version, stored.updated_at, stored.body, note)


def read_version(request: FhirRequest, tx: Tx) -> FhirResponse:
    """One version, as stored; 404 for one that never was, 410 for the version that is a deletion."""
    number = int(request.version) if _NUMBER.fullmatch(request.version) else 0
    version = resources.find_version(tx, request.viewer, request.type, request.id, number) if number else None
    if version is None:
        raise NotFound(f"There is no such version of this {request.type}.")
    if version.op == "delete":
        raise Gone(f"This version is the deletion of the {request.type}.")
    note = AuditNote(action="vread", ref=f"{request.type}/{request.id}", detail={"version": number})
    return _as_asked(request, version.version, version.updated_at, version.body or "", note)


def history(request: FhirRequest, tx: Tx) -> FhirResponse:
    """The versions of one resource as a Bundle, newest first, deletions without resource, by pages of `_count`."""
    count = page_size(request.values("_count"), HISTORY_PAGE, LARGEST_HISTORY_PAGE)
    before = _cursor(request.values("_page"))
    newest = resources.history(tx, request.viewer, request.type, request.id, count=1)
    if not newest:
        raise NotFound(f"There is no {request.type} with this id.")
    versions = resources.history(tx, request.viewer, request.type, request.id, count=max(count, 1), before=before)
    shown = versions[:count]
    path = f"{request.type}/{request.id}/_history"
    pairs = tuple(pair for pair in request.pairs if pair[0] == "_count" and pair[1])
    links = [("self", address(request.base, path, pairs))]
    if shown and shown[-1].version > 1:
        links.append(("next", address(request.base, path, (*pairs, ("_page", str(shown[-1].version))))))
    entries = [version_entry(request.base, request.type, request.id, version) for version in shown]
    body = bundle("history", entries, links, request.now, newest[0].version)
    note = AuditNote(action="history", ref=f"{request.type}/{request.id}", detail={"versions": len(shown)})
    return FhirResponse(status=200, body=body, note=note)


def page_size(values: list[str], default: int, largest: int) -> int:
    """The number a `_count` asks for, capped at `largest`; raises Incorrect for what is not a whole number."""
    if not values:
        return default
    if not re.fullmatch("[0-9]{1,18}", values[0]):
        raise Incorrect("_count is not a whole number of 0 or more.", expression="_count")
    return min(int(values[0]), largest)


def _as_asked(request: FhirRequest, version: int, updated_at: datetime, body: str, note: AuditNote) -> FhirResponse:
    headers = {"ETag": etag_of(version), "Last-Modified": http_date(updated_at)}
    if is_unchanged(headers["ETag"], updated_at, request.header("if-none-match"), request.header("if-modified-since")):
        return FhirResponse(status=304, headers=headers, note=note)
    return FhirResponse(status=200, body=body.encode(), headers=headers, note=note)


def _cursor(values: list[str]) -> int | None:
    if not values:
        return None
    if not _NUMBER.fullmatch(values[0]):
        raise Incorrect("_page is not from a link of this server.", expression="_page")
    return int(values[0])
