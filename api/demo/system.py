"""The demo's own system: reads the tracker's FHIR API as any other does, with tokens had by a signed assertion.

https://hl7.org/fhir/smart-app-launch/STU2.2/backend-services.html
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey

from api.demo.ehr import FhirApi
from api.demo.visitor import Visitor
from fhir_tracker.errors import RemoteFailure
from fhir_tracker.storage.clients import Client

CLIENT_ID = "demo-day"
SCOPES = ("system/*.rs",)
KEY_ID = "demo-day-1"
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
EARLY = timedelta(seconds=30)
"""How long before its end a token is replaced."""


class DemoSystem:
    """One key pair and the token it was last given; for several threads."""

    def __init__(self, tracker: str, now: Callable[[], datetime]) -> None:
        self._base = f"{tracker}/fhir"
        self._now = now
        self._key = ECKey.generate_key("P-384")
        self._lock = threading.Lock()
        self._token = ""
        self._ends_at = now()

    def client(self) -> Client:
        """How it is registered with the tracker."""
        public: Mapping[str, Any] = {**self._key.as_dict(private=False), "kid": KEY_ID, "alg": "ES384", "use": "sig"}
        keys = {"keys": [public]}
        return Client(id=CLIENT_ID, name="Demo day", scopes=SCOPES, jwks=keys, added_at=self._now())

    def api(self) -> FhirApi:
        """The tracker's FHIR API with a token that counts."""
        return FhirApi(base_url=self._base, headers=self.headers)

    def headers(self) -> Mapping[str, str]:
        """What every request carries; RemoteFailure when the tracker gives no token."""
        with self._lock:
            if self._now() >= self._ends_at - EARLY:
                self._renew()
            return {"Authorization": f"Bearer {self._token}"}

    def _renew(self) -> None:
        endpoint = FhirApi(base_url=self._base).call("GET", ".well-known/smart-configuration")["token_endpoint"]
        form = {
            "grant_type": "client_credentials",
            "scope": " ".join(SCOPES),
            "client_assertion_type": ASSERTION,
            "client_assertion": self._assertion(endpoint),
        }
        answer = Visitor().post(endpoint, form)
        if answer.status != 200:
            raise RemoteFailure(f"the tracker gives the demo no token: {answer.status}")
        told = json.loads(answer.text)
        self._token = told["access_token"]
        self._ends_at = self._now() + timedelta(seconds=int(told["expires_in"]))

    def _assertion(self, endpoint: str) -> str:
        ends = int((self._now() + timedelta(minutes=4)).timestamp())
        claims = {
            "iss": CLIENT_ID,
            "sub": CLIENT_ID,
            "aud": endpoint,
            "exp": ends,
            "jti": secrets.token_urlsafe(16),
        }
        return jwt.encode({"alg": "ES384", "kid": KEY_ID, "typ": "JWT"}, claims, self._key, algorithms=["ES384"])
