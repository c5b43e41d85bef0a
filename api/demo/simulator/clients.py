"""Who an app is that asks a simulated EHR for a token: nothing but an id, a secret as Basic, or a signed assertion.

https://hl7.org/fhir/smart-app-launch/STU2.2/client-confidential-asymmetric.html
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from collections.abc import Mapping
from datetime import datetime
from urllib.parse import unquote_plus, urlsplit

from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from api.demo.ehr import FhirApi
from api.demo.simulator.simulator import Simulator
from api.demo.simulator.world import RegisteredApp
from fhir_tracker.errors import RemoteFailure, Unauthenticated

ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ALGORITHMS = ["RS384", "ES384"]
MOST_SECONDS = 300


def identified(simulator: Simulator, given: Mapping[str, str], authorization: str) -> RegisteredApp:
    """The app that asks; Unauthenticated, with the reason, when it does not show what it was registered with."""
    ways = [bool(authorization), "client_secret" in given, "client_assertion" in given]
    if sum(ways) > 1:
        simulator.ledger.blame("token: more than one way to show who asks")
    if "client_secret" in given:
        simulator.ledger.blame("token: the secret stands in the form")
    if "client_assertion" in given:
        return _by_assertion(simulator, given)
    if authorization:
        return _by_secret(simulator, given, authorization)
    app = simulator.world.app(given.get("client_id", ""))
    if app is None or app.kind != "public":
        raise Unauthenticated("client_id is missing, unknown, or of an app that has to show more")
    return app


def _by_secret(simulator: Simulator, given: Mapping[str, str], authorization: str) -> RegisteredApp:
    scheme, _, packed = authorization.partition(" ")
    try:
        id_, _, secret = base64.b64decode(packed, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise Unauthenticated("the Authorization header cannot be read") from None
    app = simulator.world.app(unquote_plus(id_))
    if scheme.lower() != "basic" or app is None or app.kind != "confidential-symmetric":
        raise Unauthenticated("Basic is for apps with a secret")
    if not hmac.compare_digest(unquote_plus(secret).encode(), app.secret.encode()):
        raise Unauthenticated("the secret is wrong")
    if given.get("client_id", app.client_id) != app.client_id:
        raise Unauthenticated("the form names another app")
    return app


def _by_assertion(simulator: Simulator, given: Mapping[str, str]) -> RegisteredApp:
    if given.get("client_assertion_type") != ASSERTION:
        raise Unauthenticated("client_assertion_type is wrong")
    text = given["client_assertion"]
    try:
        header = jws.extract_compact(text.encode()).headers()
        app = simulator.world.app(str(_unchecked(text).get("iss", "")))
        if app is None or app.kind != "confidential-asymmetric":
            raise Unauthenticated("the assertion's issuer is no app with keys")
        _check_header(simulator, header)
        keys = KeySet.import_key_set(_keys_of(app))  # type: ignore[arg-type]
        claims = jwt.decode(text, keys, algorithms=ALGORITHMS).claims
    except (JoseError, ValueError, RemoteFailure) as problem:
        raise Unauthenticated(f"the assertion does not hold: {problem}") from problem
    _check_claims(simulator, claims, app, simulator.now())
    return app


def _unchecked(text: str) -> Mapping[str, object]:
    body = text.split(".")[1]
    found: Mapping[str, object] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return found


def _check_header(simulator: Simulator, header: Mapping[str, object]) -> None:
    if header.get("typ") != "JWT":
        simulator.ledger.blame("token: the assertion's typ is not JWT")
    if not header.get("kid"):
        raise Unauthenticated("the assertion names no key")
    if header.get("alg") not in ALGORITHMS:
        raise Unauthenticated("the assertion's algorithm is not allowed")


def _check_claims(simulator: Simulator, claims: Mapping[str, object], app: RegisteredApp, now: datetime) -> None:
    ends, jti = claims.get("exp"), claims.get("jti")
    if claims.get("sub") != app.client_id:
        raise Unauthenticated("the assertion's sub is not its iss")
    if claims.get("aud") != simulator.address("token"):
        raise Unauthenticated("the assertion is for another endpoint")
    if not isinstance(ends, int) or not now.timestamp() < ends <= now.timestamp() + MOST_SECONDS:
        raise Unauthenticated("the assertion's exp is missing, past, or more than five minutes ahead")
    if not isinstance(jti, str) or not jti or not simulator.ledger.is_new(f"jti of {app.client_id}", jti):
        raise Unauthenticated("the assertion's jti is missing or was seen before")


def _keys_of(app: RegisteredApp) -> Mapping[str, object]:
    if app.jwks is not None:
        return app.jwks
    parts = urlsplit(app.jwks_url)
    return FhirApi(base_url=f"{parts.scheme}://{parts.netloc}").call("GET", parts.path)
