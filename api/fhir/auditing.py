"""The audit row of each answer: who did what to which resource, never what it said."""

from __future__ import annotations

from api.fhir.exchange import AuditNote, FhirRequest
from api.fhir.query_text import query_text
from fhir_tracker.storage import audit
from fhir_tracker.storage.audit_rows import Access
from fhir_tracker.storage.database import Tx

KIND = "fhir"
MOST_QUERY = 8000


def record(tx: Tx, request: FhirRequest, note: AuditNote, outcome: str) -> None:
    """Add the row of one answer; `outcome` is `success`, `denied` (not there, or not for this caller) or `error`."""
    audit.add_access(tx, access(request, note, outcome))


def asked_for(request: FhirRequest) -> str | None:
    """The parameters of a search as they came, for those who may read the trail; None when there are none."""
    return query_text(request.pairs)[:MOST_QUERY] if request.pairs else None


def access(request: FhirRequest, note: AuditNote, outcome: str) -> Access:
    """The row of one answer, for those who write many at a time."""
    return Access(
        at=request.now,
        viewer=request.viewer,
        action=note.action,
        ref=note.ref,
        patient=note.patient,
        outcome=outcome,
        request_id=request.request_id,
        detail=note.detail,
        patients=note.patients,
        kind=KIND,
        version=note.version,
        query=note.query,
    )
