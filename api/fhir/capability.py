"""The CapabilityStatement: made from the table of routes, the policy of types and the index, so that it cannot drift.

https://hl7.org/fhir/R4/capabilitystatement.html
"""

from __future__ import annotations

import hashlib
from functools import cache

from api.context import Access
from api.fhir.exchange import FhirRequest, FhirResponse
from api.fhir.negotiation import is_unchanged
from api.fhir.policy import all_types, is_writable
from fhir_tracker import __version__
from fhir_tracker.fhir.body import write_json
from fhir_tracker.fhir.definitions.registry import SearchParameter
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.own_parameters import parameters_of
from fhir_tracker.fhir.query import MODIFIERS
from fhir_tracker.fhir.search_values import COLUMNS, indexed_parameters

PUBLISHED = "2026-11-22"
_WRITES = frozenset({"create", "update", "delete"})
_INTERACTIONS = ("read", "vread", "update", "delete", "history-instance", "create", "search-type")
_LAST_UPDATED = "When the tracker last stored a change of the resource, not when the EHR did."


def metadata(request: FhirRequest) -> FhirResponse:
    """What this server does, with an ETag that changes with it."""
    body = _statement(request.base, request.context.access)
    etag = f'W/"{hashlib.sha256(body).hexdigest()[:16]}"'
    if is_unchanged(etag, None, request.header("if-none-match"), ""):
        return FhirResponse(status=304, headers={"ETag": etag})
    return FhirResponse(status=200, body=body, headers={"ETag": etag})


def interactions(type_: str, access: Access) -> tuple[str, ...]:
    """The interactions a caller may use on a type."""
    return tuple(code for code in _INTERACTIONS if code not in _WRITES or is_writable(type_, access))


def supported_parameters(type_: str) -> tuple[SearchParameter, ...]:
    """The search parameters of a type that really select, by name."""
    codes = indexed_parameters(type_) | (COLUMNS & parameters_of(type_).keys())
    found = (parameters_of(type_)[code] for code in sorted(codes))
    return tuple(one for one in found if one.type in MODIFIERS)


@cache
def _statement(base: str, access: Access) -> bytes:
    statement: Resource = {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": PUBLISHED,
        "publisher": "fhir-tracker",
        "kind": "instance",
        "software": {"name": "fhir-tracker", "version": __version__},
        "implementation": {"description": "Care plan tracking on FHIR R4", "url": base},
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json", "json"],
        "rest": [
            {
                "mode": "server",
                "documentation": _documentation(access),
                "resource": [_resource(type_, access) for type_ in all_types()],
            }
        ],
    }
    return write_json(statement).encode()


def _documentation(access: Access) -> str:
    if access is Access.LOCKED:
        return "Every request but this one needs a login."
    return "This server runs without login and answers on its own machine only. It holds no data of real patients."


def _resource(type_: str, access: Access) -> Resource:
    is_open = is_writable(type_, access)
    return {
        "type": type_,
        "profile": f"http://hl7.org/fhir/StructureDefinition/{type_}",
        "interaction": [{"code": code} for code in interactions(type_, access)],
        "versioning": "versioned-update" if is_open else "versioned",
        "readHistory": True,
        "updateCreate": is_open,
        "conditionalCreate": is_open,
        "conditionalRead": "full-support",
        "conditionalUpdate": False,
        "conditionalDelete": "not-supported",
        "searchParam": [_parameter(one) for one in supported_parameters(type_)],
    }


def _parameter(parameter: SearchParameter) -> Resource:
    row: Resource = {"name": parameter.code, "definition": parameter.url, "type": parameter.type}
    if parameter.code == "_lastUpdated":
        row["documentation"] = _LAST_UPDATED
    return row
