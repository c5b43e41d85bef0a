"""An authorization server in memory that respx serves: it checks what SMART backend services says a server checks."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, unquote_plus

import httpx
import respx
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

TOKEN_URL = "https://auth.example/oauth2/token"
CLIENT = "tracker at clinic"
SECRET = "made-up: s%cret/+ü"
JSON = {"content-type": "application/json"}


class TokenServer:
    """Gives out `made-up-token-1`, -2 and so on. `twist` may answer a request instead, given its number from 1."""

    def __init__(self, jwks: Callable[[], Mapping[str, Any]] | None = None) -> None:
        self.jwks = jwks
        self.now = datetime(2024, 5, 6, 12, 0, tzinfo=UTC)
        self.life: object = 600
        self.secret = SECRET
        self.decodes = True
        self.forms: list[dict[str, str]] = []
        self.requests: list[httpx.Request] = []
        self.assertions: list[jwt.Token] = []
        self.given: list[str] = []
        self.twist: Callable[[int], httpx.Response | None] = lambda number: None

    @property
    def asked(self) -> int:
        return len(self.requests)

    def serve(self, router: respx.MockRouter, url: str = TOKEN_URL) -> None:
        router.post(url).mock(side_effect=self._answer)

    def token(self, number: int) -> httpx.Response:
        """A good answer."""
        self.given.append(f"made-up-token-{number}")
        told = {
            "access_token": self.given[-1],
            "token_type": "bearer",
            "expires_in": self.life,
            "scope": "system/*.read",
        }
        return httpx.Response(200, headers=JSON, text=json.dumps(told))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        form = {name: values[0] for name, values in parse_qs(request.content.decode(), strict_parsing=True).items()}
        self.forms.append(form)
        twisted = self.twist(self.asked)
        if twisted is not None:
            return twisted
        if form["grant_type"] != "client_credentials" or "scope" not in form:
            return refusal(400, "invalid_request")
        known = self._by_assertion(form) if "client_assertion" in form else self._by_secret(request)
        return self.token(self.asked) if known else refusal(400, "invalid_client")

    def _by_assertion(self, form: Mapping[str, str]) -> bool:
        assert self.jwks is not None
        assert form["client_assertion_type"] == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        keys = KeySet.import_key_set(dict(self.jwks()))  # type: ignore[arg-type]
        try:
            shown = jwt.decode(form["client_assertion"], keys, algorithms=["RS384", "ES384"])
        except (JoseError, ValueError):
            return False
        assert shown.header["kid"] in {key.kid for key in keys}
        assert shown.claims["jti"] not in {one.claims["jti"] for one in self.assertions}
        self.assertions.append(shown)
        in_time = self.now.timestamp() < shown.claims["exp"] <= self.now.timestamp() + 300
        right = [shown.claims[name] for name in ("iss", "sub", "aud")] == [CLIENT, CLIENT, TOKEN_URL]
        return in_time and right

    def _by_secret(self, request: httpx.Request) -> bool:
        kind, _, shown = request.headers.get("authorization", "").partition(" ")
        pair = base64.b64decode(shown).decode().split(":", 1)
        read = unquote_plus if self.decodes else str
        return kind == "Basic" and [read(one) for one in pair] == [CLIENT, self.secret]


def refusal(status: int, code: str, **more: str) -> httpx.Response:
    """An OAuth error."""
    return httpx.Response(status, headers=JSON, text=json.dumps({"error": code, **more}))
