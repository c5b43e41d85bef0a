"""Issuers that vouch for staff: the only ones from which anybody is let in, each with how we are registered there.

https://hl7.org/fhir/smart-app-launch/STU2.2/app-launch.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from fhir_tracker.authentication import check_texts
from fhir_tracker.errors import Conflict, NotFound, UsageError
from fhir_tracker.loopback import is_loopback
from fhir_tracker.sealing import seal, unseal
from fhir_tracker.storage import connections, epochs, issuers, launches
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.issuers import CONNECTION, PROVIDER, Issuer

CLIENT_TYPES = ("public", "confidential-symmetric", "confidential-asymmetric")
SUBJECT_CLAIMS = ("sub", "email")
VIEWS = ("queue", "patient", "operations", "programs", "sync")
"""Pages that an `intent` may open."""
IDENTITY = ("openid", "fhirUser")
_KEY = re.compile(r"[a-z0-9-]{1,20}")
_HOST = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*")
_IPV6 = re.compile(r"[0-9a-f:.]{2,45}")
_PATH = re.compile(r"(?:/[A-Za-z0-9._~!$&'()*+,;=:@-]+)*")
_INTENT = re.compile(r"[\x21-\x7e]{1,100}")
_DEFAULT_PORTS = {"https": 443, "http": 80}
_LONGEST = 2000
_INTENT_FORM = f"--intent is NAME=VIEW, with a VIEW of {', '.join(VIEWS)}."
_WHERE = "has to be an https address (http on loopback only) without user, query, fragment or encoded characters"


@dataclass(frozen=True, kw_only=True)
class Terms:
    """How we are registered at an issuer, as a person says it; `secret` is the client's own, "" to keep the one there is."""

    url: str
    client_id: str
    client_type: str = ""
    secret: str = field(default="", repr=False)
    scopes: str = ""
    label: str = ""
    frame_ancestors: Sequence[str] = ()
    introspection_url: str = ""
    checks_pkce: bool = True
    posts: bool = False
    reads_as_user: bool = False
    endpoint_origins: Sequence[str] = ()
    intents: Mapping[str, str] = field(default_factory=dict)
    subject_claim: str = ""


def of_connection(tx: Tx, key: str, terms: Terms, secret_key: str, now: datetime) -> Issuer:
    """Let staff in from the EHR of a connection by these terms, in place of those there were.

    NotFound for no such connection, Conflict when another issuer has the address, UsageError for terms that make no sense.
    """
    if connections.find(tx, key) is None:
        raise NotFound(f"There is no connection {key}; first: fhir-tracker connection add {key} --base-url URL")
    if terms.subject_claim:
        raise UsageError("Staff of an EHR are known by their fhirUser; --subject is for login providers.")
    return _save(tx, key, CONNECTION, terms, secret_key, now)


def of_provider(tx: Tx, key: str, terms: Terms, secret_key: str, now: datetime) -> Issuer:
    """Let staff in from an OpenID provider outside an EHR; raises as `of_connection` does."""
    if not _KEY.fullmatch(key):
        raise UsageError(f"The key of a provider has 1 to 20 of a-z, 0-9 and hyphen; {key!r} has not.")
    if connections.find(tx, key) is not None:
        raise Conflict(f"There is a connection {key}: choose another key for the provider.")
    if terms.subject_claim and terms.subject_claim not in SUBJECT_CLAIMS:
        raise UsageError(f"--subject is one of {', '.join(SUBJECT_CLAIMS)}.")
    return _save(tx, key, PROVIDER, terms, secret_key, now)


def get(tx: Tx, key: str, kind: str = CONNECTION) -> Issuer:
    """The issuer with that key; NotFound when there is none."""
    found = issuers.find(tx, key)
    if found is None or found.kind != kind:
        how = "fhir-tracker connection smart KEY" if kind == CONNECTION else "fhir-tracker login-provider add KEY"
        raise NotFound(f"Nobody is let in by {key!r} yet; see: {how} --issuer URL --client-id ID")
    return found


def remove(tx: Tx, key: str, now: datetime) -> bool:
    """Let nobody in any more by that issuer, and end the sessions it began; False when there is none.

    How we are registered there is kept until the tokens of those sessions are given back.
    """
    if not issuers.leave(tx, key):
        return False
    launches.end_of_issuer(tx, key, now, "issuer-removed")
    forget_left(tx)
    epochs.bump(tx)
    return True


def forget_left(tx: Tx) -> None:
    """Forget the removed ones to which nothing is to be given back any more."""
    for one in issuers.left(tx):
        if not launches.left_of_issuer(tx, one.key):
            issuers.remove(tx, one.key)


def named(tx: Tx, iss: str, kind: str = CONNECTION) -> Issuer | None:
    """The issuer that `iss` names, written in whichever usual way; None when we know none by it."""
    url = normal(iss)
    found = issuers.of_url(tx, url) if url else None
    return found if found is not None and found.kind == kind and found.active else None


def secret_of(issuer: Issuer, secret_key: str) -> str:
    """The client's own secret there, "" for none; UsageError when it was sealed with another key."""
    return unseal(secret_key, issuer.sealed_secret) if issuer.sealed_secret else ""


def audience(issuer: Issuer) -> str:
    """Its FHIR base as it was registered, to the letter."""
    return str(issuer.options.get("as_registered") or issuer.url)


def normal(url: str) -> str | None:
    """An issuer's address in its one form: small letters in scheme and host, no usual port, no slash at the end.

    None for what cannot be one, whatever a browser or library would make of it: other schemes, users, queries, encoded
    characters, dots at the end of a host, letters beyond ASCII, paths with dots or double slashes, http beyond loopback.
    """
    if len(url) > _LONGEST or not url.isascii() or not url.isprintable() or set(url) & set(" \\%?#"):
        return None
    try:
        parts = urlsplit(url)
        port, host = parts.port, (parts.hostname or "").lower()
    except ValueError:
        return None
    if "@" in parts.netloc or parts.scheme not in _DEFAULT_PORTS or parts.netloc.endswith(":") or port == 0:
        return None
    if not (_IPV6.fullmatch(host) if "[" in parts.netloc else _HOST.fullmatch(host)):
        return None
    if parts.scheme == "http" and not is_loopback(host):
        return None
    path = parts.path.removesuffix("/")
    if not _PATH.fullmatch(path) or {".", ".."} & set(path.split("/")):
        return None
    name = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{name}{'' if port in (None, _DEFAULT_PORTS[parts.scheme]) else f':{port}'}{path}"


def origin_of(text: str, flag: str) -> str:
    """`https://host[:port]` as a browser writes an origin; UsageError for anything else, wildcards included."""
    found = normal(text)
    if found is None or urlsplit(found).path:
        raise UsageError(f"{flag} is an origin such as https://ehr.example.org: https, host and port, nothing more.")
    return found


def _save(tx: Tx, key: str, kind: str, terms: Terms, secret_key: str, now: datetime) -> Issuer:
    before = issuers.find(tx, key)
    made = replace(_checked(terms, kind, now), key=key, kind=kind)
    other = issuers.of_url(tx, made.url)
    if other is not None and other.key != key:
        raise Conflict(f"The issuer {made.url} is that of {other.key} already.")
    made = replace(made, sealed_secret=_sealed(made, terms.secret, before, secret_key))
    issuers.displace(tx, made.url, key)
    issuers.save(tx, made)
    epochs.bump(tx)
    return made


def _checked(terms: Terms, kind: str, now: datetime) -> Issuer:
    url = normal(terms.url)
    if url is None:
        raise UsageError(f"--issuer {_WHERE}.")
    if not terms.client_id:
        raise UsageError("--client-id is what the EHR calls this tracker.")
    check_texts({"client_id": terms.client_id, "scopes": terms.scopes})
    client_type = terms.client_type or ("confidential-symmetric" if terms.secret else "public")
    if client_type not in CLIENT_TYPES:
        raise UsageError(f"--client-type is one of {', '.join(CLIENT_TYPES)}.")
    if terms.label and (not terms.label.isprintable() or len(terms.label) > 100):
        raise UsageError("--label is one line of text.")
    return Issuer(
        key="",
        kind=kind,
        url=url,
        label=terms.label,
        client_id=terms.client_id,
        client_type=client_type,
        scopes=_scopes(terms.scopes, kind),
        frame_ancestors=tuple(dict.fromkeys(origin_of(one, "--frame-ancestor") for one in terms.frame_ancestors)),
        options=_options(terms, url),
        changed_at=now,
    )


def _scopes(given: str, kind: str) -> str:
    """What is asked for: as it was said, and always who the person is."""
    needed = IDENTITY if kind == CONNECTION else IDENTITY[:1]
    words = given.split()
    return " ".join((*words, *(one for one in needed if one not in words))) if words else ""


def _options(terms: Terms, url: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if terms.url != url:
        found["as_registered"] = terms.url
    if terms.introspection_url:
        if normal(terms.introspection_url) is None:
            raise UsageError(f"--introspection-url {_WHERE}.")
        found["introspection_url"] = terms.introspection_url
    for name in ("posts", "reads_as_user"):
        if getattr(terms, name):
            found[name] = True
    if not terms.checks_pkce:
        found["pkce_unchecked"] = True
    if terms.endpoint_origins:
        found["endpoint_origins"] = [origin_of(one, "--endpoint-origin") for one in terms.endpoint_origins]
    if terms.intents:
        found["intents"] = {name: _view(name, view) for name, view in terms.intents.items()}
    if terms.subject_claim == "email":
        found["subject_claim"] = "email"
    return found


def intents_of(given: Sequence[str]) -> dict[str, str]:
    """Intents and the view that each opens, as `NAME=VIEW`; UsageError for what is not written so."""
    found = {}
    for one in given:
        name, equals, view = one.rpartition("=")
        if not equals:
            raise UsageError(_INTENT_FORM)
        found[name] = view
    return found


def _view(intent: str, view: str) -> str:
    if not _INTENT.fullmatch(intent) or view not in VIEWS:
        raise UsageError(_INTENT_FORM)
    return view


def _sealed(made: Issuer, secret: str, before: Issuer | None, secret_key: str) -> str | None:
    """The secret as it is kept; the one there is goes on only where nobody else would be shown it."""
    if made.client_type != "confidential-symmetric":
        if secret:
            raise UsageError(
                f"--client-secret-file is for confidential-symmetric clients; {made.client_type} has none."
            )
        return None
    if secret:
        return seal(secret_key, secret)
    same = before is not None and (before.url, before.client_id) == (made.url, made.client_id)
    if before is None or not same or before.sealed_secret is None:
        raise UsageError("--client-type confidential-symmetric needs --client-secret-file.")
    return before.sealed_secret
