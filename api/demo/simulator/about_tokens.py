"""Introspection (RFC 7662) and revocation (RFC 7009) of a simulated EHR's tokens.

https://hl7.org/fhir/smart-app-launch/STU2.2/token-introspection.html
"""

from __future__ import annotations

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from api.demo.simulator.answers import NO_STORE, endpoint, refused, said
from api.demo.simulator.clients import identified
from api.demo.simulator.faults import replaced
from api.demo.simulator.ledger import Issued
from api.demo.simulator.simulator import Simulator
from fhir_tracker.errors import Unauthenticated


def about_token_routes(simulator: Simulator) -> list[BaseRoute]:
    """`/oauth/introspect` and `/oauth/revoke`; only registered apps may ask."""

    def introspect(request: Request, given: Mapping[str, str]) -> Response:
        try:
            identified(simulator, given, request.headers.get("authorization", ""))
        except Unauthenticated as problem:
            return refused("invalid_client", problem.message, 401)
        token = given.get("token", "")
        found = simulator.ledger.access(token, simulator.now()) or simulator.ledger.refresh(token)
        told = _told(simulator, found) if found else {"active": False}
        return said(replaced(told, simulator.faults.introspection))

    def revoke(request: Request, given: Mapping[str, str]) -> Response:
        try:
            app = identified(simulator, given, request.headers.get("authorization", ""))
        except Unauthenticated as problem:
            return refused("invalid_client", problem.message, 401)
        token = given.get("token", "")
        found = simulator.ledger.access(token, simulator.now()) or simulator.ledger.refresh(token)
        if found and found.grant.client_id == app.client_id:
            simulator.ledger.revoke(token)
        return Response(status_code=200, headers=NO_STORE)

    return [
        Route("/oauth/introspect", endpoint(simulator, "introspect", introspect), methods=["POST"]),
        Route("/oauth/revoke", endpoint(simulator, "revoke", revoke), methods=["POST"]),
    ]


def _told(simulator: Simulator, issued: Issued) -> Mapping[str, object]:
    grant = issued.grant
    told: dict[str, object] = {
        "active": True,
        "scope": " ".join(issued.scopes),
        "client_id": grant.client_id,
        "iss": simulator.issuer,
        "sub": grant.member.id,
        "fhirUser": f"{simulator.fhir_base}/{grant.member.fhir_user}",
    }
    if issued.ends_at:
        told["exp"] = int(issued.ends_at.timestamp())
    if grant.context.patient:
        told["patient"] = grant.context.patient
    if grant.context.encounter:
        told["encounter"] = grant.context.encounter
    return told
