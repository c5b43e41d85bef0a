"""create, update and delete of one resource, named by its address or by a condition.

https://hl7.org/fhir/R4/http.html#create
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from api.fhir.binaries import is_sent_as_bytes, sent
from api.fhir.conditional import match_of_address, match_of_header
from api.fhir.exchange import AuditNote, FhirRequest, FhirResponse
from api.fhir.linking import linked
from api.fhir.negotiation import check_content_type, etag_of, http_date, if_match, is_unchanged, preference
from api.fhir.policy import is_writable, why_read_only
from api.fhir.provenance_header import proven
from api.outcomes import outcome
from fhir_tracker import records, writes
from fhir_tracker.errors import (
    Conflict,
    Incorrect,
    Issue,
    MethodNotAllowed,
    PreconditionFailed,
    RuleBroken,
    VersionConflict,
)
from fhir_tracker.fhir.body import read_resource
from fhir_tracker.fhir.field_rules import is_only_cut
from fhir_tracker.fhir.identity import is_legal_id
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.references import ReferenceKind, parse_reference, rewrite_references
from fhir_tracker.fhir.subsets import is_subset
from fhir_tracker.storage import resources
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.resources import Stored


def create(request: FhirRequest, tx: Tx) -> FhirResponse:
    """201 under a new id, with Location, ETag and Last-Modified; the caller's id and version do not count.

    With If-None-Exist: 200 and the one resource that is there already, 412 when there are several. A Provenance is taken
    only in a transaction, with what it tells of, or as the header X-Provenance.
    """
    tells_of_others = request.type == "Provenance" and request.resource is not None and bool(request.id)
    if not tells_of_others:
        check_writable(request)
    resource = _resource(request)
    if request.header("if-none-exist"):
        found = match_of_header(request, tx)
        if found:
            return written(request, found, 200, "read")
    author = request.author()
    resource = linked(request, tx, resource)
    stored = writes.create(tx, resource, author, id_=request.id or None, tells_of_others=tells_of_others)
    return written(request, proven(request, tx, stored), 201, "create")


def update(request: FhirRequest, tx: Tx) -> FhirResponse:
    """200 with the new version, or 201 when there was none.

    If-Match guards against a version the caller has not seen, If-None-Match: * against one that is there at all.
    """
    check_writable(request)
    resource = _resource(request)
    if resource.get("id") != request.id:
        raise Incorrect("The id in the body is not the id in the address.", expression=f"{request.type}.id")
    return _update(request, tx, resource)


def update_by_condition(request: FhirRequest, tx: Tx) -> FhirResponse:
    """As an update of the one resource that the query of the address finds; 201 when it finds none, 412 for several.

    The id of the body may be left out. A new resource gets it, unless another one has it already: then 409.
    """
    check_writable(request)
    resource = _resource(request)
    id_ = resource.get("id")
    if id_ is not None and not (isinstance(id_, str) and is_legal_id(id_)):
        raise Incorrect("The id in the body is not a FHIR id.", expression=f"{request.type}.id")
    found = match_of_address(request, tx)
    if found:
        if id_ not in (None, found.id):
            raise Incorrect(
                "The condition finds another resource than the id in the body.", expression=f"{request.type}.id"
            )
        return _update(replace(request, id=found.id), tx, resource | {"id": found.id})
    if id_ is None:
        if if_match(request.header("if-match")):
            raise VersionConflict("If-Match names a version, but the condition finds no resource.")
        made = writes.create(tx, linked(request, tx, resource), request.author(), by_update=True)
        return written(request, proven(request, tx, made), 201, "create")
    there = resources.find(tx, request.viewer, request.type, id_)
    if there is not None and not there.deleted:
        raise Conflict(
            "The condition finds nothing, but the id in the body belongs to a resource.",
            expression=f"{request.type}.id",
        )
    return _update(replace(request, id=id_), tx, resource)


def delete(request: FhirRequest, tx: Tx) -> FhirResponse:
    """204, also for what is already gone or never was; 409 while others refer to it, which a transaction sees at its end."""
    check_writable(request)
    match = expected_version(request, tx)
    is_kept = request.context.settings.referential_integrity and request.bundle != "transaction"
    stored = writes.delete(tx, request.type, request.id, request.author(), if_match=match, only_unreferred=is_kept)
    patient = stored.patient if stored else None
    headers = {"ETag": etag_of(stored.version)} if stored else {}
    version = stored.version if stored else None
    note = AuditNote(action="delete", ref=f"{request.type}/{request.id}", patient=patient, version=version)
    return FhirResponse(status=204, headers=headers, note=note)


def delete_by_condition(request: FhirRequest, tx: Tx) -> FhirResponse:
    """As a delete of the one resource that the query of the address finds; 204 also for none, 412 for several."""
    check_writable(request)
    found = match_of_address(request, tx)
    if found:
        return delete(replace(request, id=found.id), tx)
    if if_match(request.header("if-match")):
        raise VersionConflict("If-Match names a version, but the condition finds no resource.")
    return FhirResponse(status=204, note=AuditNote(action="delete", ref=request.type))


def check_writable(request: FhirRequest) -> None:
    """Raise MethodNotAllowed for a type that callers do not write here."""
    if not is_writable(request.type, request.context.access):
        raise MethodNotAllowed(why_read_only(request.type))


def expected_version(request: FhirRequest, tx: Tx) -> int | None:
    """The version that must be the present one for this write, ABSENT where there may be none; None where any will do.

    Raises VersionConflict for an If-Match that does not hold, Incorrect where one is required and missing, and
    PreconditionFailed for an If-None-Match that names what is there.
    """
    match, unless = if_match(request.header("if-match")), request.header("if-none-match")
    if match is None and not unless and not request.context.settings.require_if_match:
        return None
    before = resources.find(tx, request.viewer, request.type, request.id)
    present = before.version if before and not before.deleted else None
    if unless and present and is_unchanged(etag_of(present), None, unless, ""):
        raise PreconditionFailed(f"If-None-Match does not hold: the present version is {present}.")
    if match is None:
        if request.context.settings.require_if_match and present:
            raise Incorrect('This server wants to know which version you change: send If-Match: W/"<version>".')
        return None if present else records.ABSENT
    if present is None or not (match.anything or present in match.versions):
        now = f"the present version is {present}" if present else "there is no present version"
        raise VersionConflict(f"If-Match does not hold: {now}. Read it again and reapply your change.")
    return present


def _update(request: FhirRequest, tx: Tx, resource: Resource) -> FhirResponse:
    bare = is_only_cut(resource) if request.viewer.sight.hides else None
    if is_subset(resource if bare is None else bare):
        raise RuleBroken(
            "The body is a part of a resource (SUBSETTED): read it whole, then change it.", expression="meta.tag"
        )
    match = expected_version(request, tx)
    resource = linked(request, tx, resource)
    stored, created = writes.update(tx, request.type, request.id, resource, request.author(), if_match=match)
    return written(request, proven(request, tx, stored), 201 if created else 200, "create" if created else "update")


def _resource(request: FhirRequest) -> Resource:
    resource = request.resource
    if resource is None and is_sent_as_bytes(request):
        resource = sent(request)
    elif resource is None:
        check_content_type(request.header("content-type"))
        resource = read_resource(request.body, max_bytes=request.context.settings.body_limit)
        if request.base.encode() in request.body or b"\\" in request.body:
            resource = rewrite_references(resource, lambda text: relative_form(text, f"{request.base}/"))
    if resource["resourceType"] != request.type:
        raise Incorrect(f"The body is not a {request.type}.", expression="resourceType")
    return resource


def relative_form(text: str, base: str) -> str:
    """A reference to a resource of this server without our address, so that both ways to write it are one."""
    rest = text.removeprefix(base)
    return rest if parse_reference(rest).kind is ReferenceKind.RELATIVE else text


def written(request: FhirRequest, stored: Stored, status: int, action: str, told: Sequence[str] = ()) -> FhirResponse:
    """The answer to a write: Location, ETag, Last-Modified and as much of a body as Prefer asks for; `told` is what an
    OperationOutcome says besides.
    """
    headers = {
        "Location": f"{request.base}/{stored.ref}/_history/{stored.version}",
        "ETag": etag_of(stored.version),
        "Last-Modified": http_date(stored.updated_at),
    }
    note = AuditNote(action=action, ref=stored.ref, patient=stored.patient, version=stored.version)
    return FhirResponse(status=status, body=_wanted(request, stored, told), headers=headers, note=note)


def _wanted(request: FhirRequest, stored: Stored, told: Sequence[str]) -> bytes:
    returned = preference(request.header("prefer")).returned
    if returned == "minimal" or not request.viewer.sight.may("r", stored.type):
        return b""
    if returned == "OperationOutcome":
        message = f"{stored.ref} is stored as version {stored.version}."
        said = (message, *told)
        return outcome([Issue(message=one, code="informational", severity="information") for one in said])
    return stored.body.encode()
