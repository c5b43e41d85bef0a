"""An app's client of a simulated EHR that does everything right, of which a test can change what it sends."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
from joserfc import jwt
from joserfc.jwk import KeySet

from api.demo.simulator.app import SimulatedEhr
from api.demo.simulator.ledger import Context

APP = "http://127.0.0.1:9"
SCOPES = "launch openid fhirUser offline_access patient/*.rs"


class Client:
    """A right client of one EHR, of which a test can change what it sends."""

    def __init__(self, ehr: SimulatedEhr, client_id: str = "care-tracker") -> None:
        self.ehr = ehr
        self.client_id = client_id
        self.verifier = secrets.token_urlsafe(48)
        self.state = secrets.token_urlsafe(24)
        self.nonce = secrets.token_urlsafe(24)
        base = ehr.simulator.fhir_base
        self.known: Mapping[str, Any] = httpx.get(f"{base}/.well-known/smart-configuration").json()

    def asked(self, **changed: str | None) -> dict[str, str]:
        digest = hashlib.sha256(self.verifier.encode()).digest()
        values: dict[str, str | None] = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": f"{APP}/callback",
            "scope": SCOPES,
            "state": self.state,
            "nonce": self.nonce,
            "aud": self.ehr.simulator.fhir_base,
            "code_challenge": base64.urlsafe_b64encode(digest).decode().rstrip("="),
            "code_challenge_method": "S256",
        }
        return {name: text for name, text in {**values, **changed}.items() if text is not None}

    def authorize(self, **changed: str | None) -> httpx.Response:
        return httpx.get(self.known["authorization_endpoint"], params=self.asked(**changed))

    def launched(self, context: Context | None = None, **changed: str | None) -> dict[str, str]:
        launch = self.ehr.simulator.launch("nurse", context or Context(patient="ada"))
        return back(self.authorize(launch=launch.id, **changed))

    def token(self, own_code: str, **changed: str | None) -> httpx.Response:
        values: dict[str, str | None] = {
            "grant_type": "authorization_code",
            "code": own_code,
            "redirect_uri": f"{APP}/callback",
            "code_verifier": self.verifier,
            "client_id": self.client_id,
        }
        form = {name: text for name, text in {**values, **changed}.items() if text is not None}
        return httpx.post(self.known["token_endpoint"], data=form)

    def refresh(self, token: str, **changed: str) -> httpx.Response:
        form = {"grant_type": "refresh_token", "refresh_token": token, "client_id": self.client_id, **changed}
        return httpx.post(self.known["token_endpoint"], data=form)

    def let_in(self, context: Context | None = None, **changed: str | None) -> dict[str, Any]:
        answer = self.token(self.launched(context, **changed)["code"])
        assert answer.status_code == 200, answer.text
        assert answer.headers["cache-control"] == "no-store"
        found: dict[str, Any] = answer.json()
        return found

    def revoke(self, token: str) -> None:
        httpx.post(
            self.known["revocation_endpoint"], data={"token": token, "client_id": self.client_id}
        ).raise_for_status()

    def read(self, path: str, token: str) -> httpx.Response:
        return httpx.get(f"{self.ehr.simulator.fhir_base}/{path}", headers={"Authorization": f"Bearer {token}"})

    def claims(self, token: str) -> Mapping[str, Any]:
        keys = KeySet.import_key_set(httpx.get(self.known["jwks_uri"]).json())
        return jwt.decode(token, keys, algorithms=["RS256"]).claims


def back(answer: httpx.Response) -> dict[str, str]:
    assert answer.status_code == 302, answer.text
    assert answer.headers["location"].startswith(f"{APP}/callback?")
    return dict(parse_qsl(urlsplit(answer.headers["location"]).query))
