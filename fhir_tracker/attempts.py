"""Attempts to come in: made when somebody is sent to log in, found again once, in the same browser, when they come back.

What only the way back may know - the PKCE verifier, the nonce - is sealed; of state and browser secret only digests are kept.
"""

from __future__ import annotations

import hmac
import json
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from fhir_tracker.digests import digest_of
from fhir_tracker.errors import Forbidden, Incorrect
from fhir_tracker.sealing import seal, unseal
from fhir_tracker.storage import issuers, launches
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.issuers import Issuer
from fhir_tracker.storage.launches import Pending

LASTS = timedelta(minutes=10)
Kind = Literal["ehr", "standalone", "login"]
_SECRET = 32
_MOST = 500
OLD = "This login is not known any more: it was used already, or took longer than ten minutes. Open the tracker again."


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """`launch` is what the EHR named the launch by; `windowed` says that the browser's secret is in its window, too."""

    kind: Kind
    launch: str = field(default="", repr=False)
    wants_patient: bool = False
    windowed: bool = False
    verifier: str = field(default="", repr=False)
    nonce: str = field(default="", repr=False)
    redirect_uri: str = ""
    scopes: tuple[str, ...] = ()


def begin(
    tx: Tx,
    issuer: Issuer,
    *,
    kind: Kind,
    browser: str,
    secret_key: str,
    now: datetime,
    launch: str = "",
    wants_patient: bool = False,
    windowed: bool = False,
    redirect_uri: str = "",
    scopes: Sequence[str] = (),
) -> tuple[Attempt, str]:
    """A new attempt of the browser that holds the secret `browser`, and its state."""
    state = secrets.token_urlsafe(_SECRET)
    made = Attempt(
        kind=kind,
        launch=launch,
        wants_patient=wants_patient,
        windowed=windowed,
        verifier=secrets.token_urlsafe(48),
        nonce=secrets.token_urlsafe(_SECRET),
        redirect_uri=redirect_uri,
        scopes=tuple(scopes),
    )
    kept = Pending(
        state_digest=digest_of(state),
        browser_digest=digest_of(browser),
        issuer=issuer.key,
        sealed=seal(secret_key, json.dumps(asdict(made))),
        made_at=now,
        ends_at=now + LASTS,
    )
    launches.add_pending(tx, kept)
    return made, state


def take(tx: Tx, state: str, secret_key: str, now: datetime) -> tuple[Pending, Attempt]:
    """The attempt with that state, which is used up; Incorrect when there is none, or its time is over."""
    found = launches.take_pending(tx, digest_of(state)) if 0 < len(state) <= _MOST else None
    if found is None or not found.made_at <= now < found.ends_at:
        raise Incorrect(OLD)
    return found, _opened(found, secret_key)


def windowed(tx: Tx, state: str, secret_key: str, now: datetime) -> Issuer | None:
    """The issuer of an attempt whose secret is in the browser's window, too; None for any other. Uses nothing up."""
    found = launches.find_pending(tx, digest_of(state)) if 0 < len(state) <= _MOST else None
    if found is None or not found.sealed or now >= found.ends_at or not _opened(found, secret_key).windowed:
        return None
    return issuers.find(tx, found.issuer)


def issuer_of(tx: Tx, state: str) -> Issuer | None:
    """The issuer of an attempt that may be over, for the page that says so; None when nothing is known of it."""
    found = launches.find_pending(tx, digest_of(state)) if 0 < len(state) <= _MOST else None
    return issuers.find(tx, found.issuer) if found else None


def check_browser(found: Pending, browser: str) -> None:
    """Forbidden unless the browser that comes back is the one that was sent."""
    if not hmac.compare_digest(found.browser_digest, digest_of(browser[:_MOST])):
        raise Forbidden("This login was begun in another browser or window than this one. Open the tracker again.")


def fresh_secret() -> str:
    """A secret for a browser that has none."""
    return secrets.token_urlsafe(_SECRET)


def _opened(found: Pending, secret_key: str) -> Attempt:
    told = json.loads(unseal(secret_key, found.sealed))
    return Attempt(**{**told, "scopes": tuple(told["scopes"])})
