"""The OpenAPI description of the FHIR routes: made from the table of routes and the statement, so that it cannot drift.

https://spec.openapis.org/oas/v3.1.0
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from api.context import Access, AppContext
from api.fhir.actions import Action, Route
from api.fhir.capability import EACH, MEMBER, PATCH_FORMATS, common_parameters
from api.fhir.openapi_parts import FHIR, HEADERS, PARAMETERS, SCHEMAS, reference, tell
from api.fhir.policy import all_types, is_writable
from api.fhir.routes import ROUTES, STATEMENT
from api.outcomes import STATUS_OF_CATEGORY, STATUS_OF_CLASS
from fhir_tracker import __version__
from fhir_tracker.fhir.compartments import COMPARTMENTS
from fhir_tracker.fhir.json_types import Json, Resource

FORM = "application/x-www-form-urlencoded"
WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
ALWAYS = (400, 404, 405, 406, 421, 500, 501, 503)
_ABOUT_THE_ANSWER = ("_format", "_pretty")
_ABOUT_READS = ("_summary", "_elements", *_ABOUT_THE_ANSWER)
_SEARCHED = ("_count", "_sort", "_total", "_include", "_revinclude", "_page", *_ABOUT_READS)
_OPENING = (
    "Care plan tracking on FHIR R4 (4.0.1), JSON only. `GET metadata` is the reference for what each type takes: its search "
    "parameters, includes and operations. Every answer of 400 and above carries an OperationOutcome. HEAD is served wherever "
    "GET is. A Binary can be sent and read as the content itself: see metadata."
)


@dataclass(frozen=True, kw_only=True)
class _Kind:
    """What all routes of one interaction share: good answers (status -> schema, "" for no body), errors, parameters."""

    summary: str
    answers: Mapping[int, str]
    errors: tuple[int, ...] = ()
    headers: tuple[str, ...] = ()
    query: tuple[str, ...] = _ABOUT_THE_ANSWER
    body: str = ""
    gives_content: bool = False
    """Of a Binary, in its own format."""


_BODY_ERRORS = (408, 413, 415)
_WRITE_ERRORS = (409, 412, 422, *_BODY_ERRORS)
_READ = _Kind(
    summary="Read a resource",
    answers={200: "Resource", 304: ""},
    errors=(410,),
    headers=("If-None-Match", "If-Modified-Since"),
    query=_ABOUT_READS,
    gives_content=True,
)
_KINDS: Mapping[str, _Kind] = {
    "capabilities": _Kind(
        summary="What this server does", answers={200: "CapabilityStatement", 304: ""}, headers=("If-None-Match",)
    ),
    "read": _READ,
    "vread": replace(_READ, summary="Read a version of a resource"),
    "create": _Kind(
        summary="Create a resource, or only when nothing is found (If-None-Exist)",
        answers={200: "Resource", 201: "Resource"},
        errors=(403, *_WRITE_ERRORS),
        headers=("Prefer", "If-None-Exist"),
        body="Resource",
    ),
    "update": _Kind(
        summary="Store a resource",
        answers={200: "Resource", 201: "Resource"},
        errors=(403, *_WRITE_ERRORS),
        headers=("Prefer", "If-Match", "If-None-Match"),
        body="Resource",
    ),
    "patch": _Kind(
        summary="Change a resource by JSON Patch or FHIRPath Patch",
        answers={200: "Resource"},
        errors=(410, *_WRITE_ERRORS),
        headers=("Prefer", "If-Match"),
        body="Patch",
    ),
    "delete": _Kind(summary="Delete a resource", answers={204: ""}, errors=(409, 412, 422), headers=("If-Match",)),
    "transaction": _Kind(
        summary="Carry out a transaction or a batch",
        answers={200: "Bundle"},
        errors=(410, *_WRITE_ERRORS),
        headers=("Prefer",),
        body="Bundle",
    ),
    "search-type": _Kind(summary="Search a type", answers={200: "Bundle"}, headers=("Prefer",), query=_SEARCHED),
    "search-system": _Kind(
        summary="Search all types, or those of _type", answers={200: "Bundle"}, headers=("Prefer",), query=_SEARCHED
    ),
    "search-compartment": _Kind(
        summary="Search what belongs to a resource; `*` stands for all its types",
        answers={200: "Bundle"},
        headers=("Prefer",),
        query=_SEARCHED,
    ),
    "operation": _Kind(
        summary="Call an operation",
        answers={200: "Answer", 201: "Resource"},
        errors=(410, *_WRITE_ERRORS),
        headers=("Prefer",),
        body="Resource",
    ),
}
_HISTORY = _Kind(
    summary="The versions, newest first",
    answers={200: "Bundle"},
    headers=("Prefer",),
    query=("_count", "_since", "_at", "_page", *_ABOUT_READS),
)


def document(context: AppContext) -> Resource:
    """The whole description, as this server serves its callers."""
    rows = {f"/{'/'.join(route.template)}": _path(route, context.access) for route in ROUTES}
    note = "" if context.access is not Access.LOCKED else " Every request but `GET metadata` needs an access token."
    secured: Resource = {"security": [{"token": []}]} if context.access is Access.LOCKED else {}
    return {
        "openapi": "3.1.0",
        "info": {"title": "fhir-tracker, FHIR R4 API", "version": __version__, "description": _OPENING + note},
        "servers": [{"url": context.fhir_base}],
        **secured,
        "paths": rows,
        "components": {
            **({"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}} if secured else {}),
            "schemas": {**SCHEMAS, **_types(context.access)},
            "parameters": {**PARAMETERS, **_search_parameters()},
            "headers": HEADERS,
            "responses": {f"E{status}": _error(status) for status in _ERROR_STATUSES},
        },
    }


def _path(route: Route, access: Access) -> Resource:
    return {method.lower(): _operation(route, method, action, access) for method, action in route.actions.items()}


def _operation(route: Route, method: str, action: Action, access: Access) -> Resource:
    kind = _HISTORY if action.interaction.startswith("history") else _KINDS[action.interaction]
    place = "-".join(part.strip("{}$_") for part in route.template) or "base"
    found: Resource = {
        "operationId": f"{method.lower()}-{place}-{action.interaction}",
        "summary": f"{kind.summary}: {action.operation}" if action.operation else kind.summary,
        "tags": [action.interaction.partition("-")[0]],
        "parameters": [*_of_path(route, action), *_of_query(route, method, action, kind), *_named(kind.headers)],
        "responses": _responses(method, action, kind, access),
    }
    if method in WITH_BODY:
        found["requestBody"] = _body(kind)
    return found


def _of_path(route: Route, action: Action) -> Iterator[Json]:
    names = {EACH: "WritableType" if action.writes else "Type", "{id}": "Id", "{version}": "Version", MEMBER: "Member"}
    if MEMBER in route.template:
        names[EACH] = "Compartment"
    yield from (reference("parameters", names[part]) for part in route.template if part in names)


def _of_query(route: Route, method: str, action: Action, kind: _Kind) -> Iterator[Json]:
    yield from _named(kind.query)
    is_conditional = action.writes and not action.operation and method != "POST" and "{id}" not in route.template
    if (method == "GET" and action.interaction.startswith("search")) or is_conditional:
        yield from _named([f"search.{one.code}" for one in common_parameters()])
        yield reference("parameters", "AnySearchParameter")
    if method == "GET" and action.operation:
        yield reference("parameters", "AnyParameter")
    if action.interaction == "search-system" or MEMBER in route.template:
        yield reference("parameters", "_type")


def _named(names: tuple[str, ...] | list[str]) -> Iterator[Json]:
    return (reference("parameters", name) for name in names)


def _body(kind: _Kind) -> Resource:
    if not kind.body:
        fields: Resource = {"type": "object", "additionalProperties": {"type": "string"}}
        return {"required": False, "content": {FORM: {"schema": fields, "example": {"_count": "1"}}}}
    if kind.body == "Patch":
        schemas = zip(PATCH_FORMATS, ("JsonPatch", "Parameters"), strict=True)
        return {"required": True, "content": {form: {"schema": reference("schemas", name)} for form, name in schemas}}
    return {"required": True, "content": {FHIR: {"schema": reference("schemas", kind.body)}}}


def _responses(method: str, action: Action, kind: _Kind, access: Access) -> Resource:
    found: Resource = {str(status): _good(status, schema) for status, schema in kind.answers.items()}
    if kind.gives_content:
        found["200"]["content"]["*/*"] = {}
    locked = (401, 403, 429) if access is Access.LOCKED and action.interaction != "capabilities" else ()
    posted = _BODY_ERRORS if method in WITH_BODY else ()
    for status in sorted({*ALWAYS, *kind.errors, *locked, *posted}):
        found[str(status)] = reference("responses", f"E{status}")
    return found


def _good(status: int, schema: str) -> Resource:
    found: Resource = {"description": tell(status)}
    if schema:
        found["content"] = {FHIR: {"schema": reference("schemas", schema)}}
    if schema in ("Resource", "CapabilityStatement") or status == 304:
        found["headers"] = {name: reference("headers", name) for name in ("ETag", "Last-Modified", "Location")}
    return found


_ERROR_STATUSES = sorted({*STATUS_OF_CATEGORY.values(), *STATUS_OF_CLASS.values(), 408, 421})


def _error(status: int) -> Resource:
    return {"description": tell(status), "content": {FHIR: {"schema": reference("schemas", "OperationOutcome")}}}


def _types(access: Access) -> Resource:
    writable: list[Json] = [type_ for type_ in all_types() if is_writable(type_, access)]
    watched: list[Json] = [type_ for type_ in all_types() if STATEMENT.interactions(type_, access)]
    return {
        "Type": {"type": "string", "enum": watched},
        "WritableType": {"type": "string", "enum": writable},
        "Compartment": {"type": "string", "enum": sorted(COMPARTMENTS)},
    }


def _search_parameters() -> Resource:
    return {
        f"search.{one.code}": {
            "name": one.code,
            "in": "query",
            "description": f"{one.type}: {one.url}",
            "schema": {"type": "string"},
        }
        for one in common_parameters()
    }
