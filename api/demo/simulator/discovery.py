"""What a simulated EHR says of itself: smart-configuration, openid-configuration and the page of keys.

https://hl7.org/fhir/smart-app-launch/STU2.2/conformance.html
"""

from __future__ import annotations

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from api.demo.simulator.answers import endpoint, said
from api.demo.simulator.faults import replaced
from api.demo.simulator.simulator import Simulator

CAPABILITIES = (
    "launch-ehr launch-standalone authorize-post client-public client-confidential-symmetric "
    "client-confidential-asymmetric sso-openid-connect context-banner context-style context-ehr-patient "
    "context-ehr-encounter context-standalone-patient permission-offline permission-online permission-patient "
    "permission-user permission-v1 permission-v2"
).split()
SCOPES = "openid fhirUser profile launch launch/patient offline_access online_access patient/*.rs user/*.cruds system/*.rs".split()
WAYS = ["client_secret_basic", "private_key_jwt"]
ALGORITHMS = ["RS384", "ES384"]


def discovery_routes(simulator: Simulator) -> list[BaseRoute]:
    """The three pages."""

    def smart(request: Request, given: Mapping[str, str]) -> Response:
        return said(configuration(simulator))

    def openid(request: Request, given: Mapping[str, str]) -> Response:
        kept = ("issuer", "jwks_uri", "authorization_endpoint", "token_endpoint", "response_types_supported")
        told = {name: value for name, value in configuration(simulator).items() if name in kept}
        return said({**told, "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["RS256"]})

    def keys(request: Request, given: Mapping[str, str]) -> Response:
        published = simulator.keys.published(simulator.faults.keys)
        return Response(published, media_type="application/json", headers={"Cache-Control": "max-age=60"})

    base, issuer = _path(simulator, simulator.fhir_base), _path(simulator, simulator.issuer)
    return [
        Route(f"{base}/.well-known/smart-configuration", endpoint(simulator, "discovery", smart)),
        Route(f"{issuer}/.well-known/openid-configuration", endpoint(simulator, "openid", openid)),
        Route("/oauth/jwks", endpoint(simulator, "jwks", keys)),
    ]


def configuration(simulator: Simulator) -> Mapping[str, object]:
    """The values of smart-configuration, with the faults."""
    told: dict[str, object] = {
        "issuer": simulator.issuer,
        "jwks_uri": simulator.address("jwks"),
        "authorization_endpoint": simulator.address("authorize"),
        "token_endpoint": simulator.address("token"),
        "introspection_endpoint": simulator.address("introspect"),
        "revocation_endpoint": simulator.address("revoke"),
        "token_endpoint_auth_methods_supported": WAYS,
        "token_endpoint_auth_signing_alg_values_supported": ALGORITHMS,
        "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials"],
        "response_types_supported": ["code"],
        "scopes_supported": SCOPES,
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": True,
        "capabilities": CAPABILITIES,
    }
    if simulator.faults.without_pkce:
        told["code_challenge_methods_supported"] = None
    return replaced(told, simulator.faults.metadata)


def _path(simulator: Simulator, address: str) -> str:
    """The path of an address of ours."""
    return address.removeprefix(simulator.origin) if address.startswith(simulator.origin) else "/fhir"
