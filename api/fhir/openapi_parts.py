"""The parts of the OpenAPI description that many routes share: schemas, parameters and headers.

https://spec.openapis.org/oas/v3.1.0#components-object
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from fhir_tracker.fhir.json_types import Json, Resource
from fhir_tracker.fhir.subsets import SUMMARIES

FHIR = "application/fhir+json"
ID = r"^[A-Za-z0-9\-.]{1,64}$"
_TEXT: Resource = {"type": "string"}
_ADDRESS: Resource = {"type": "string", "format": "uri"}
_SEVERITIES: list[Json] = ["fatal", "error", "warning", "information"]
_BUNDLES: list[Json] = [
    *("document message transaction transaction-response batch batch-response history searchset collection".split())
]
_OPERATIONS: list[Json] = ["add", "remove", "replace", "move", "copy", "test"]


def reference(kind: str, name: str) -> Resource:
    """A reference to a component."""
    return {"$ref": f"#/components/{kind}/{name}"}


def tell(status: int) -> str:
    """What a status means, in the words of HTTP."""
    return HTTPStatus(status).phrase


def _resource(type_: str, **members: Json) -> Resource:
    return {
        "type": "object",
        "required": ["resourceType"],
        "properties": {"resourceType": {"const": type_}, "id": {"type": "string", "pattern": ID}, **members},
    }


def _list(of: Json) -> Resource:
    return {"type": "array", "minItems": 1, "items": of}


def _object(*required: str, **members: Json) -> Resource:
    return {"type": "object", "required": list(required), "properties": members}


def _query(name: str, description: str, schema: Resource) -> Resource:
    return {"name": name, "in": "query", "description": description, "schema": schema}


def _header(name: str, description: str, schema: Resource) -> Resource:
    return {"name": name, "in": "header", "description": description, "schema": schema}


def _place(name: str, description: str, schema: Resource) -> Resource:
    return {"name": name, "in": "path", "required": True, "description": description, "schema": schema}


_ISSUE = _object(
    "severity",
    "code",
    severity={"type": "string", "enum": _SEVERITIES},
    code=_TEXT,
    details=_object(text=_TEXT),
    diagnostics=_TEXT,
    expression=_list(_TEXT),
)
_ENTRY = _object(
    fullUrl=_ADDRESS,
    resource=reference("schemas", "Resource"),
    search=_object(mode={"type": "string", "enum": ["match", "include", "outcome"]}),
    request=_object("method", "url", method=_TEXT, url=_TEXT, ifMatch=_TEXT, ifNoneMatch=_TEXT, ifNoneExist=_TEXT),
    response=_object("status", status=_TEXT, location=_TEXT, etag=_TEXT, lastModified=_TEXT),
)
SCHEMAS: Mapping[str, Json] = {
    "Resource": {
        **_object(
            "resourceType",
            resourceType=reference("schemas", "Type"),
            id={"type": "string", "pattern": ID},
            meta=_object(versionId=_TEXT, lastUpdated={"type": "string", "format": "date-time"}),
        ),
        "description": "Any resource of FHIR R4, as https://hl7.org/fhir/R4/resourcelist.html defines it.",
        "examples": [{"resourceType": "Task", "id": "example", "status": "requested", "intent": "order"}],
    },
    "Answer": {"anyOf": [reference("schemas", "OperationOutcome"), reference("schemas", "Resource")]},
    "Bundle": {
        **_resource(
            "Bundle",
            type={"type": "string", "enum": _BUNDLES},
            total={"type": "integer", "minimum": 0},
            link=_list(_object("relation", "url", relation=_TEXT, url=_ADDRESS)),
            entry=_list(_ENTRY),
        ),
        "examples": [
            {
                "resourceType": "Bundle",
                "type": "batch",
                "entry": [{"request": {"method": "GET", "url": "Task?_count=1"}}],
            }
        ],
    },
    "CapabilityStatement": {
        **_resource("CapabilityStatement", fhirVersion={"const": "4.0.1"}, rest=_list({"type": "object"}))
    },
    "OperationOutcome": {**_resource("OperationOutcome", issue=_list(_ISSUE)), "required": ["resourceType", "issue"]},
    "Parameters": {
        **_resource("Parameters", parameter=_list(_object("name", name=_TEXT))),
        "description": "A FHIRPath Patch: https://hl7.org/fhir/R4/fhirpatch.html",
    },
    "JsonPatch": {
        "type": "array",
        "maxItems": 500,
        "items": _object("op", "path", op={"type": "string", "enum": _OPERATIONS}, path=_TEXT, value={}),
        "examples": [[{"op": "replace", "path": "/status", "value": "accepted"}]],
    },
}
HEADERS: Mapping[str, Json] = {
    "ETag": {"description": "The version, as a weak entity tag", "schema": {"type": "string", "pattern": '^W/".+"$'}},
    "Last-Modified": {"description": "When it was stored", "schema": _TEXT},
    "Location": {"description": "The version that was made", "schema": _ADDRESS},
}
_ELEMENTS = "Only these elements, by commas"
PARAMETERS: Mapping[str, Json] = {
    "Type": _place("type", "A resource type", reference("schemas", "Type")) | {"example": "Task"},
    "WritableType": _place("type", "A resource type that callers may write", reference("schemas", "WritableType"))
    | {"example": "Task"},
    "Compartment": _place(
        "type", "The type of the resource whose compartment it is", reference("schemas", "Compartment")
    )
    | {"example": "Patient"},
    "Member": _place("member", "A type that can be in the compartment, or `*`", _TEXT) | {"example": "Task"},
    "Id": _place("id", "A FHIR id", {"type": "string", "pattern": ID}) | {"example": "example"},
    "Version": _place("version", "A version id", {"type": "string", "pattern": ID}) | {"example": "1"},
    "AnySearchParameter": {
        **_query("parameters", "Search parameters of the type, with modifiers, chains and `_has`: see metadata", {}),
        "style": "form",
        "explode": True,
        "schema": {"type": "object", "additionalProperties": _TEXT},
    },
    "AnyParameter": {
        **_query("parameters", "The simple parameters of the operation: see its OperationDefinition", {}),
        "style": "form",
        "explode": True,
        "schema": {"type": "object", "additionalProperties": _TEXT},
    },
    "_type": _query("_type", "The types to search, by commas", _TEXT),
    "_count": _query("_count", "How many a page, at most 1000", {"type": "integer", "minimum": 0}),
    "_sort": _query("_sort", "Search parameters by commas, - for descending", _TEXT),
    "_total": _query("_total", "Whether to count", {"type": "string", "enum": ["none", "estimate", "accurate"]}),
    "_include": _query("_include", "What matches refer to, too: Task:patient", _TEXT),
    "_revinclude": _query("_revinclude", "What refers to matches, too: Provenance:target", _TEXT),
    "_page": _query("_page", "Where a next link goes on; made by the server", _TEXT),
    "_since": _query("_since", "Versions stored at or after this moment", _TEXT),
    "_at": _query("_at", "Versions current at this time", _TEXT),
    "_summary": _query(
        "_summary",
        "How much of each resource",
        {"type": "string", "enum": [*SUMMARIES]},
    ),
    "_elements": _query("_elements", _ELEMENTS, _TEXT),
    "_format": _query(
        "_format", "JSON only", {"type": "string", "enum": ["json", "application/json", "application/fhir+json"]}
    ),
    "_pretty": _query("_pretty", "Whether to answer in lines", {"type": "boolean"}),
    "Prefer": _header("Prefer", "return=minimal|representation|OperationOutcome; handling=strict|lenient", _TEXT),
    "If-Match": _header("If-Match", 'Only when this is the present version: W/"3"', _TEXT),
    "If-None-Match": _header("If-None-Match", "Only when the version is another one", _TEXT),
    "If-Modified-Since": _header("If-Modified-Since", "Only when stored later", _TEXT),
    "If-None-Exist": _header("If-None-Exist", "Only when this search of the type finds nothing", _TEXT),
}
