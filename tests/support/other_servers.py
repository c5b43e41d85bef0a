"""Authorization servers that differ from our own simulator as real ones do, and people who come in by them.

One process-wide listener on loopback serves any number of servers, each below a path of its own; what each answers is data.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qsl, unquote_plus, urlencode, urlsplit

import httpx
from joserfc import jws
from joserfc.jwk import ECKey, OctKey, RSAKey
from starlette.testclient import TestClient

from api.app import create_app
from api.context import Access, AppContext
from fhir_tracker import accounts, clock, connections, issuers
from fhir_tracker.issuers import Terms
from fhir_tracker.roles import built_in
from fhir_tracker.storage import issuers as stored_issuers
from fhir_tracker.storage import launches
from fhir_tracker.storage.accounts import Account
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.issuers import Issuer
from fhir_tracker.storage.launches import LaunchSession
from tests.support.contexts import context_of

BASE = "https://testserver"
CLIENT, SECRET = "care-tracker", "made-up secret/+%"
SMART = "/fhir/.well-known/smart-configuration"
ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "HS256"]
RSA, OTHER_RSA = RSAKey.generate_key(2048), RSAKey.generate_key(2048)
EC256, EC384 = ECKey.generate_key("P-256"), ECKey.generate_key("P-384")
KEYS: Mapping[str, RSAKey | ECKey] = {"RS": RSA, "PS": RSA, "ES256": EC256, "ES384": EC384}
PATIENT: Mapping[str, object] = {
    "resourceType": "Patient",
    "birthDate": "1950-01-01",
    "name": [{"family": "Synthetic", "given": ["Pat"]}],
}
Page = tuple[int, Mapping[str, str], bytes]
_OAUTH_URIS = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"


def page_of(value: object, status: int = 200, kind: str = "application/json") -> Page:
    """An answer: bytes as they are, anything else as JSON."""
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return status, {"Content-Type": kind}, body


def merged(values: Mapping[str, object], by: Mapping[str, object]) -> dict[str, object]:
    """`values` with others in their place; None takes one away."""
    return {name: one for name, one in {**values, **by}.items() if one is not None}


def public(key: RSAKey | ECKey, **more: object) -> dict[str, object]:
    """The public half of a key as a page of keys shows it; None takes a member away."""
    told: dict[str, object] = {**key.as_dict(private=False), "kid": "one", "use": "sig"}
    return merged(told, more)


@dataclass
class Server:
    """What one server says. `{at}` in texts is its address, `{base}` its FHIR base, `{auth}` its authorization server.

    `configuration`, `openid`, `token`, `claims` and `back` go over what is usual; None takes a value away. A `pages` entry
    is the whole answer at a path below the address.
    """

    configuration: Mapping[str, object] = field(default_factory=dict)
    openid: Mapping[str, object] = field(default_factory=dict)
    token: Mapping[str, object] = field(default_factory=dict)
    claims: Mapping[str, object] = field(default_factory=dict)
    header: Mapping[str, object] = field(default_factory=dict)
    alg: str = "RS256"
    keys: tuple[Mapping[str, object], ...] | None = None
    back: Mapping[str, str | None] = field(default_factory=dict)
    pages: Mapping[str, Page] = field(default_factory=dict)
    refreshed: list[Page] = field(default_factory=list)
    """Answers to renewals, one after the other; the usual one when there are no more."""
    slow: float = 0.0
    code: str = "a-code"
    basic: bool = False
    """Whether the client has to show its secret in the Authorization header."""
    at: str = ""
    asked: Mapping[str, str] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)
    forms: list[Mapping[str, str]] = field(default_factory=list)

    @property
    def base(self) -> str:
        """Its FHIR base."""
        return f"{self.at}/fhir"

    def filled(self, value: Any) -> Any:
        """A value with the addresses put in."""
        if isinstance(value, str):
            return value.replace("{base}", self.base).replace("{auth}", f"{self.at}/auth").replace("{at}", self.at)
        if isinstance(value, Mapping):
            return {name: self.filled(one) for name, one in value.items()}
        return [self.filled(one) for one in value] if isinstance(value, list | tuple) else value

    def answer(self, path: str, form: Mapping[str, str], headers: Mapping[str, str]) -> Page:
        """What is at a path below its address."""
        self.seen.append(path)
        if path == "/auth/token":
            self.forms.append(form)
            time.sleep(self.slow)
        if path in self.pages:
            status, more, body = self.pages[path]
            return status, self.filled(more), self.filled(body.decode("latin-1")).encode("latin-1")
        found: dict[str, Callable[[], Page]] = {
            SMART: lambda: page_of(self.filled(merged(_SMART, self.configuration))),
            "/auth/.well-known/openid-configuration": lambda: page_of(self.filled(merged(_OPENID, self.openid))),
            "/auth/keys": lambda: page_of({"keys": [*(self.keys if self.keys is not None else self._usual_keys())]}),
            "/auth/token": lambda: self._tokens(form, headers),
            "/auth/revoke": lambda: page_of({}),
        }
        if path.startswith("/fhir/Patient/"):
            return page_of({**PATIENT, "id": unquote_plus(path.rpartition("/")[2])}, kind="application/fhir+json")
        return found.get(path, lambda: page_of({"error": "nothing here"}, 404))()

    def _usual_keys(self) -> list[Mapping[str, object]]:
        if self.alg == "HS256" or self.alg == "none":
            return [public(RSA)]
        return [public(KEYS.get(self.alg) or KEYS[self.alg[:2]])]

    def _tokens(self, form: Mapping[str, str], headers: Mapping[str, str]) -> Page:
        if form.get("grant_type") == "refresh_token":
            usual = {"access_token": f"renewed-{len(self.forms)}", "token_type": "Bearer", "expires_in": 300}
            return self.refreshed.pop(0) if self.refreshed else page_of(usual)
        wrong = self._wrong(form, headers)
        if wrong:
            return page_of({"error": "invalid_grant", "error_description": wrong}, 400)
        told: dict[str, object] = {
            "access_token": "made-up-access",
            "token_type": "Bearer",
            "expires_in": 3600,
            "scope": self.asked["scope"],
            "id_token": self.id_token(),
        }
        return page_of(self.filled(merged(told, self.token)))

    def _wrong(self, form: Mapping[str, str], headers: Mapping[str, str]) -> str:
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        if base64.urlsafe_b64encode(digest).decode().rstrip("=") != self.asked["code_challenge"]:
            return "code_verifier"
        if form.get("code") != self.code or form.get("redirect_uri") != self.asked["redirect_uri"]:
            return "code or redirect_uri"
        shown = base64.b64decode(headers.get("authorization", "").removeprefix("Basic ")).decode()
        name, _, secret = (unquote_plus(one) for one in shown.partition(":"))
        if self.basic and (name, secret) != (CLIENT, SECRET):
            return "client"
        return ""

    def id_token(self) -> str:
        """Who somebody is."""
        now = int(time.time())
        usual = {
            "iss": "{auth}",
            "aud": CLIENT,
            "sub": "u-1",
            "iat": now,
            "exp": now + 300,
            "nonce": self.asked.get("nonce"),
            "fhirUser": "{base}/Practitioner/nurse",
        }
        claims = self.filled(merged(usual, self.claims))
        header = merged({"alg": self.alg, "kid": "one", "typ": "JWT"}, self.header)
        if self.alg == "none":
            parts = [
                base64.urlsafe_b64encode(json.dumps(one).encode()).decode().rstrip("=") for one in (header, claims)
            ]
            return ".".join([*parts, ""])
        key = OctKey.import_key(SECRET) if self.alg == "HS256" else KEYS.get(self.alg) or KEYS[self.alg[:2]]
        return jws.serialize_compact(header, json.dumps(claims).encode(), key, algorithms=ALGORITHMS)


_SMART: Mapping[str, object] = {
    "issuer": "{auth}",
    "jwks_uri": "{auth}/keys",
    "authorization_endpoint": "{auth}/authorize",
    "token_endpoint": "{auth}/token",
    "code_challenge_methods_supported": ["S256"],
    "grant_types_supported": ["authorization_code"],
    "capabilities": ["launch-ehr", "sso-openid-connect", "client-public", "context-ehr-patient", "permission-v2"],
}
_OPENID: Mapping[str, object] = {
    "issuer": "{auth}",
    "jwks_uri": "{auth}/keys",
    "authorization_endpoint": "{auth}/authorize",
    "token_endpoint": "{auth}/token",
    "code_challenge_methods_supported": ["S256"],
}


def older_statement(**more: object) -> Page:
    """A CapabilityStatement that names the addresses by the extension of old."""
    uris = [{"url": name, "valueUri": f"{{auth}}/{name}"} for name in ("authorize", "token", "register")]
    security = {"cors": True, "extension": [{"url": _OAUTH_URIS, "extension": uris}]}
    told = {"resourceType": "CapabilityStatement", "status": "active", "fhirVersion": "4.0.1"}
    return page_of({**told, "rest": [{"mode": "server", "security": security, **more}]}, kind="application/fhir+json")


@dataclass
class Park:
    """All servers of one listener."""

    origin: str = ""
    servers: dict[str, Server] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def open(self, server: Server) -> str:
        """Have a server listen, at an address nobody had before; its key."""
        key = f"s{next(self._numbers)}"
        server.at = f"{self.origin}/{key}"
        self.servers[key] = server
        return key

    def answer(self, target: str, body: bytes, headers: Mapping[str, str]) -> Page:
        """What is at an address."""
        key, _, path = urlsplit(target).path.removeprefix("/").partition("/")
        server = self.servers.get(key)
        form = dict(parse_qsl(body.decode(), keep_blank_values=True))
        return server.answer(f"/{path}", form, headers) if server else page_of({}, 404)


@contextmanager
def park(host: str = "127.0.0.1") -> Iterator[Park]:
    """A listener on loopback while the block lasts."""
    made = Park()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(b"")

        def do_POST(self) -> None:
            self._answer(self.rfile.read(int(self.headers.get("Content-Length", "0"))))

        def _answer(self, body: bytes) -> None:
            told = {name.lower(): text for name, text in self.headers.items()}
            status, headers, answer = made.answer(self.path, body, told)
            self.send_response(status)
            for name, text in {**headers, "Content-Length": str(len(answer))}.items():
                self.send_header(name, text)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    listener = ThreadingHTTPServer((host, 0), Handler)
    made.origin = f"http://{host}:{listener.server_address[1]}"
    thread = threading.Thread(target=listener.serve_forever, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        listener.shutdown()
        thread.join(30)
        listener.server_close()


@dataclass
class Practice:
    """A tracker, and people who come in to it by servers of a park; each server has a connection of its own."""

    park: Park
    database: Database
    context: AppContext
    app: Any

    def connect(self, server: Server, *, provider: bool = False, **terms: Any) -> str:
        """Let staff in from a server; the key of its connection or provider."""
        key = self.park.open(server)
        base = f"{server.at}/auth" if provider else server.base
        wanted = Terms(**{"url": base, "client_id": CLIENT, **terms})
        with self.database.begin() as tx:
            if provider:
                issuers.of_provider(tx, key, wanted, self.context.secret_key, clock.now())
            else:
                connections.add(tx, key, base, now=clock.now())
                issuers.of_connection(tx, key, wanted, self.context.secret_key, clock.now())
        return key

    def person(self, key: str, who: str = "Practitioner/nurse", *, provider: bool = False) -> Account:
        """Somebody who may come in from there."""
        named = {"provider": key, "subject": who} if provider else {"connection": key, "fhir_user": who}
        with self.database.begin() as tx:
            made, _ = accounts.add(tx, "Nora Synthetic", ["rn"], known=built_in(), now=clock.now(), **cast(Any, named))
        return made

    def browser(self) -> TestClient:
        """A browser nobody has used, at an address of its own."""
        number = next(self.park._numbers)
        return TestClient(
            self.app,
            base_url=BASE,
            client=(f"198.51.{number // 250}.{number % 250 + 1}", 40_000),
            follow_redirects=False,
        )

    def issuer(self, key: str) -> Issuer:
        """How the tracker knows a server."""
        with self.database.read() as tx:
            found = stored_issuers.find(tx, key)
        assert found is not None
        return found

    def come_in(self, key: str, browser: TestClient | None = None, **back: str | None) -> httpx.Response:
        """The whole way from a chart of that server (or its login); the tracker's last answer."""
        server, browser, known = self.park.servers[key], browser or self.browser(), self.issuer(key)
        ehr = known.kind == "connection"
        params = {"iss": known.url, **({"launch": "a launch/+%"} if ehr else {})}
        sent = cast(httpx.Response, browser.get("/launch" if ehr else "/launch/standalone", params=params))
        if sent.status_code != 302:
            return sent
        location = sent.headers["location"]
        server.asked = dict(parse_qsl(urlsplit(location).query, keep_blank_values=True, strict_parsing=True))
        usual = {"code": server.code, "state": server.asked["state"]}
        told = {name: one for name, one in {**usual, **server.filled(server.back), **back}.items() if one is not None}
        return cast(httpx.Response, browser.get(f"/callback?{urlencode(told)}"))

    def session(self, answer: httpx.Response) -> LaunchSession:
        """The session that an answer opens."""
        assert answer.status_code == 303, answer.text
        with self.database.read() as tx:
            found = launches.find(tx, urlsplit(answer.headers["location"]).path.split("/")[2])
        assert found is not None
        return found


def practice(servers: Park, database: Database) -> Practice:
    """A tracker over `database` that nobody comes in to yet."""
    context = context_of(database, access=Access.LOCKED, public_url=BASE)
    return Practice(servers, database, context, create_app(context))


@contextmanager
def one_practice(prepared: Path, folder: Path) -> Iterator[Practice]:
    """A tracker over a copy of the empty SQLite file `prepared`, for many tests: each server is a connection of its own."""
    path = folder / "tracker.db"
    shutil.copyfile(prepared, path)
    with park() as servers, closing(Database.open(f"sqlite:///{path}")) as database:
        yield practice(servers, database)
