"""The CapabilityStatement: made from the table of routes, the policy of types and the index, so that it cannot drift.

https://hl7.org/fhir/R4/capabilitystatement.html
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache

from api.context import Access
from api.fhir import trail_view
from api.fhir.actions import Action, Route
from api.fhir.exchange import FhirRequest, FhirResponse
from api.fhir.negotiation import is_unchanged
from api.fhir.policy import all_types, is_writable
from api.fhir.subsets import subset_of_one
from api.smart.places import TOKEN
from fhir_tracker import __version__
from fhir_tracker.fhir.body import write_json
from fhir_tracker.fhir.compartments import COMPARTMENTS
from fhir_tracker.fhir.definitions.registry import SearchParameter
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.own_parameters import parameters_of
from fhir_tracker.fhir.profiles.tables import profiles
from fhir_tracker.fhir.query import MODIFIERS
from fhir_tracker.fhir.search_values import COLUMNS, indexed_parameters
from fhir_tracker.fhir.subsets import subset_text

PUBLISHED = "2026-11-22"
OF_TYPE = "read vread update patch delete history-instance history-type create search-type".split()
OF_SYSTEM = "transaction batch search-system history-system".split()
PATCH_FORMATS = ("application/json-patch+json", "application/fhir+json")
EACH = "{type}"
MEMBER = "{member}"
_CONTENT = (
    "A read that asks for no format of FHIR by name is answered with the content. A body of another Content-Type is taken as "
    "content, with `X-Security-Context` as its securityContext."
)
_LAST_UPDATED = "When the tracker last stored a change of the resource, not when the EHR did."
_SERVICES = "http://terminology.hl7.org/CodeSystem/restful-security-service"
_OAUTH_URIS = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"
_ABSENT = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
_DEFINITION = "http://hl7.org/fhir/CompartmentDefinition/"


class Statement:
    """What a server with these routes does; each text of it is made once."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = tuple(routes)
        self._made: dict[tuple[str, Access], tuple[bytes, str]] = {}

    def answer(self, request: FhirRequest) -> FhirResponse:
        """The statement, with an ETag that changes with it; 304 for a caller who has it."""
        body, etag = self._text(request.base, request.context.access)
        subset = subset_of_one(request)
        if is_unchanged(etag, None, request.header("if-none-match"), ""):
            return FhirResponse(status=304, headers={"ETag": etag})
        told = body if subset.is_whole else subset_text(body.decode(), subset).encode()
        return FhirResponse(status=200, body=told, headers={"ETag": etag})

    def interactions(self, type_: str, access: Access) -> tuple[str, ...]:
        """The interactions a caller may use on a type."""
        may_write = is_writable(type_, access)
        offered = {one.interaction for one in self._actions(type_) if may_write or not one.writes}
        if type_ == trail_view.TYPE:
            offered &= trail_view.INTERACTIONS
        return tuple(code for code in OF_TYPE if code in offered)

    def system_interactions(self) -> tuple[str, ...]:
        """The interactions on the whole system; where transactions are taken, batches are too."""
        offered = {one.interaction for route in self._routes if not _of(route) for one in route.actions.values()}
        offered |= {"batch"} if "transaction" in offered else set()
        return tuple(code for code in OF_SYSTEM if code in offered)

    def operations(self, type_: str = "") -> Mapping[str, str]:
        """Name -> canonical of the definition, of the operations on a type or one of its resources, or on the system."""
        found = {
            route.template[-1].removeprefix("$"): action.operation
            for route in self._routes
            for action in route.actions.values()
            if action.operation and _of(route) in ({EACH, type_} if type_ else {""})
        }
        return dict(sorted(found.items()))

    def _text(self, base: str, access: Access) -> tuple[bytes, str]:
        if (base, access) not in self._made:
            body = write_json(self._resource(base, access)).encode()
            self._made[base, access] = body, f'W/"{hashlib.sha256(body).hexdigest()[:16]}"'
        return self._made[base, access]

    def _resource(self, base: str, access: Access) -> Resource:
        return {
            "resourceType": "CapabilityStatement",
            "status": "active",
            "date": PUBLISHED,
            "publisher": "fhir-tracker",
            "kind": "instance",
            "software": {"name": "fhir-tracker", "version": __version__},
            "implementation": {"description": "Care plan tracking on FHIR R4", "url": base},
            "fhirVersion": "4.0.1",
            "format": ["application/fhir+json", "json"],
            **({"patchFormat": list(PATCH_FORMATS)} if self._takes("PATCH", (EACH, "{id}")) else {}),
            "rest": [self._rest(base, access)],
        }

    def _rest(self, base: str, access: Access) -> Resource:
        codes = self.system_interactions()
        with_members = any(MEMBER in route.template for route in self._routes)
        return {
            "mode": "server",
            "documentation": _documentation(access),
            **({"security": _security(base)} if access is Access.LOCKED else {}),
            "resource": [self._row(type_, access) for type_ in all_types()],
            **_unless_empty("interaction", [{"code": code} for code in codes]),
            **_unless_empty(
                "searchParam", [_parameter(one) for one in common_parameters()] if "search-system" in codes else []
            ),
            **_unless_empty("operation", _operations(self.operations())),
            **_unless_empty(
                "compartment", [_DEFINITION + one.lower() for one in sorted(COMPARTMENTS)] if with_members else []
            ),
        }

    def _row(self, type_: str, access: Access) -> Resource:
        is_open = is_writable(type_, access)
        return {
            "type": type_,
            "profile": f"http://hl7.org/fhir/StructureDefinition/{type_}",
            **_unless_empty("supportedProfile", supported_profiles(type_)),
            **({"documentation": _CONTENT} if type_ == "Binary" else {}),
            "interaction": [{"code": code} for code in self.interactions(type_, access)],
            "versioning": "versioned-update" if is_open else "versioned",
            "readHistory": type_ != trail_view.TYPE,
            "updateCreate": is_open,
            "conditionalCreate": is_open,
            "conditionalRead": "full-support",
            "conditionalUpdate": is_open and self._takes("PUT", (EACH,)),
            "conditionalDelete": "single" if is_open and self._takes("DELETE", (EACH,)) else "not-supported",
            **_unless_empty("searchInclude", () if type_ == trail_view.TYPE else includes_of(type_)),
            **_unless_empty("searchRevInclude", () if type_ == trail_view.TYPE else reverse_includes_of(type_)),
            "searchParam": [
                _parameter(one) for one in supported_parameters(type_) if trail_view.knows(type_, one.code)
            ],
            **_unless_empty("operation", _operations(self.operations(type_))),
        }

    def _actions(self, type_: str) -> Iterator[Action]:
        for route in self._routes:
            if _of(route) in (EACH, type_) and MEMBER not in route.template:
                yield from route.actions.values()

    def _takes(self, method: str, template: tuple[str, ...]) -> bool:
        return any(route.template == template and method in route.actions for route in self._routes)


@cache
def supported_parameters(type_: str) -> tuple[SearchParameter, ...]:
    """The search parameters of a type that really select, by name."""
    codes = indexed_parameters(type_) | (COLUMNS & parameters_of(type_).keys())
    found = (parameters_of(type_)[code] for code in sorted(codes))
    return tuple(one for one in found if one.type in MODIFIERS)


@cache
def supported_profiles(type_: str) -> tuple[str, ...]:
    """The profiles that a resource of a type can be validated against, with their versions."""
    return tuple(sorted(f"{one.url}|{one.version}" for one in profiles().values() if one.type == type_))


@cache
def common_parameters() -> tuple[SearchParameter, ...]:
    """The search parameters that every type has, by which all types can be searched at once."""
    shared = set.intersection(*({one.url for one in supported_parameters(type_)} for type_ in all_types()))
    return tuple(one for one in supported_parameters("Basic") if one.url in shared)


@cache
def includes_of(type_: str) -> list[str]:
    """What `_include` may name in a search of a type."""
    return ["*", *(f"{type_}:{one.code}" for one in supported_parameters(type_) if one.type == "reference")]


def reverse_includes_of(type_: str) -> list[str]:
    """What `_revinclude` may name in a search of a type: the references of other types that can lead to it."""
    return ["*", *_reverse_includes().get(type_, [])]


@cache
def _reverse_includes() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for source in all_types():
        if source == trail_view.TYPE:
            continue
        for one in supported_parameters(source):
            if one.type == "reference":
                for target in one.targets or all_types():
                    found.setdefault(target, []).append(f"{source}:{one.code}")
    return found


def _of(route: Route) -> str:
    """The type a route is of: `{type}` for each, "" for the whole system."""
    first = route.template[0] if route.template else ""
    return first if first == EACH or first in all_types() else ""


def _documentation(access: Access) -> str:
    if access is Access.LOCKED:
        return "Every request but this one needs an access token."
    return "This server runs without login and answers on its own machine only. It holds no data of real patients."


def _security(base: str) -> Resource:
    """How to come in; by extension for older clients, which has to name an address where people log in: there is none."""
    absent = {"extension": [{"url": _ABSENT, "valueCode": "not-applicable"}]}
    token = f"{base.removesuffix('/fhir')}{TOKEN}"
    return {
        "extension": [
            {
                "url": _OAUTH_URIS,
                "extension": [{"url": "authorize", "_valueUri": absent}, {"url": "token", "valueUri": token}],
            }
        ],
        "service": [{"coding": [{"system": _SERVICES, "code": "SMART-on-FHIR"}], "text": "SMART App Launch"}],
        "description": "Access tokens for systems (backend services, private_key_jwt): see .well-known/smart-configuration.",
    }


def _operations(named: Mapping[str, str]) -> list[Resource]:
    return [{"name": name, "definition": definition} for name, definition in named.items()]


def _unless_empty(name: str, values: Iterable[object]) -> Resource:
    listed = list(values)
    return {name: listed} if listed else {}


def _parameter(parameter: SearchParameter) -> Resource:
    row: Resource = {"name": parameter.code, "definition": parameter.url, "type": parameter.type}
    if parameter.code == "_lastUpdated":
        row["documentation"] = _LAST_UPDATED
    return row
