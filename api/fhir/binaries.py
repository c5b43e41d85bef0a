"""Binary as the bytes themselves: what is sent in another format than FHIR's becomes its content, and is given back so.

https://hl7.org/fhir/R4/binary.html#rest
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import replace
from functools import lru_cache

from api.cors import is_of
from api.fhir.actions import Action
from api.fhir.exchange import FhirRequest, FhirResponse, Pairs
from api.fhir.negotiation import is_json_type, names_json
from fhir_tracker.errors import Forbidden, Incorrect, NotAcceptable, UnsupportedMediaType
from fhir_tracker.fhir.body import read_json
from fhir_tracker.fhir.bundle_references import local_form
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.reading import text_at

TYPE = "Binary"
SECURITY_CONTEXT = "X-Security-Context"
_NAME = r"[A-Za-z0-9!#$&^_.+\-]{1,127}"
_PARAMETER = r"[ \t]*+;[ \t]*+[\x21-\x3a\x3c-\x7e][\x20-\x3a\x3c-\x7e]*+"
_MEDIA_TYPE = re.compile(rf"{_NAME}/{_NAME}(?:{_PARAMETER})*+")
_LONGEST = 500
_REFERENCE = re.compile(r"[!->@-~]{1,2000}")
_NO_IDS = ("_history", "_search")
_OF_RESOURCES = frozenset({"_format", "_summary", "_elements"})
_UNKNOWN = "application/octet-stream"
_HARMLESS = {
    "Content-Disposition": "attachment",
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Whoever follows a link to stored HTML gets a file, never a page of ours."""


def is_read_as_bytes(path: tuple[str, ...], method: str, accept: str, pairs: Pairs) -> bool:
    """Whether a read or vread of a Binary is answered with its content: nobody asked for FHIR's own form by name."""
    if path[:1] != (TYPE,) or method not in ("GET", "HEAD") or len(path) not in (2, 4):
        return False
    asks_for_resource = any(name in _OF_RESOURCES and value for name, value in pairs)
    return path[1] not in _NO_IDS and not asks_for_resource and not _names_fhir(accept)


@lru_cache(maxsize=256)
def _names_fhir(accept: str) -> bool:
    """XML is among the forms of FHIR too, though nobody gets it here."""
    return "fhir" in accept.lower() or names_json(accept)


def is_sent_as_bytes(request: FhirRequest) -> bool:
    """Whether the body of a create or update is the content of a Binary and no resource.

    JSON that is not said to be FHIR's is content when it is no resource.
    """
    if request.type != TYPE or request.resource is not None:
        return False
    content_type = request.header("content-type")
    name = content_type.partition(";")[0].strip().lower()
    if not name or "fhir" in name:
        return False
    return not is_json_type(content_type) or not _is_resource(request)


def _is_resource(request: FhirRequest) -> bool:
    value = read_json(request.body, max_bytes=request.context.settings.body_limit)
    return isinstance(value, dict) and "resourceType" in value


def sent(request: FhirRequest) -> Resource:
    """The Binary of a request whose body is its content.

    Raises UnsupportedMediaType for a Content-Type that is none, Incorrect for a security context that is no reference,
    and Forbidden for what the page of another site sends: a form can post texts anywhere without asking first.
    """
    _refuse_foreign_pages(request)
    content_type = request.header("content-type").strip()
    if len(content_type) > _LONGEST or not _MEDIA_TYPE.fullmatch(content_type):
        raise UnsupportedMediaType("The Content-Type is no media type such as application/pdf.")
    resource: Resource = {"resourceType": TYPE, "contentType": " ".join(content_type.split())}
    if request.id:
        resource["id"] = request.id
    if context := request.header(SECURITY_CONTEXT.lower()).strip():
        if not _REFERENCE.fullmatch(context):
            raise Incorrect(f"{SECURITY_CONTEXT} is no reference.", expression="Binary.securityContext.reference")
        resource["securityContext"] = {"reference": local_form(context, request.base)}
    if request.body:
        resource["data"] = base64.b64encode(request.body).decode()
    return resource


def _refuse_foreign_pages(request: FhirRequest) -> None:
    origin, site = request.header("origin"), request.header("sec-fetch-site")
    is_foreign = bool(origin) and not is_of(origin, request.header("host"))
    if is_foreign or site in ("cross-site", "same-site"):
        raise Forbidden("Pages of other sites cannot store content here.")


def as_bytes(read: Action) -> Action:
    """A read or vread whose answer is the content of the Binary instead of the resource."""
    return replace(read, handle=lambda request, tx: _as_bytes(read.handle(request, tx)))


def _as_bytes(response: FhirResponse) -> FhirResponse:
    if response.status != 200:
        return response
    resource: Resource = read_json(response.body, max_bytes=1 << 30)
    content_type = text_at(resource, "contentType") or ""
    is_safe = _MEDIA_TYPE.fullmatch(content_type) and content_type.isprintable()
    headers = {**response.headers, "Content-Type": content_type if is_safe else _UNKNOWN, **_HARMLESS}
    context = text_at(resource, "securityContext", "reference") or ""
    if _REFERENCE.fullmatch(context):
        headers[SECURITY_CONTEXT] = context
    return replace(response, body=_content(text_at(resource, "data") or ""), headers=headers)


def _content(data: str) -> bytes:
    try:
        return base64.b64decode("".join(data.split()), validate=True)
    except (binascii.Error, ValueError):
        raise NotAcceptable("The data of this Binary is not base64: read it as application/fhir+json.") from None
