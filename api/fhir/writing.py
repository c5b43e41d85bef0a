"""create, update and delete of one resource.

https://hl7.org/fhir/R4/http.html#create
"""

from __future__ import annotations

from api.fhir.conditional import matches
from api.fhir.exchange import AuditNote, FhirRequest, FhirResponse
from api.fhir.negotiation import check_content_type, etag_of, http_date, if_match, preference
from api.fhir.policy import is_writable, why_read_only
from api.outcomes import outcome, outcome_of_status
from fhir_tracker import writes
from fhir_tracker.errors import Incorrect, Issue, MethodNotAllowed
from fhir_tracker.fhir.body import read_resource
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.references import ReferenceKind, parse_reference, rewrite_references
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.resources import Stored


def create(request: FhirRequest, tx: Tx) -> FhirResponse:
    """201 under a new id, with Location, ETag and Last-Modified; the caller's id and version do not count.

    With If-None-Exist: 200 and the one resource that is there already, 412 when there are several.
    """
    _check_writable(request)
    resource = _resource(request)
    if condition := request.header("if-none-exist"):
        found = matches(request, tx, condition)
        if len(found) > 1:
            return FhirResponse(status=412, body=outcome_of_status(412, "More than one resource meets If-None-Exist."))
        if found:
            return _written(request, found[0], 200, "read")
    stored = writes.create(tx, resource, request.author(), id_=request.id or None)
    return _written(request, stored, 201, "create")


def update(request: FhirRequest, tx: Tx) -> FhirResponse:
    """200 with the new version, or 201 when there was none; If-Match guards against a version the caller has not seen."""
    _check_writable(request)
    resource = _resource(request)
    if resource.get("id") != request.id:
        raise Incorrect("The id in the body is not the id in the address.", expression=f"{request.type}.id")
    match = if_match(request.header("if-match"))
    stored, created = writes.update(tx, request.type, request.id, resource, request.author(), if_match=match)
    return _written(request, stored, 201 if created else 200, "create" if created else "update")


def delete(request: FhirRequest, tx: Tx) -> FhirResponse:
    """204, also for what is already gone or never was."""
    _check_writable(request)
    match = if_match(request.header("if-match"))
    stored = writes.delete(tx, request.type, request.id, request.author(), if_match=match)
    patient = stored.patient if stored else None
    headers = {"ETag": etag_of(stored.version)} if stored else {}
    note = AuditNote(action="delete", ref=f"{request.type}/{request.id}", patient=patient)
    return FhirResponse(status=204, headers=headers, note=note)


def _check_writable(request: FhirRequest) -> None:
    if not is_writable(request.type, request.context.access):
        raise MethodNotAllowed(why_read_only(request.type))


def _resource(request: FhirRequest) -> Resource:
    resource = request.resource
    if resource is None:
        check_content_type(request.header("content-type"))
        resource = read_resource(request.body, max_bytes=request.context.settings.body_limit)
        resource = rewrite_references(resource, lambda text: _relative(text, f"{request.base}/"))
    if resource["resourceType"] != request.type:
        raise Incorrect(f"The body is not a {request.type}.", expression="resourceType")
    return resource


def _relative(text: str, base: str) -> str:
    """A reference to a resource of this server without our address, so that both ways to write it are one."""
    rest = text.removeprefix(base)
    return rest if parse_reference(rest).kind is ReferenceKind.RELATIVE else text


def _written(request: FhirRequest, stored: Stored, status: int, action: str) -> FhirResponse:
    headers = {
        "Location": f"{request.base}/{stored.ref}/_history/{stored.version}",
        "ETag": etag_of(stored.version),
        "Last-Modified": http_date(stored.updated_at),
    }
    note = AuditNote(action=action, ref=stored.ref, patient=stored.patient, detail={"version": stored.version})
    return FhirResponse(status=status, body=_wanted(request, stored), headers=headers, note=note)


def _wanted(request: FhirRequest, stored: Stored) -> bytes:
    returned = preference(request.header("prefer")).returned
    if returned == "minimal":
        return b""
    if returned == "OperationOutcome":
        message = f"{stored.ref} is stored as version {stored.version}."
        return outcome([Issue(message=message, code="informational", severity="information")])
    return stored.body.encode()
