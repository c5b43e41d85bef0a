"""The tokens of a person: had for a code, renewed by one process at a time, given back when the session ends.

https://hl7.org/fhir/smart-app-launch/STU2.2/app-launch.html#obtain-access-token
"""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from urllib.parse import urlencode

from fhir_tracker import clock, issuers, staff_sessions
from fhir_tracker.errors import RemoteFailure, TrackerError, Unauthenticated
from fhir_tracker.sealing import seal, unseal
from fhir_tracker.signing_keys import Keyring
from fhir_tracker.storage import audit, launches
from fhir_tracker.storage import issuers as stored_issuers
from fhir_tracker.storage.database import Database, Tx
from fhir_tracker.storage.issuers import Issuer
from fhir_tracker.storage.launches import LaunchSession
from subscriptions.backend_auth import ASSERTION_LIFE, ASSERTION_TYPE
from subscriptions.client import EhrClient, Limits
from subscriptions.credentials import client_header
from subscriptions.issuer_metadata import KNOWN, Known, Metadata, reach
from subscriptions.token_endpoint import Token, ask

SPARE = timedelta(seconds=60)
"""How long before its end a token is renewed."""
RENEWING = timedelta(seconds=30)
"""Longer than the request for a renewal can take; nobody else asks meanwhile."""
PAUSE = 0.1
GIVING_BACK = Limits(total_seconds=10.0, max_bytes=20_000, tries=1, redirects=0)
FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=30), timedelta(hours=1)
GIVEN_UP = timedelta(days=1)
"""How long after the end of a session its tokens are still given back; then they are dropped."""
RELAUNCH = "Your EHR does not let us read in your name any more: open the tracker again from there."
_LATER = frozenset({401, 408, 425, 429})
log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class UserTokens:
    """What is kept, sealed, of the tokens of one session."""

    access: str = field(repr=False)
    refresh: str = field(default="", repr=False)

    def sealed(self, secret_key: str) -> str:
        """As it is kept."""
        return seal(secret_key, json.dumps({"access": self.access, "refresh": self.refresh}))


def opened(secret_key: str, sealed: str) -> UserTokens:
    """The tokens of a session; UsageError when they were sealed with another key."""
    told = json.loads(unseal(secret_key, sealed))
    return UserTokens(access=str(told["access"]), refresh=str(told["refresh"]))


def of_answer(token: Token, before: str = "") -> UserTokens:
    """The tokens of an answer; a refresh token of `before` goes on where no other came."""
    refresh = token.told.get("refresh_token")
    return UserTokens(access=token.value, refresh=refresh if isinstance(refresh, str) and refresh else before)


def is_near(session: LaunchSession, now: datetime) -> bool:
    """Whether the end of a session's access token is near enough to renew it."""
    return session.tokens_end is not None and now >= session.tokens_end - SPARE


def exchange(
    issuer: Issuer, metadata: Metadata, keys: Keyring, code: str, verifier: str, redirect_uri: str, now: datetime
) -> Token:
    """The tokens for a code, asked for once. Raises RemoteFailure, with `auth` when they are refused."""
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": redirect_uri,
        "code_verifier": verifier,
    }
    return _asked(issuer, metadata, keys, form, now)


def _asked(issuer: Issuer, metadata: Metadata, keys: Keyring, form: dict[str, str], now: datetime) -> Token:
    more, headers = shown(issuer, metadata, keys, metadata.token, now)
    return ask(metadata.token, form | more, headers, now, reach=reach(issuer))


def shown(
    issuer: Issuer, metadata: Metadata, keys: Keyring, url: str, now: datetime
) -> tuple[dict[str, str], dict[str, str]]:
    """What shows who we are: members of the form, and headers."""
    if issuer.client_type == "confidential-symmetric":
        secret = issuers.secret_of(issuer, keys.secret_key)
        if "client_secret_post" in metadata.methods and "client_secret_basic" not in metadata.methods:
            return {"client_id": issuer.client_id, "client_secret": secret}, {}
        return {}, {"Authorization": client_header(issuer.client_id, secret)}
    if issuer.client_type == "confidential-asymmetric":
        claims = {
            "iss": issuer.client_id,
            "sub": issuer.client_id,
            "aud": metadata.token,
            "iat": int(now.timestamp()),
            "exp": int((now + ASSERTION_LIFE).timestamp()),
            "jti": secrets.token_urlsafe(32),
        }
        signed = keys.sign(claims, keys.signers(now, metadata.algorithms)[0])
        return {"client_assertion_type": ASSERTION_TYPE, "client_assertion": signed}, {}
    return {"client_id": issuer.client_id}, {}


def ended(tx: Tx, session: LaunchSession, now: datetime, why: str) -> bool:
    """End a session, and tell the trail; False when it had ended."""
    if not staff_sessions.end(tx, session, now, why):
        return False
    who = staff_sessions.person_of(tx, session)
    audit.add(tx, at=now, viewer=who, action="logout", patient=session.patient, detail={"why": why}, kind="security")
    return True


class SessionTokens:
    """The access tokens of sessions, for whoever reads at the EHR as the person. A refresh token is never used twice."""

    def __init__(
        self,
        database: Database,
        secret_key: str,
        *,
        known: Known = KNOWN,
        now: Callable[[], datetime] = clock.now,
        pause: Callable[[float], None] = clock.pause,
    ) -> None:
        self._database = database
        self._keys = Keyring(database=database, secret_key=secret_key)
        self._known = known
        self._now = now
        self._pause = pause

    def access(self, id_: str, *, refused: str = "") -> str:
        """The access token of a session, renewed where its end is near: by one process, for which the others wait.

        `refused` is one that the EHR did not take. Raises Unauthenticated when the person has to launch again, and
        RemoteFailure when a renewal may work later.
        """
        for _ in range(int(RENEWING.total_seconds() / PAUSE)):
            session, now = self._present(id_), self._now()
            if session is None or session.ended_at is not None or session.sealed_tokens is None:
                raise Unauthenticated(RELAUNCH)
            held = opened(self._keys.secret_key, session.sealed_tokens)
            is_over = held.access == refused or (session.tokens_end is not None and now >= session.tokens_end)
            if not is_over and not is_near(session, now):
                return held.access
            if not held.refresh:
                if not is_over:
                    return held.access
                with self._database.begin() as tx:
                    launches.keep_tokens(tx, session, None, None)
                raise Unauthenticated(RELAUNCH)
            if self._claimed(session, now):
                return self._renewed(session, held, now, is_over=is_over)
            if not is_over:
                return held.access
            self._pause(PAUSE)
        raise RemoteFailure("The EHR takes long to let us go on reading in your name.")

    def give_back(self, session: LaunchSession) -> bool:
        """Give the tokens of a session that has ended back to the EHR, where it takes them (RFC 7009), and drop them.

        False when it does not answer now: it is tried again after a while that grows, for a day.
        """
        now, ended_at, sealed = self._now(), session.ended_at, session.sealed_tokens
        if ended_at is None or sealed is None:
            return True
        pause = min(max(now - ended_at, FIRST_PAUSE), LONGEST_PAUSE)
        with self._database.begin() as tx:
            if not launches.claim_giving_back(tx, session, now, now + pause):
                return True
        try:
            self._revoke(session, opened(self._keys.secret_key, sealed))
        except TrackerError as error:
            log.info("tokens were not given back", extra={"fields": {"reason": type(error).__name__}})
            if isinstance(error, RemoteFailure) and not error.permanent and now < ended_at + GIVEN_UP:
                return False
        with self._database.begin() as tx:
            launches.drop_tokens(tx, session.id)
        return True

    def _present(self, id_: str) -> LaunchSession | None:
        with self._database.read() as tx:
            return launches.find(tx, id_)

    def _claimed(self, session: LaunchSession, now: datetime) -> bool:
        with self._database.begin() as tx:
            return launches.claim_renewal(tx, session, now, now + RENEWING)

    def _renewed(self, session: LaunchSession, held: UserTokens, now: datetime, *, is_over: bool) -> str:
        """Renew a claimed session. A refresh token of which nobody knows whether it was used is never shown again.

        When the EHR refuses it, the person has left there, or was made to: the session ends.
        """
        secret_key = self._keys.secret_key
        try:
            issuer = self._issuer(session)
            metadata = self._known.metadata(issuer, now)
            form = {"grant_type": "refresh_token", "refresh_token": held.refresh}
            token = _asked(issuer, metadata, self._keys, form, now)
        except RemoteFailure as failure:
            with self._database.begin() as tx:
                if failure.auth:
                    ended(tx, session, now, "relaunch")
                elif failure.unknown:
                    launches.keep_tokens(
                        tx, session, UserTokens(access=held.access).sealed(secret_key), session.tokens_end
                    )
                else:
                    launches.release_renewal(tx, session)
            if failure.auth:
                raise Unauthenticated(RELAUNCH) from None
            if is_over:
                raise
            return held.access
        made = of_answer(token, held.refresh)
        with self._database.begin() as tx:
            is_kept = launches.keep_tokens(tx, session, made.sealed(secret_key), token.ends_at)
            if not is_kept:
                launches.leave_tokens(tx, session.id, made.sealed(secret_key))
        if not is_kept:
            raise Unauthenticated(RELAUNCH)
        return made.access

    def _issuer(self, session: LaunchSession) -> Issuer:
        with self._database.read() as tx:
            found = stored_issuers.find_left(tx, session.connection or session.provider or "")
        if found is None or found.url != session.issuer:
            raise Unauthenticated(RELAUNCH)
        return found

    def _revoke(self, session: LaunchSession, held: UserTokens) -> None:
        issuer, now = self._issuer(session), self._now()
        metadata = self._known.metadata(issuer, now)
        if not metadata.revocation:
            return
        for kind, value in (("refresh_token", held.refresh), ("access_token", held.access)):
            if value:
                more, headers = shown(issuer, metadata, self._keys, metadata.revocation, now)
                body = urlencode({"token": value, "token_type_hint": kind, **more}).encode()
                own = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json", **headers}
                with EhrClient(metadata.revocation, limits=GIVING_BACK, reach=reach(issuer)) as client:
                    answer = client.send("POST", metadata.revocation, body, own)
                if answer.status in _LATER or answer.status >= 500:
                    raise RemoteFailure("The EHR does not take tokens back now.", retry_after=answer.retry_after)


class AsPerson:
    """An Authorizer that reads at the EHR as the person of a session."""

    def __init__(self, tokens: SessionTokens, session: str) -> None:
        self._tokens = tokens
        self._session = session
        self._used = ""

    def header(self, now: datetime) -> str | None:
        """Their access token; raises as `SessionTokens.access` does."""
        self._used = self._tokens.access(self._session)
        return f"Bearer {self._used}"

    def refused(self) -> bool:
        """After a 401: True when a renewal brought another token."""
        return self._tokens.access(self._session, refused=self._used) != self._used
