"""The smallest FHIR server that an app can be launched against: reads and simple searches of resources in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from api.demo.simulator.answers import endpoint
from api.demo.simulator.bearer import refusal
from api.demo.simulator.simulator import Simulator
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.reading import text_at

FHIR_JSON = "application/fhir+json"
_UNUSED = frozenset({"_count", "_sort", "_total", "_format", "_lastUpdated", "_summary", "_elements"})


class Records:
    """`resources` as they stand; a test may `put` others while it runs."""

    def __init__(self, simulator: Simulator, resources: Sequence[Resource] = ()) -> None:
        self._simulator = simulator
        self._kept = {(one["resourceType"], one["id"]): one for one in resources}

    def put(self, resource: Resource) -> None:
        """Add or replace one."""
        self._kept = {**self._kept, (resource["resourceType"], resource["id"]): resource}

    def routes(self) -> list[BaseRoute]:
        """`metadata`, read and search below the FHIR base."""
        base = self._simulator.fhir_base.removeprefix(self._simulator.origin)
        metadata = endpoint(self._simulator, "fhir", self._metadata)
        read = endpoint(self._simulator, "fhir", self._read)
        search = endpoint(self._simulator, "fhir", self._search)
        return [
            Route(f"{base}/metadata", metadata),
            Route(base + "/{type}/_search", search, methods=["POST"]),
            Route(base + "/{type}/{id}", read),
            Route(base + "/{type}", search),
        ]

    def _metadata(self, request: Request, given: Mapping[str, str]) -> Response:
        types = sorted({type_ for type_, _ in self._kept})
        interactions = [{"code": "read"}, {"code": "search-type"}]
        return _fhir(
            {
                "resourceType": "CapabilityStatement",
                "status": "active",
                "kind": "instance",
                "fhirVersion": "4.0.1",
                "format": ["json"],
                "rest": [{"mode": "server", "resource": [{"type": one, "interaction": interactions} for one in types]}],
            }
        )

    def _read(self, request: Request, given: Mapping[str, str]) -> Response:
        type_, id_ = request.path_params["type"], request.path_params["id"]
        found = self._kept.get((type_, id_))
        if refused := self._refused(request, type_):
            return refused
        if found is None or not self._is_shown(request, found):
            return _outcome(404, "not-found")
        return _fhir(found)

    def _search(self, request: Request, given: Mapping[str, str]) -> Response:
        type_ = request.path_params["type"]
        if refused := self._refused(request, type_):
            return refused
        found = [one for one in self._matches(type_, given) if self._is_shown(request, one)]
        entries = [{"resource": one, "search": {"mode": "match"}} for one in found]
        return _fhir({"resourceType": "Bundle", "type": "searchset", "total": len(found), "entry": entries})

    def _matches(self, type_: str, given: Mapping[str, str]) -> Iterator[Resource]:
        wanted = {name: text for name, text in given.items() if name not in _UNUSED}
        for (kind, id_), one in self._kept.items():
            if kind == type_ and all(_holds(one, id_, name, text) for name, text in wanted.items()):
                yield one

    def _refused(self, request: Request, type_: str) -> Response | None:
        status = refusal(self._simulator, request.headers.get("authorization", ""), type_, "r")
        return _outcome(status, "login" if status == 401 else "forbidden") if status else None

    def _is_shown(self, request: Request, resource: Resource) -> bool:
        """Whether a token with patient scopes alone, locked to a patient, sees it."""
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        issued = self._simulator.ledger.access(token, self._simulator.now())
        if issued is None or not issued.grant.context.patient:
            return True
        if any(one.startswith("user/") for one in issued.scopes):
            return True
        mine = f"Patient/{issued.grant.context.patient}"
        about = {f"{resource['resourceType']}/{resource['id']}", *_subjects(resource)}
        return resource["resourceType"].startswith("Practitioner") or mine in about


def _subjects(resource: Resource) -> Iterator[str]:
    for name in ("subject", "patient", "for"):
        if reference := text_at(resource, name, "reference"):
            yield reference


def _holds(resource: Resource, id_: str, name: str, text: str) -> bool:
    if name == "_id":
        return id_ in text.split(",")
    if name in ("patient", "subject"):
        return any(one.endswith(text.rpartition("/")[2]) for one in _subjects(resource))
    return text_at(resource, name) == text


def _fhir(resource: Resource, status: int = 200) -> Response:
    return JSONResponse(resource, status_code=status, media_type=FHIR_JSON)


def _outcome(status: int, code: str) -> Response:
    issue = {"severity": "error", "code": code}
    response = _fhir({"resourceType": "OperationOutcome", "issue": [issue]}, status)
    if status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response
