"""An OpenID provider that is no EHR: its three pages, and a token endpoint that answers with whom the test names."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl

from joserfc import jwt
from joserfc.jwk import RSAKey


@dataclass
class LoginProvider:
    """`claims` are put into the next id_token, over the usual ones; `forms` are what the token endpoint was sent."""

    url: str = ""
    claims: dict[str, object] = field(default_factory=dict)
    metadata: dict[str, object] = field(default_factory=dict)
    forms: list[Mapping[str, str]] = field(default_factory=list)
    nonce: str = ""
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048))

    def answer(self, path: str, form: Mapping[str, str]) -> dict[str, Any]:
        """The JSON at a path."""
        if path.endswith("/.well-known/openid-configuration"):
            told = {
                "issuer": self.url,
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/token",
                "jwks_uri": f"{self.url}/keys",
                "code_challenge_methods_supported": ["S256"],
            }
            return {name: value for name, value in {**told, **self.metadata}.items() if value is not None}
        if path.endswith("/keys"):
            return {"keys": [{**self.key.as_dict(private=False), "kid": "one", "use": "sig", "alg": "RS256"}]}
        self.forms.append(form)
        return {
            "access_token": "made-up-access-token",
            "token_type": "Bearer",
            "expires_in": 300,
            "id_token": self.id_token(),
        }

    def id_token(self) -> str:
        """Who somebody is."""
        now = int(time.time())
        usual = {"iss": self.url, "aud": "tracker", "sub": "u-1", "iat": now, "exp": now + 300, "nonce": self.nonce}
        claims = {name: value for name, value in {**usual, **self.claims}.items() if value is not None}
        return jwt.encode({"alg": "RS256", "kid": "one"}, claims, self.key, algorithms=["RS256"])


@contextmanager
def login_provider() -> Iterator[LoginProvider]:
    """One that listens on loopback while the block lasts."""
    provider = LoginProvider()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer({})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            self._answer(dict(parse_qsl(body.decode())))

        def _answer(self, form: Mapping[str, str]) -> None:
            body = json.dumps(provider.answer(self.path, form)).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    provider.url = f"http://127.0.0.1:{server.server_address[1]}/tenant"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        thread.join(30)
        server.server_close()
