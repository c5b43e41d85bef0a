"""patch of one resource: JSON Patch, or the operations of a Parameters resource.

https://hl7.org/fhir/R4/http.html#patch
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from api.fhir.conditional import match_of_address
from api.fhir.exchange import FhirRequest, FhirResponse
from api.fhir.fields import shown_to_patch
from api.fhir.linking import may_have_conditions, resolved
from api.fhir.negotiation import check_content_type
from api.fhir.provenance_header import proven
from api.fhir.reading import find_present
from api.fhir.writing import check_writable, expected_version, relative_form, written
from fhir_tracker import records, writes
from fhir_tracker.errors import Incorrect, NotFound, RuleBroken, TooLarge, UnsupportedMediaType
from fhir_tracker.fhir.body import read_json, read_resource, write_json
from fhir_tracker.fhir.bundle_references import conditional_references
from fhir_tracker.fhir.checks import require_valid
from fhir_tracker.fhir.json_types import Json, Resource
from fhir_tracker.fhir.patch import fhirpath_patch, json_patch
from fhir_tracker.fhir.reading import at
from fhir_tracker.fhir.references import rewrite_references
from fhir_tracker.fhir.summary_text import with_text_in_step
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.resources import Stored

Change = Callable[[Resource], Json]
_KINDS = f"{json_patch.CONTENT_TYPE} for JSON Patch, or application/fhir+json for the Parameters of a FHIRPath Patch"
_KEPT = (("resourceType",), ("id",), ("meta", "versionId"), ("meta", "lastUpdated"))


def patch(request: FhirRequest, tx: Tx) -> FhirResponse:
    """200 with the new version; 422 where an operation cannot be done or what comes out is no resource we would take.

    If-Match guards as on an update; without it the patch applies to whatever version is there.
    """
    check_writable(request)
    change = _change(request)
    return _patch(request, tx, find_present(request, tx), change)


def patch_by_condition(request: FhirRequest, tx: Tx) -> FhirResponse:
    """As a patch of the one resource that the query of the address finds; 404 for none, 412 for several."""
    check_writable(request)
    change = _change(request)
    found = match_of_address(request, tx)
    if found is None:
        raise NotFound(f"The condition finds no {request.type}.")
    return _patch(replace(request, id=found.id), tx, found, change)


def _patch(request: FhirRequest, tx: Tx, stored: Stored, change: Change) -> FhirResponse:
    expected_version(request, tx)
    before = shown_to_patch(request.viewer, records.resource_of(stored))
    after = _checked(request, tx, before, change(before))
    try:
        changed, _ = writes.update(tx, stored.type, stored.id, after, request.author(), if_match=stored.version)
    except Incorrect as error:
        if isinstance(error, RuleBroken):
            raise
        raise RuleBroken(f"What the patch makes is not valid: {error.message}", issues=error.issues) from None
    return written(request, proven(request, tx, changed), 200, "patch")


def _change(request: FhirRequest) -> Change:
    """The patch in the body; raises UnsupportedMediaType for another kind, Incorrect for what is none."""
    limit = request.context.settings.body_limit
    content_type = request.header("content-type")
    if content_type.partition(";")[0].strip().lower() == json_patch.CONTENT_TYPE:
        operations = read_json(request.body, max_bytes=limit)
        return lambda before: json_patch.apply(before, operations)
    try:
        check_content_type(content_type)
    except UnsupportedMediaType:
        raise UnsupportedMediaType(f"Send {_KINDS}.") from None
    if request.body.lstrip()[:1] == b"[":
        raise UnsupportedMediaType(f"This is an array: send {_KINDS}.")
    parameters = read_resource(request.body, max_bytes=limit)
    if parameters["resourceType"] != "Parameters":
        raise Incorrect("The body of a FHIRPath Patch is a Parameters resource.", expression="resourceType")
    require_valid(parameters)
    return lambda before: fhirpath_patch.apply(before, parameters)


def _checked(request: FhirRequest, tx: Tx, before: Resource, after: Json) -> Resource:
    """What a patch made, its references in our form and its generated text in step; raises RuleBroken for another identity."""
    if not isinstance(after, dict):
        raise RuleBroken("What the patch makes is not a resource.", expression=request.type)
    for path in _KEPT:
        if at(after, *path) != at(before, *path) and not (path[0] == "meta" and at(after, *path) is None):
            name = ".".join(path)
            raise RuleBroken(f"A patch cannot change {name}.", expression=f"{request.type}.{name}")
    resource = rewrite_references(after, lambda text: relative_form(text, f"{request.base}/"))
    resource = with_text_in_step(before, resource)
    text = write_json(resource).encode()
    if len(text) > request.context.settings.body_limit:
        raise TooLarge("What the patch makes is larger than a body may be.")
    if not may_have_conditions(text):
        return resource
    return resolved(request, tx, resource, known=conditional_references(before, request.base))
