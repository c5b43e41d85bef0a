"""read and vread.

https://hl7.org/fhir/R4/http.html#read
"""

from __future__ import annotations

import re
from datetime import datetime

from api.fhir import trail_view
from api.fhir.exchange import AuditNote, FhirRequest, FhirResponse
from api.fhir.negotiation import etag_of, http_date, is_unchanged
from api.fhir.subsets import subset_of_one
from fhir_tracker import glass
from fhir_tracker.errors import Gone, NotFound
from fhir_tracker.fhir.subsets import subset_text
from fhir_tracker.storage import resources
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.resources import Stored

_NUMBER = re.compile(r"[1-9][0-9]{0,8}")
"""Of a version: the store counts them in 32 bits, and a larger number names none."""


def read(request: FhirRequest, tx: Tx) -> FhirResponse:
    """The present version, as stored; 404 for one that never was, 410 for a deleted one, 304 for a caller who has it."""
    if request.type == trail_view.TYPE:
        return trail_view.read(request, tx)
    stored = find_present(request, tx)
    note = AuditNote(action="read", ref=stored.ref, patient=stored.patient, version=stored.version)
    return _as_asked(request, stored.version, stored.updated_at, stored.body, note)


def find_present(request: FhirRequest, tx: Tx) -> Stored:
    """The resource at the address; raises NotFound for one that never was, Gone for a deleted one."""
    stored = resources.find(tx, request.viewer, request.type, request.id)
    if stored is None:
        if patient := glass.shut_by(tx, request.viewer, request.type, request.id):
            raise glass.shut(patient)
        raise NotFound(f"There is no {request.type} with this id.")
    if stored.deleted:
        raise Gone(f"This {request.type} was deleted; its history is still there.")
    return stored


def read_version(request: FhirRequest, tx: Tx) -> FhirResponse:
    """One version, as stored; 404 for one that never was, 410 for the version that is a deletion."""
    if request.type == trail_view.TYPE:
        return trail_view.read(request, tx)
    number = int(request.version) if _NUMBER.fullmatch(request.version) else 0
    version = resources.find_version(tx, request.viewer, request.type, request.id, number) if number else None
    if version is None:
        raise NotFound(f"There is no such version of this {request.type}.")
    if version.op == "delete":
        raise Gone(f"This version is the deletion of the {request.type}.")
    ref = f"{request.type}/{request.id}"
    note = AuditNote(action="vread", ref=ref, patient=version.patient, version=number)
    return _as_asked(request, version.version, version.updated_at, version.body or "", note)


def _as_asked(request: FhirRequest, version: int, updated_at: datetime, body: str, note: AuditNote) -> FhirResponse:
    subset = subset_of_one(request)
    headers = {"ETag": etag_of(version), "Last-Modified": http_date(updated_at)}
    if is_unchanged(headers["ETag"], updated_at, request.header("if-none-match"), request.header("if-modified-since")):
        return FhirResponse(status=304, headers=headers, note=note)
    return FhirResponse(status=200, body=subset_text(body, subset).encode(), headers=headers, note=note)
