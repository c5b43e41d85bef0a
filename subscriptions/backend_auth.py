"""SMART backend services as a client: tokens are had by a signed assertion or a secret, kept in memory, renewed by one thread.

https://hl7.org/fhir/smart-app-launch/STU2.2/backend-services.html
"""

from __future__ import annotations

import base64
import secrets
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from urllib.parse import quote_plus

from fhir_tracker import clock
from fhir_tracker.authentication import TOKEN_KINDS
from fhir_tracker.errors import RemoteFailure, UsageError
from fhir_tracker.signing_keys import Keyring
from fhir_tracker.storage.connections import Connection
from fhir_tracker.storage.signing_keys import StoredKey
from subscriptions.client import Authorizer, Budget, Fixed
from subscriptions.credentials import authorization, read_secret
from subscriptions.outbound import origin, reach_of
from subscriptions.token_discovery import Endpoint, discover
from subscriptions.token_endpoint import INVALID_SCOPE, Token, ask

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_LIFE = timedelta(minutes=4)
"""A minute less than is allowed, for clocks that differ."""
DISCOVERED_FOR = timedelta(hours=1)
RENEWAL_PAUSE = timedelta(seconds=30)
"""How long after a failed renewal a token that still counts is used before the next."""


@dataclass(frozen=True, kw_only=True)
class Registration:
    """As whom we ask for tokens: everything of a connection that a token depends on, and nothing secret."""

    base_url: str
    kind: str
    client_id: str
    token_url: str
    scopes: str
    secret_file: str
    jku: str
    writes: tuple[str, ...] = ()

    def form(self, endpoint: Endpoint, *, reads_only: bool = False) -> dict[str, str]:
        """What every request for a token says."""
        scopes = self.scopes or default_scopes(endpoint, () if reads_only else self.writes)
        return {"grant_type": "client_credentials", "scope": scopes}


@dataclass
class _Shelf:
    """The token of one registration, its lock held by the one thread that asks for a new one."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    token: Token | None = None
    failure: RemoteFailure | None = None
    asked: int = 0
    way: int = 0
    """Which way to show the secret was taken last."""
    reads_only: bool = False
    """Whether the scopes to write were refused when a person had named none."""
    endpoint: Endpoint | None = None
    discovered_at: datetime | None = None


class Tokens:
    """The tokens of this process, in memory only and shared by all its threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._shelves: dict[Registration, _Shelf] = {}

    def shelf(self, registration: Registration) -> _Shelf:
        """Where the token of a registration is kept."""
        with self._lock:
            return self._shelves.setdefault(registration, _Shelf())


TOKENS = Tokens()


class TokenAuthorizer:
    """An Authorizer that has its token from a token endpoint."""

    def __init__(
        self,
        registration: Registration,
        keys: Keyring | None,
        tokens: Tokens = TOKENS,
        now: Callable[[], datetime] = clock.now,
        budget: Budget | None = None,
    ) -> None:
        self.registration = registration
        self._keys = keys
        self._budget = budget
        self._shelf = tokens.shelf(registration)
        self._now = now
        self._used = ""

    def header(self, now: datetime) -> str | None:
        """`Bearer` and a token that counts at `now`; one is asked for where there is none, or its end is near.

        While the token at hand still counts, a renewal that fails is put off. Raises RemoteFailure, and UsageError when the
        secret or key cannot be read.
        """
        self._used = self.token(now).value
        return f"Bearer {self._used}"

    def token(self, now: datetime) -> Token:
        """The token that `header` shows, with what was granted."""
        held = self._shelf.token
        if held is not None and held.is_fresh(now):
            return held
        try:
            return self._renewed(now, unlike="")
        except RemoteFailure:
            if held is None or not held.got_at <= now < held.ends_at:
                raise
            return held

    def refused(self) -> bool:
        """After a 401: True when there is another token than the one that was refused. Raises as `header` does."""
        return self._renewed(self._now(), unlike=self._used).value != self._used

    def endpoint(self, now: datetime) -> Endpoint:
        """Where tokens are asked for; what the server told of that is kept for an hour. Raises RemoteFailure."""
        shelf, registration = self._shelf, self.registration
        is_known = shelf.discovered_at is not None and timedelta() <= now - shelf.discovered_at < DISCOVERED_FOR
        if shelf.endpoint is None or not is_known:
            given = Endpoint(url=registration.token_url) if registration.token_url else None
            shelf.endpoint = given or discover(registration.base_url, self._budget)
            shelf.discovered_at = now
        return shelf.endpoint

    def _renewed(self, now: datetime, *, unlike: str) -> Token:
        """A new token, asked for once however many threads want it; a failure counts for all who waited for it."""
        shelf, before = self._shelf, self._shelf.asked
        with shelf.lock:
            held = shelf.token
            if held is not None and held.value != unlike and held.is_fresh(now):
                return held
            if shelf.asked != before and shelf.failure is not None:
                raise _again(shelf.failure)
            try:
                shelf.token = self._asked(now)
            except RemoteFailure as failure:
                shelf.failure = failure
                _put_off(shelf, now, refused=unlike)
                raise
            finally:
                shelf.asked += 1
            shelf.failure = None
            return shelf.token

    def _asked(self, now: datetime) -> Token:
        endpoint, shelf = self.endpoint(now), self._shelf
        form, less = (self.registration.form(endpoint, reads_only=one) for one in (shelf.reads_only, True))
        try:
            try:
                return self._shown(endpoint, form, now)
            except RemoteFailure as failure:
                if failure.said != INVALID_SCOPE or form == less:
                    raise
                found = self._shown(endpoint, less, now)
                shelf.reads_only = True
                return found
        except RemoteFailure as failure:
            raise _again(failure, self._remedy() if failure.auth else "") from None

    def _shown(self, endpoint: Endpoint, form: dict[str, str], now: datetime) -> Token:
        """A token for showing who we are."""
        if self.registration.kind == "client_secret":
            self._check_confirmed(endpoint)
            return self._by_secret(endpoint, form, now)
        return self._by_assertion(endpoint, form, now)

    def _ask(self, endpoint: Endpoint, form: dict[str, str], headers: dict[str, str], now: datetime) -> Token:
        reach = reach_of(self.registration.base_url, self.registration.token_url)
        return ask(endpoint.url, form, headers, now, budget=self._budget, reach=reach)

    def _check_confirmed(self, endpoint: Endpoint) -> None:
        """A secret could be used by whoever it is shown to: it goes to another server only when a person named that one."""
        if not self.registration.token_url and origin(endpoint.url) != origin(self.registration.base_url):
            scheme, host, port = origin(endpoint.url)
            raise RemoteFailure(
                f"The server gives out its tokens at {scheme}://{host}:{port}, another server, which has not been shown the "
                "secret: add the connection with --token-url if that is right.",
                auth=True,
            )

    def _by_secret(self, endpoint: Endpoint, form: dict[str, str], now: datetime) -> Token:
        """In each way that the server may take, the one that it took last first."""
        pair = (self.registration.client_id, read_secret(self.registration.secret_file))
        ways = _ways(pair, endpoint.methods)
        first = self._shelf.way % len(ways)
        for place in (first, *(one for one in range(len(ways)) if one != first)):
            more, headers = ways[place]
            try:
                found = self._ask(endpoint, form | more, headers, now)
            except RemoteFailure as failure:
                if not failure.auth or failure.said == INVALID_SCOPE:
                    raise
                refusal = failure
            else:
                self._shelf.way = place
                return found
        raise refusal

    def _by_assertion(self, endpoint: Endpoint, form: dict[str, str], now: datetime) -> Token:
        """Signed by our newest key, then by the one before: a server may not have read the new page of keys yet."""
        if self._keys is None:
            raise UsageError("This connection signs with a key of our own, and none is at hand here.")
        form = {**form, "client_assertion_type": ASSERTION_TYPE}
        first, *others = self._keys.signers(now, endpoint.algorithms)
        try:
            return self._ask(endpoint, {**form, "client_assertion": self._assertion(endpoint, first, now)}, {}, now)
        except RemoteFailure as failure:
            if not failure.auth or not others or failure.said == INVALID_SCOPE:
                raise
        return self._ask(endpoint, {**form, "client_assertion": self._assertion(endpoint, others[0], now)}, {}, now)

    def _assertion(self, endpoint: Endpoint, key: StoredKey, now: datetime) -> str:
        claims = {
            "iss": self.registration.client_id,
            "sub": self.registration.client_id,
            "aud": endpoint.url,
            "exp": int((now + ASSERTION_LIFE).timestamp()),
            "jti": secrets.token_urlsafe(32),
        }
        header = {"jku": self.registration.jku} if self.registration.jku else {}
        assert self._keys is not None  # noqa: S101 - who asks for an assertion has looked
        return self._keys.sign(claims, key, **header)

    def _remedy(self) -> str:
        if self.registration.kind == "client_secret":
            return f"To mend it: check the client id {self.registration.client_id} and the secret in its file."
        return (
            f"To mend it: register the client id {self.registration.client_id} and the address of our keys "
            "(/.well-known/jwks.json) at the EHR, and see that the clocks agree; fhir-tracker connection test tells more."
        )


def registration_of(connection: Connection) -> Registration:
    """As whom a connection asks for tokens."""
    told = {name: str(connection.options.get(name) or "") for name in _OPTIONS}
    writes = [*connection.options.get("write_back", ()), *(["Subscription"] if connection.subscribe != "none" else [])]
    kind = str(connection.options.get("auth", "none"))
    return Registration(base_url=connection.base_url, kind=kind, writes=tuple(dict.fromkeys(writes)), **told)


def authorizer_of(
    connection: Connection,
    keys: Keyring | None = None,
    *,
    tokens: Tokens = TOKENS,
    now: Callable[[], datetime] = clock.now,
    budget: Budget | None = None,
) -> Authorizer:
    """Who knows the header of a connection; a basic or bearer secret is read now. UsageError when it cannot be.

    Requests for tokens count in `budget`.
    """
    if connection.options.get("auth", "none") in TOKEN_KINDS:
        return TokenAuthorizer(registration_of(connection), keys, tokens, now, budget)
    return Fixed(value=authorization(connection.options))


def default_scopes(endpoint: Endpoint, writes: Sequence[str] = ()) -> str:
    """Reading everything and writing `writes`, in the newer form only where the server says that it knows no other."""
    told = endpoint.capabilities
    is_new = "permission-v2" in told and "permission-v1" not in told
    read, write = ("rs", "cud") if is_new else ("read", "write")
    return " ".join((f"system/*.{read}", *(f"system/{one}.{write}" for one in writes)))


def _again(failure: RemoteFailure, remedy: str = "") -> RemoteFailure:
    """The same failure for another thread, with what a person can do about it."""
    message = f"{failure.message} {remedy}".strip()
    return RemoteFailure(message, retry_after=failure.retry_after, auth=failure.auth, said=failure.said)


def _put_off(shelf: _Shelf, now: datetime, *, refused: str) -> None:
    """After a failure: where tokens are is asked anew, a refused one is let go, one that still counts is used a while longer."""
    shelf.endpoint = None
    if shelf.token is None or shelf.token.value == refused:
        shelf.token = None
    else:
        shelf.token = replace(shelf.token, renew_at=min(now + RENEWAL_PAUSE, shelf.token.ends_at))


def _ways(pair: tuple[str, str], methods: Sequence[str]) -> list[tuple[dict[str, str], dict[str, str]]]:
    """What to add to form and headers: the secret encoded as RFC 6749 has it, as it is, and in the body of the request.

    Some servers do not decode it, and some read the body only; `methods` are those that the server names, if any.
    """
    shown = [_basic(*map(quote_plus, pair)), _basic(*pair)]
    basic = [(dict[str, str](), {"Authorization": one}) for one in dict.fromkeys(shown)]
    body = [({"client_id": pair[0], "client_secret": pair[1]}, dict[str, str]())]
    if "client_secret_post" in methods and "client_secret_basic" not in methods:
        return body
    return basic + (body if not methods or "client_secret_post" in methods else [])


def _basic(client_id: str, secret: str) -> str:
    return f"Basic {base64.b64encode(f'{client_id}:{secret}'.encode()).decode()}"


_OPTIONS = ("client_id", "token_url", "scopes", "secret_file", "jku")
