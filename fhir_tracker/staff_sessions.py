"""Who comes in to the pages of a launch: the secrets a request shows, the session they open, and the viewer it stands for."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from fhir_tracker import glass, launches
from fhir_tracker.digests import digest_of
from fhir_tracker.errors import NotFound
from fhir_tracker.model.sight import sight_of
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.roles import policy_for
from fhir_tracker.storage import accounts, launch_tabs
from fhir_tracker.storage import launches as kept
from fhir_tracker.storage.accounts import Account
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.launch_tabs import Ticket
from fhir_tracker.storage.launches import LaunchSession

Why = Literal["", "unknown", "ended", "idle", "over", "disabled"]
TICKET_LASTS = timedelta(seconds=30)
TOUCHED_EVERY = timedelta(seconds=5)
_MOST_SECRET = 200
_ENDED: Mapping[str, Why] = {"idle": "idle", "over": "over", "disabled": "disabled"}


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What a request shows at the door of a launch: the secret of its cookie, or the handle of its page, or nothing."""

    launch: str
    secret: str = field(default="", repr=False)
    handle: str = field(default="", repr=False)
    address: str = ""


@dataclass(frozen=True, kw_only=True)
class Entrance:
    """How that ended: with a `viewer`, or `why` there is none; `session` is the launch, if there is such, known or not."""

    session: LaunchSession | None = None
    account: Account | None = None
    viewer: Viewer | None = None
    why: Why = ""


def enter(tx: Tx, shown: Shown, now: datetime, idle: timedelta) -> Entrance:
    """Let a request in whose secret fits the launch in its address, while that stands and its person may come in."""
    session = kept.find(tx, shown.launch)
    if session is None or not _fits(tx, session, shown):
        return Entrance(session=session, why="unknown")
    why = state_of(session, now, idle)
    if why:
        return Entrance(session=session, why=why)
    account = accounts.find(tx, session.account)
    viewer = viewer_of_session(tx, session, now, idle, shown.address)
    return Entrance(session=session, account=account, viewer=viewer, why="" if viewer else "disabled")


def viewer_of_session(
    tx: Tx, session: LaunchSession, now: datetime, idle: timedelta, address: str = ""
) -> Viewer | None:
    """Who a session stands for at `now`, by the roles of that moment; None when it has ended or the account is disabled."""
    account = accounts.find(tx, session.account)
    if account is None or not account.active or state_of(session, now, idle):
        return None
    return glass.with_openings(tx, _viewer(tx, session, account, address), now)


def person_of(tx: Tx, session: LaunchSession) -> Viewer:
    """Who a session was of, for the audit trail, whether or not it still stands."""
    account = accounts.find(tx, session.account)
    if account is None:
        raise NotFound(f"There is no account {session.account}.")
    return _viewer(tx, session, account, "")


def _viewer(tx: Tx, session: LaunchSession, account: Account, address: str) -> Viewer:
    return Viewer(
        who=account.ref,
        name=account.name,
        roles=frozenset(account.roles),
        patient=session.patient,
        sight=sight_of(None, policy_for(tx, account.roles), session.patient),
        client=session.client,
        issuer=session.issuer,
        address=address,
        session=session.id,
    )


def state_of(session: LaunchSession, now: datetime, idle: timedelta) -> Why:
    """Why a session stands no more; "" while it does."""
    if session.ended_at is not None:
        return _ENDED.get(session.ended_why, "ended")
    if now >= session.ends_at:
        return "over"
    return "idle" if now >= session.active_at + idle else ""


def left(session: LaunchSession, now: datetime, idle: timedelta) -> timedelta:
    """How long a session stands if nobody does anything; 0 when it does not."""
    if state_of(session, now, idle):
        return timedelta()
    return min(session.active_at + idle, session.ends_at) - now


def act(tx: Tx, session: LaunchSession, now: datetime) -> None:
    """Somebody did something in a session at `now`."""
    if now - session.active_at >= TOUCHED_EVERY:
        kept.touch(tx, session.id, now)


def end(tx: Tx, session: LaunchSession, now: datetime, why: str) -> bool:
    """End a session with all its tabs; False when it had ended."""
    return launches.end(tx, session, now, why)


def ticket(tx: Tx, session: LaunchSession, page: str, now: datetime) -> str:
    """What opens one further tab of a session at `page`, once, within half a minute."""
    text = secrets.token_urlsafe(32)
    new = Ticket(digest=digest_of(text), launch=session.id, page=page, ends_at=now + TICKET_LASTS)
    launch_tabs.add_ticket(tx, new, now)
    return text


def redeem(tx: Tx, text: str, now: datetime, idle: timedelta) -> tuple[LaunchSession, str, str, str] | None:
    """The session that a ticket is for, the page to open, and a secret and a handle for the new tab; None when it opens none."""
    taken = launch_tabs.take_ticket(tx, digest_of(text[:_MOST_SECRET]))
    session = kept.find(tx, taken.launch) if taken and now < taken.ends_at else None
    if taken is None or session is None or viewer_of_session(tx, session, now, idle) is None:
        return None
    secret, handle = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    digests = (digest_of(secret), digest_of(handle))
    launch_tabs.add(tx, session.id, digests, now, now - launches.KEEP_ENDED)
    return session, taken.page, secret, handle


def _fits(tx: Tx, session: LaunchSession, shown: Shown) -> bool:
    """Whether either secret is one of the session's own; each is tried, for a browser may hold a stale cookie."""
    secret, handle = shown.secret[:_MOST_SECRET], shown.handle[:_MOST_SECRET]
    if secret and launches.is_secret(session, secret):
        return True
    if handle and launches.is_handle(session, handle):
        return True
    return any(one and launch_tabs.has(tx, session.id, digest_of(one)) for one in (secret, handle))
