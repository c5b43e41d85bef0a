"""Sessions of staff: begun by a launch or login, found by their public id and a secret, ended by hand or by time.

The id is in addresses (`/l/{id}/...`) and opens nothing; the secret is in a cookie, the handle in the memory of a page.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta

from fhir_tracker.storage import launches
from fhir_tracker.storage.accounts import Account
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.issuers import Issuer
from fhir_tracker.storage.launches import LaunchSession

KEEP_ENDED = timedelta(days=30)
_BYTES = 18


def begin(
    tx: Tx,
    account: Account,
    *,
    now: datetime,
    lifetime: timedelta,
    issuer: Issuer | None = None,
    patient: str | None = None,
    encounter: str | None = None,
    intent: str = "",
    fhir_context: Sequence[str] = (),
    needs_banner: bool = True,
    style_url: str = "",
    tenant: str = "",
    scopes: Sequence[str] = (),
    sealed_tokens: str | None = None,
    tokens_end: datetime | None = None,
) -> tuple[LaunchSession, str, str]:
    """A new session of `account`, its secret (for the cookie) and its handle (for the page); only digests are kept.

    `issuer` is who vouched, None for a local account; `patient`, `encounter` and `fhir_context` are those of this store.
    """
    secret, handle = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    session = LaunchSession(
        id=secrets.token_urlsafe(_BYTES),
        secret_digest=digest(secret),
        handle_digest=digest(handle),
        account=account.id,
        connection=account.connection,
        provider=account.provider,
        issuer=issuer.url if issuer else "local",
        client=issuer.client_id if issuer else "",
        patient=patient,
        encounter=encounter,
        intent=intent,
        fhir_context=tuple(fhir_context),
        needs_banner=needs_banner,
        style_url=style_url,
        tenant=tenant,
        frame_ancestors=issuer.frame_ancestors if issuer else (),
        scopes=tuple(scopes),
        began=now,
        active_at=now,
        ends_at=now + lifetime,
        sealed_tokens=sealed_tokens,
        tokens_end=tokens_end,
    )
    launches.forget(tx, now - KEEP_ENDED)
    launches.add(tx, session)
    return session, secret, handle


def digest(secret: str) -> str:
    """What is kept of a random secret of ours, in hex."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def is_secret(session: LaunchSession, given: str) -> bool:
    """Whether `given` is the secret of the session's cookie."""
    return hmac.compare_digest(session.secret_digest, digest(given))


def is_handle(session: LaunchSession, given: str) -> bool:
    """Whether `given` is the handle that a page of the session holds."""
    return hmac.compare_digest(session.handle_digest, digest(given))


def stands(session: LaunchSession, now: datetime, idle: timedelta) -> bool:
    """Whether a session is still one at `now`: not ended, not over, and somebody did something within `idle`."""
    return session.ended_at is None and now < session.ends_at and now < session.active_at + idle


def end(tx: Tx, session: LaunchSession, now: datetime, why: str) -> bool:
    """End a session and drop its tokens; `why` is a word such as `logout`, `idle` or `disabled`. False when it had ended."""
    return launches.end(tx, session.id, now, why)
