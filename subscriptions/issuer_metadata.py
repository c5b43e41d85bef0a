"""What an issuer says of itself: where people log in, where codes become tokens, and what it checks. Asked of known ones only.

https://hl7.org/fhir/smart-app-launch/STU2.2/conformance.html
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import msgspec

from fhir_tracker.authentication import is_safe
from fhir_tracker.errors import RemoteFailure
from fhir_tracker.loopback import is_loopback
from fhir_tracker.storage.issuers import CONNECTION, Issuer
from subscriptions.bundles import read_object
from subscriptions.client import Answer, EhrClient, Limits
from subscriptions.outbound import Reach, origin, reach_of
from subscriptions.token_discovery import stated_addresses

LIMITS = Limits(total_seconds=10.0, max_bytes=1_000_000, tries=1, redirects=1)
SMART, OPENID = ".well-known/smart-configuration", ".well-known/openid-configuration"
KEPT = timedelta(minutes=30)
FAILED_FOR = timedelta(seconds=3)
"""How long a server that did not answer is not asked again, however many people knock."""
_ADDRESSES = {
    "authorization_endpoint": "authorization",
    "token_endpoint": "token",
    "jwks_uri": "keys",
    "revocation_endpoint": "revocation",
}
_NEEDED = ("authorization_endpoint", "token_endpoint")
_MOST_WORDS = 500
JSON = "application/json"


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """Checked addresses ("" where none is told), and words; `issuer` is how it calls itself in what it signs.

    `names_itself` says that it tells on the way back who answers (RFC 9207).
    """

    issuer: str = ""
    authorization: str
    token: str
    keys: str = ""
    revocation: str = ""
    challenges: frozenset[str] = frozenset()
    methods: frozenset[str] = frozenset()
    algorithms: tuple[str, ...] = ()
    scopes: frozenset[str] = frozenset()
    capabilities: frozenset[str] = frozenset()
    names_itself: bool = False


@dataclass
class _Shelf:
    lock: threading.Lock = field(default_factory=threading.Lock)
    at: datetime | None = None
    found: Metadata | None = None
    failure: RemoteFailure | None = None


class Known:
    """What this process knows of issuers; safe to share between threads, each issuer asked by one at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._shelves: dict[tuple[str, datetime], _Shelf] = {}

    def metadata(self, issuer: Issuer, now: datetime) -> Metadata:
        """What `issuer` says, asked at most every half an hour. Raises RemoteFailure, with what a person can do about it."""
        with self._lock:
            gone = [one for one in self._shelves if one[0] == issuer.key and one[1] != issuer.changed_at]
            for one in gone:
                del self._shelves[one]
            shelf = self._shelves.setdefault((issuer.key, issuer.changed_at), _Shelf())
        with shelf.lock:
            age = now - shelf.at if shelf.at is not None else None
            if shelf.found is not None and age is not None and timedelta() <= age < KEPT:
                return shelf.found
            if shelf.failure is not None and age is not None and timedelta() <= age < FAILED_FOR:
                raise RemoteFailure(shelf.failure.message, permanent=shelf.failure.permanent)
            shelf.at = now
            try:
                shelf.found, shelf.failure = read(issuer), None
            except RemoteFailure as failure:
                shelf.found, shelf.failure = None, failure
                raise
            return shelf.found


KNOWN = Known()


def reach(issuer: Issuer) -> Reach:
    """Where requests for one issuer may go: to it, to what a person named, and to public servers it points to."""
    return reach_of(issuer.url, *issuer.options.get("endpoint_origins", ()))


def read(issuer: Issuer) -> Metadata:
    """Ask the issuer now; RemoteFailure when it cannot be reached, or says what must not be followed."""
    with EhrClient(issuer.url, limits=LIMITS, reach=reach(issuer)) as client:
        told = _told(client, issuer)
    found = {name: _address(told, theirs, issuer) for theirs, name in _ADDRESSES.items()}
    itself = told.get("issuer", "")
    if not isinstance(itself, str) or (itself and not is_safe(itself, issuer.url)):
        raise RemoteFailure("The EHR calls itself by an issuer that is no https address.", permanent=True)
    if issuer.kind != CONNECTION and itself.rstrip("/") != issuer.url:
        raise RemoteFailure(
            "The provider calls itself by another issuer than the one that was set up: give that one.", permanent=True
        )
    algorithms = _words(told, "token_endpoint_auth_signing_alg_values_supported")
    made = Metadata(
        issuer=itself,
        **found,
        challenges=frozenset(_words(told, "code_challenge_methods_supported")),
        methods=frozenset(_words(told, "token_endpoint_auth_methods_supported")),
        algorithms=algorithms,
        scopes=frozenset(_words(told, "scopes_supported")),
        capabilities=frozenset(_words(told, "capabilities")),
        names_itself=told.get("authorization_response_iss_parameter_supported") is True,
    )
    if "S256" not in made.challenges and not issuer.options.get("pkce_unchecked"):
        raise RemoteFailure(
            "The server does not say that it checks PKCE (code_challenge_methods_supported: S256). Where it cannot, a person "
            "may take that risk: --no-pkce-check.",
            permanent=True,
        )
    return made


def _told(client: EhrClient, issuer: Issuer) -> Mapping[str, Any]:
    where = SMART if issuer.kind == CONNECTION else OPENID
    try:
        return read_json(client, where)
    except RemoteFailure as failure:
        if not (failure.permanent or failure.auth) or issuer.kind != CONNECTION:
            raise
        stated = stated_addresses(client)
        if "authorize" not in stated:
            raise
        return {"authorization_endpoint": stated["authorize"], "token_endpoint": stated.get("token", "")}


def read_json(client: EhrClient, where: str) -> Mapping[str, Any]:
    """The members of the JSON object at an address; RemoteFailure for anything else."""
    return members_of(client.get(where, {"Accept": JSON}))


def members_of(answer: Answer, also: str = "") -> Mapping[str, Any]:
    """The members of the JSON object that an answer is, `also` of that media type; RemoteFailure for anything else."""
    members = read_object(replace(answer, content_type=JSON) if answer.content_type == also else answer)
    try:
        return {name: msgspec.json.decode(text) for name, text in members.items()}
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise RemoteFailure("The server's answer is no JSON that can be read.", permanent=True) from None


def _address(told: Mapping[str, Any], name: str, issuer: Issuer) -> str:
    """An address that may be asked or shown to a browser; "" for one that is optional and not told."""
    url = told.get(name)
    if url in (None, "") and name not in _NEEDED:
        return ""
    if not isinstance(url, str) or not url or not is_safe(url, issuer.url) or not _is_here_or_https(url):
        raise RemoteFailure(f"The EHR names no {name} that is an https address.", permanent=True)
    named = issuer.options.get("endpoint_origins", ())
    if named and origin(url) not in {origin(one) for one in (issuer.url, *named)}:
        raise RemoteFailure(f"The EHR names a {name} at another origin than --endpoint-origin allows.", permanent=True)
    return url


def _is_here_or_https(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "https" or is_loopback(parts.hostname)


def _words(told: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = told.get(name)
    return tuple(one for one in value[:_MOST_WORDS] if isinstance(one, str)) if isinstance(value, list) else ()
