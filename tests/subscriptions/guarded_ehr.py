"""An EHR behind an authorization server, on one real socket: it reads our page of keys over HTTP and believes nothing else."""

from __future__ import annotations

import base64
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import httpx
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from tests.subscriptions.fake_ehr import BASE, FakeEhr, by_get

ALGORITHMS = ["RS384", "ES384"]
TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class GuardedEhr:
    """Registered with a client id and the address of its keys; tokens live for `life` seconds, or until `forget_tokens`."""

    def __init__(self, ehr: FakeEhr, client_id: str, jwks_url: str) -> None:
        self.ehr = ehr
        self.client_id = client_id
        self.jwks_url = jwks_url
        self.life = 300
        self.refusal = ""
        self.shown: list[jwt.Token] = []
        self.texts: list[str] = []
        self.complaints: list[str] = []
        self.pages_read = 0
        self.refused_requests = 0
        self._keys: KeySet | None = None
        self._tokens: dict[str, float] = {}
        self._lock = threading.RLock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.base_url = f"{self.url}/fhir"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join(30)
        self._server.server_close()

    def put(self, id_: str) -> None:
        """A Patient, changed now."""
        with self._lock:
            self.ehr.pass_time(1)
            self.ehr.put("Patient", id_, active=True)

    def forget_tokens(self) -> None:
        """None that was given out counts any more."""
        with self._lock:
            self._tokens.clear()

    @property
    def given(self) -> list[str]:
        with self._lock:
            return list(self._tokens)

    def answer(self, method: str, path: str, authorization: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body for one request."""
        with self._lock:
            if path == "/fhir/.well-known/smart-configuration":
                told = {"token_endpoint": f"{self.url}/token", "capabilities": ["permission-v2", "permission-v1"]}
                told |= {"token_endpoint_auth_signing_alg_values_supported": ALGORITHMS}
                return _json(200, told)
            if path == "/token":
                return self._token(body)
            is_known = self._tokens.get(authorization.removeprefix("Bearer "), 0.0) > time.time()
            if not is_known and path != "/fhir/metadata":
                self.refused_requests += 1
                return _json(401, {})
            form = {"content-type": "application/x-www-form-urlencoded"}
            asked = httpx.Request(method, f"https://ehr.example{path}", headers=form, content=body)
            found = self.ehr.answer(by_get(asked))
            headers = {name: found.headers[name] for name in ("content-type", "date") if name in found.headers}
            return found.status_code, headers, found.text.replace(BASE, self.base_url).encode()

    def _token(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        form = {name: values[0] for name, values in parse_qs(body.decode(), strict_parsing=True).items()}
        complaint = self.refusal or self._complaint(form)
        if complaint:
            self.complaints.append(complaint)
            return _json(400, {"error": "invalid_client", "error_description": complaint})
        token = f"made-up-token-{len(self.shown)}"
        self._tokens[token] = time.time() + self.life
        told = {"access_token": token, "token_type": "bearer", "expires_in": self.life, "scope": form["scope"]}
        return _json(200, told)

    def _complaint(self, form: dict[str, str]) -> str:
        """What is wrong with a request by SMART backend services; "" when it is good."""
        text = form.get("client_assertion", "")
        self.texts.append(text)
        if form.get("grant_type") != "client_credentials" or form.get("client_assertion_type") != TYPE:
            return "form"
        try:
            shown = self._checked(text)
        except (JoseError, ValueError) as error:
            return type(error).__name__
        claims, now = shown.claims, time.time()
        if shown.header.get("typ") != "JWT" or shown.header.get("alg") not in ALGORITHMS:
            return "header"
        if [claims.get(name) for name in ("iss", "sub", "aud")] != [
            self.client_id,
            self.client_id,
            f"{self.url}/token",
        ]:
            return "claims"
        if not now < claims["exp"] <= now + 300 or claims["jti"] in {one.claims["jti"] for one in self.shown}:
            return "exp or jti"
        self.shown.append(shown)
        return ""

    def _checked(self, text: str) -> jwt.Token:
        """By the keys read before, and once more by those of today where the key is not among them."""
        kid = json.loads(_unpadded(text.split(".")[0])).get("kid")
        if self._keys is None or kid not in {key.kid for key in self._keys}:
            page = httpx.get(self.jwks_url, trust_env=False, timeout=30).raise_for_status().json()
            self._keys = KeySet.import_key_set(page)
            self.pages_read += 1
        if kid not in {key.kid for key in self._keys}:
            raise ValueError("no such key")
        return jwt.decode(text, self._keys, algorithms=ALGORITHMS)


def _unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _json(status: int, value: object) -> tuple[int, dict[str, str], bytes]:
    return status, {"content-type": "application/json"}, json.dumps(value).encode()


def _handler(ehr: GuardedEhr) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            status, headers, text = ehr.answer(self.command, self.path, self.headers.get("authorization", ""), body)
            self.send_response_only(status)
            for name, value in {**headers, "content-length": str(len(text))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = _serve  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            return

    return Handler
