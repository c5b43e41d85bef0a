"""The token endpoint of a simulated EHR: a code with its verifier, or a refresh token, for tokens and launch context.

https://hl7.org/fhir/smart-app-launch/STU2.2/app-launch.html#obtain-access-token
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from datetime import timedelta

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from api.demo.simulator.answers import endpoint, form_is_right, refused, said
from api.demo.simulator.clients import identified
from api.demo.simulator.faults import replaced
from api.demo.simulator.keys import s256
from api.demo.simulator.ledger import Context, Grant
from api.demo.simulator.simulator import Simulator
from api.demo.simulator.world import Member, RegisteredApp
from fhir_tracker.errors import Unauthenticated

VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")
LEAST_LIFE = 60


def token_routes(simulator: Simulator) -> list[BaseRoute]:
    """`/oauth/token`."""

    def token(request: Request, given: Mapping[str, str]) -> Response:
        if not form_is_right(request):
            simulator.ledger.blame("token: the request is no form")
            return refused("invalid_request", "send a form")
        try:
            app = identified(simulator, given, request.headers.get("authorization", ""))
        except Unauthenticated as problem:
            simulator.ledger.blame(f"token: {problem.message}")
            return refused("invalid_client", problem.message, 401)
        if simulator.faults.token_error:
            return refused(simulator.faults.token_error, "told to refuse")
        way = _WAYS.get(given.get("grant_type", ""))
        if way is None:
            simulator.ledger.blame("token: grant_type is unknown")
            return refused("unsupported_grant_type", ", ".join(_WAYS))
        return way(simulator, app, given)

    return [Route("/oauth/token", endpoint(simulator, "token", token), methods=["POST"])]


def _by_code(simulator: Simulator, app: RegisteredApp, given: Mapping[str, str]) -> Response:
    grant = simulator.ledger.take_code(given.get("code", ""), simulator.now())
    wrong = _wrong(simulator, app, grant, given)
    if wrong or grant is None:
        simulator.ledger.blame(f"token: {wrong}")
        return refused("invalid_grant", wrong)
    return _tokens(simulator, app, grant, grant.scopes, first=True)


def _wrong(simulator: Simulator, app: RegisteredApp, grant: Grant | None, given: Mapping[str, str]) -> str:
    if grant is None:
        return "the code is unknown, used or older than a minute"
    if grant.client_id != app.client_id:
        return "the code was given to another app"
    if given.get("redirect_uri") != grant.redirect_uri:
        return "redirect_uri is not the one that the code was asked with"
    if simulator.faults.without_pkce and not grant.challenge:
        return ""
    verifier = given.get("code_verifier", "")
    if not VERIFIER.fullmatch(verifier) or s256(verifier) != grant.challenge:
        return "code_verifier does not match"
    return ""


def _by_refresh(simulator: Simulator, app: RegisteredApp, given: Mapping[str, str]) -> Response:
    keep = simulator.faults.without_rotation
    shown = given.get("refresh_token", "")
    known = simulator.ledger.refresh(shown)
    if known is not None and known.grant.client_id != app.client_id:
        simulator.ledger.blame("token: the refresh token was given to another app")
        return refused("invalid_grant", "the refresh token was given to another app")
    held = simulator.ledger.take_refresh(shown, keep=keep)
    if held is None:
        simulator.ledger.blame("token: the refresh token is unknown, used or revoked")
        return refused("invalid_grant", "the refresh token is unknown, used or revoked")
    asked = tuple(given.get("scope", "").split()) or held.scopes
    if not set(asked) <= set(held.scopes):
        simulator.ledger.blame("token: a refresh asks for more than was granted")
        return refused("invalid_scope", "more than was granted")
    return _tokens(simulator, app, held.grant, asked, first=False)


def _by_itself(simulator: Simulator, app: RegisteredApp, given: Mapping[str, str]) -> Response:
    """A token for a system that signs for itself, and for nobody's launch.

    https://hl7.org/fhir/smart-app-launch/STU2.2/backend-services.html
    """
    scopes = tuple(given.get("scope", "").split())
    if app.kind != "confidential-asymmetric":
        simulator.ledger.blame("token: client_credentials without an assertion")
        return refused("unauthorized_client", "a system signs for itself")
    if not scopes or not all(one.startswith("system/") for one in scopes):
        simulator.ledger.blame("token: a system asks for scopes of people")
        return refused("invalid_scope", "scopes of systems begin with system/")
    itself = Member(id=app.client_id, name=app.name, title="System", fhir_user="")
    grant = Grant(
        client_id=app.client_id,
        redirect_uri="",
        scopes=scopes,
        challenge="",
        nonce="",
        member=itself,
        context=Context(),
        family=secrets.token_urlsafe(12),
        at=simulator.now(),
    )
    return _tokens(simulator, app, grant, scopes, first=True)


_WAYS = {"authorization_code": _by_code, "refresh_token": _by_refresh, "client_credentials": _by_itself}


def _tokens(
    simulator: Simulator, app: RegisteredApp, grant: Grant, scopes: tuple[str, ...], *, first: bool
) -> Response:
    faults = simulator.faults
    ends = simulator.now() + timedelta(seconds=faults.token_life)
    told: dict[str, object] = {
        "access_token": simulator.ledger.issue(grant, scopes, ends),
        "token_type": "Bearer",
        "expires_in": max(faults.token_life, LEAST_LIFE if faults.token_life <= 0 else 1),
        "scope": " ".join(scopes),
    }
    if not faults.says_life:
        del told["expires_in"]
    may_refresh = {"offline_access", "online_access"} & set(scopes) and not faults.without_refresh
    if may_refresh and (first or not faults.without_rotation):
        told["refresh_token"] = simulator.ledger.issue_refresh(grant, scopes)
    if "openid" in scopes and not faults.id_token.missing:
        told["id_token"] = _id_token(simulator, app, grant, scopes)
    return said(replaced({**told, **_context(simulator, grant, scopes)}, faults.context))


def _context(simulator: Simulator, grant: Grant, scopes: tuple[str, ...]) -> Mapping[str, object]:
    """The launch context, as far as scopes let it be told."""
    context, faults = grant.context, simulator.faults
    told: dict[str, object] = {}
    if context.patient and not faults.without_patient:
        told["patient"] = faults.other_patient or context.patient
    if context.encounter:
        told["encounter"] = context.encounter
    if context.intent:
        told["intent"] = context.intent
    if context.fhir_context:
        told["fhirContext"] = [dict(one) for one in context.fhir_context]
    if context.needs_banner is not None:
        told["need_patient_banner"] = context.needs_banner
    if context.style_url:
        told["smart_style_url"] = context.style_url
    if context.tenant:
        told["tenant"] = context.tenant
    return told


def _id_token(simulator: Simulator, app: RegisteredApp, grant: Grant, scopes: tuple[str, ...]) -> str:
    now = int(simulator.now().timestamp())
    claims: dict[str, object] = {
        "iss": simulator.issuer,
        "sub": grant.member.id,
        "aud": app.client_id,
        "iat": now,
        "exp": now + 300,
    }
    if grant.nonce:
        claims["nonce"] = grant.nonce
    if "fhirUser" in scopes:
        claims["fhirUser"] = f"{simulator.fhir_base}/{grant.member.fhir_user}"
    if "profile" in scopes:
        claims["profile"] = f"{simulator.fhir_base}/{grant.member.fhir_user}"
        claims["name"] = grant.member.name
    return simulator.keys.id_token(claims, simulator.faults.id_token, app.secret)
