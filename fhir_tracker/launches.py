"""Sessions of staff: begun by a launch or login, found by their public id and a secret, ended by hand or by time.

The id is in addresses (`/l/{id}/...`) and opens nothing; the secret is in a cookie, the handle in the memory of a page.
"""

from __future__ import annotations

import hmac
import secrets
from datetime import datetime, timedelta
from typing import TypedDict, Unpack

from fhir_tracker.digests import digest_of
from fhir_tracker.storage import launches
from fhir_tracker.storage.accounts import Account
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.issuers import Issuer
from fhir_tracker.storage.launches import LaunchSession

KEEP_ENDED = timedelta(days=30)
_BYTES = 18


class Given(TypedDict, total=False):
    """What came with a login, as a LaunchSession has it: the context, as this store calls it, and the tokens, sealed."""

    patient: str | None
    encounter: str | None
    intent: str
    fhir_context: tuple[str, ...]
    needs_banner: bool
    style_url: str
    tenant: str
    scopes: tuple[str, ...]
    sealed_tokens: str | None
    tokens_end: datetime | None


def begin(
    tx: Tx,
    account: Account,
    *,
    now: datetime,
    lifetime: timedelta,
    issuer: Issuer | None = None,
    **given: Unpack[Given],
) -> tuple[LaunchSession, str, str]:
    """A new session of `account`, its secret (for the cookie) and its handle (for the page); only digests are kept.

    `issuer` is who vouched, None for a local account.
    """
    secret, handle = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    session = LaunchSession(
        id=secrets.token_urlsafe(_BYTES),
        secret_digest=digest_of(secret),
        handle_digest=digest_of(handle),
        account=account.id,
        connection=account.connection,
        provider=account.provider,
        issuer=issuer.url if issuer else "local",
        client=issuer.client_id if issuer else "",
        frame_ancestors=issuer.frame_ancestors if issuer else (),
        began=now,
        active_at=now,
        ends_at=now + lifetime,
        **given,
    )
    launches.forget(tx, now - KEEP_ENDED)
    launches.add(tx, session)
    return session, secret, handle


def is_secret(session: LaunchSession, given: str) -> bool:
    """Whether `given` is the secret of the session's cookie."""
    return hmac.compare_digest(session.secret_digest, digest_of(given))


def is_handle(session: LaunchSession, given: str) -> bool:
    """Whether `given` is the handle that a page of the session holds."""
    return hmac.compare_digest(session.handle_digest, digest_of(given))


def stands(session: LaunchSession, now: datetime, idle: timedelta) -> bool:
    """Whether a session is still one at `now`: not ended, not over, and somebody did something within `idle`."""
    return session.ended_at is None and now < session.ends_at and now < session.active_at + idle


def end(tx: Tx, session: LaunchSession, now: datetime, why: str) -> bool:
    """End a session, whose tokens are then given back; `why` is a word such as `logout`, `idle` or `disabled`. False when it had ended."""
    return launches.end(tx, session.id, now, why)
