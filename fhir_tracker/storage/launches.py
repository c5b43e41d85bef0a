"""Launches as they are kept: sessions of staff, and attempts that wait for the answer of an authorization server."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, delete, or_, select, update

from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.launch_tables import launch_pending, launch_session
from fhir_tracker.storage.records import from_row, to_row

REMEMBERED = timedelta(hours=1)
"""How long it is known to which issuer an attempt belonged that is over."""


@dataclass(frozen=True, kw_only=True)
class LaunchSession:
    """One launch: who came in, by whom, with which patient, and until when. Of its secrets only digests are kept.

    `patient` and `encounter` are ids of this store, `fhir_context` references of this store; `issuer` is the address that
    vouched, `client` our id there, `scopes` what was granted. `renewed` counts the renewals of its tokens. Tokens of one that has
    ended wait to be given back, at `renewing_until` at the earliest.
    """

    id: str
    secret_digest: str = field(repr=False)
    handle_digest: str = field(repr=False)
    account: str
    connection: str | None = None
    provider: str | None = None
    issuer: str = ""
    client: str = ""
    patient: str | None = None
    encounter: str | None = None
    intent: str = ""
    fhir_context: tuple[str, ...] = ()
    needs_banner: bool = True
    style_url: str = ""
    tenant: str = ""
    frame_ancestors: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    began: datetime
    active_at: datetime
    ends_at: datetime
    ended_at: datetime | None = None
    ended_why: str = ""
    sealed_tokens: str | None = field(default=None, repr=False)
    tokens_end: datetime | None = None
    renewed: int = 0
    renewing_until: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Pending:
    """One attempt to come in; `sealed` holds what only the callback may know, and nothing once it was used."""

    state_digest: str = field(repr=False)
    browser_digest: str = field(repr=False)
    issuer: str
    sealed: str = field(repr=False)
    made_at: datetime
    ends_at: datetime


def add(tx: Tx, new: LaunchSession) -> None:
    """Keep a new session."""
    tx.execute(tx.insert(launch_session).values(to_row(new)))


def find(tx: Tx, id_: str) -> LaunchSession | None:
    """The session with that public id, ended or not, or None."""
    row = tx.first(select(launch_session).where(launch_session.c.id == id_))
    return from_row(LaunchSession, row) if row else None


def touch(tx: Tx, id_: str, at: datetime) -> None:
    """A person did something at `at`."""
    mine = (launch_session.c.id == id_, launch_session.c.active_at < at)
    tx.execute(update(launch_session).where(*mine).values(active_at=at))


def end(tx: Tx, id_: str, at: datetime, why: str) -> bool:
    """End a session; False when it had ended, or there is none."""
    return _end(tx, launch_session.c.id == id_, at, why) == 1


def end_of_issuer(tx: Tx, key: str, at: datetime, why: str) -> int:
    """End every session that an issuer began, and drop the attempts that wait for it; how many sessions."""
    tx.execute(delete(launch_pending).where(launch_pending.c.issuer == key))
    return _end(tx, or_(launch_session.c.connection == key, launch_session.c.provider == key), at, why)


def end_of_account(tx: Tx, account: str, at: datetime, why: str) -> int:
    """End every session of a person; how many."""
    return _end(tx, launch_session.c.account == account, at, why)


def _end(tx: Tx, which: ColumnElement[bool], at: datetime, why: str) -> int:
    gone = {"tokens_end": None, "renewing_until": None}
    ended = update(launch_session).where(which, launch_session.c.ended_at.is_(None))
    return tx.changed(ended.values(ended_at=at, ended_why=why, **gone))


def of_account(tx: Tx, account: str) -> list[LaunchSession]:
    """The sessions of a person that were not ended, the newest first."""
    mine = (launch_session.c.account == account, launch_session.c.ended_at.is_(None))
    rows = tx.rows(select(launch_session).where(*mine).order_by(launch_session.c.began.desc(), launch_session.c.id))
    return [from_row(LaunchSession, row) for row in rows]


def outlived(tx: Tx, now: datetime, idle_before: datetime, limit: int) -> list[LaunchSession]:
    """Sessions nobody ended whose time is over at `now`, or in which nobody did anything since `idle_before`."""
    over = or_(launch_session.c.ends_at <= now, launch_session.c.active_at <= idle_before)
    chosen = select(launch_session).where(launch_session.c.ended_at.is_(None), over)
    return [from_row(LaunchSession, row) for row in tx.rows(chosen.order_by(launch_session.c.id).limit(limit))]


def forget(tx: Tx, before: datetime) -> None:
    """Drop the rows of sessions that ended or were over before `before`."""
    over = or_(launch_session.c.ended_at < before, launch_session.c.ends_at < before)
    tx.execute(delete(launch_session).where(over))


def to_renew(tx: Tx, now: datetime, before: datetime, limit: int) -> list[LaunchSession]:
    """Sessions that stand and whose access token ends before `before`, while nobody renews it, the first to end first."""
    mine = (
        launch_session.c.ended_at.is_(None),
        launch_session.c.ends_at > now,
        launch_session.c.sealed_tokens.is_not(None),
        launch_session.c.tokens_end <= before,
        or_(launch_session.c.renewing_until.is_(None), launch_session.c.renewing_until <= now),
    )
    chosen = select(launch_session).where(*mine).order_by(launch_session.c.tokens_end, launch_session.c.id)
    return [from_row(LaunchSession, row) for row in tx.rows(chosen.limit(limit))]


def claim_renewal(tx: Tx, one: LaunchSession, now: datetime, until: datetime) -> bool:
    """Be the only one to renew the tokens of `one` until `until`; False when somebody is at it, or was faster."""
    mine = (
        launch_session.c.id == one.id,
        launch_session.c.renewed == one.renewed,
        launch_session.c.ended_at.is_(None),
        or_(launch_session.c.renewing_until.is_(None), launch_session.c.renewing_until <= now),
    )
    return tx.changed(update(launch_session).where(*mine).values(renewing_until=until)) == 1


def release_renewal(tx: Tx, one: LaunchSession) -> None:
    """Let a claimed renewal go that was not begun."""
    mine = (launch_session.c.id == one.id, launch_session.c.renewed == one.renewed)
    tx.execute(update(launch_session).where(*mine).values(renewing_until=None))


def keep_tokens(tx: Tx, one: LaunchSession, sealed: str | None, ends: datetime | None) -> bool:
    """Put the tokens that came of a claimed renewal in the place of those of `one`; False when it has ended meanwhile."""
    mine = (
        launch_session.c.id == one.id,
        launch_session.c.renewed == one.renewed,
        launch_session.c.ended_at.is_(None),
    )
    new = {"sealed_tokens": sealed, "tokens_end": ends, "renewed": one.renewed + 1, "renewing_until": None}
    return tx.changed(update(launch_session).where(*mine).values(**new)) == 1


def to_give_back(tx: Tx, now: datetime, limit: int) -> list[LaunchSession]:
    """Sessions that ended and whose tokens are still here, due at `now`, the first to end first."""
    mine = (
        _ended_with_tokens(),
        or_(launch_session.c.renewing_until.is_(None), launch_session.c.renewing_until <= now),
    )
    chosen = select(launch_session).where(*mine).order_by(launch_session.c.ended_at, launch_session.c.id)
    return [from_row(LaunchSession, row) for row in tx.rows(chosen.limit(limit))]


def claim_giving_back(tx: Tx, one: LaunchSession, now: datetime, until: datetime) -> bool:
    """Be the only one to give the tokens of `one` back until `until`; False when somebody is at it, or has done it."""
    due = or_(launch_session.c.renewing_until.is_(None), launch_session.c.renewing_until <= now)
    mine = (launch_session.c.id == one.id, _ended_with_tokens(), due)
    return tx.changed(update(launch_session).where(*mine).values(renewing_until=until)) == 1


def drop_tokens(tx: Tx, id_: str) -> None:
    """Forget the tokens of a session that has ended."""
    mine = (launch_session.c.id == id_, _ended_with_tokens())
    tx.execute(update(launch_session).where(*mine).values(sealed_tokens=None, renewing_until=None))


def leave_tokens(tx: Tx, id_: str, sealed: str) -> None:
    """Have tokens given back that came after the end of their session, in the place of those before."""
    mine = (launch_session.c.id == id_, launch_session.c.ended_at.is_not(None))
    tx.execute(update(launch_session).where(*mine).values(sealed_tokens=sealed, renewing_until=None))


def left_of_issuer(tx: Tx, key: str) -> bool:
    """Whether tokens of ended sessions wait to be given back to an issuer."""
    its = or_(launch_session.c.connection == key, launch_session.c.provider == key)
    return tx.first(select(launch_session.c.id).where(its, _ended_with_tokens()).limit(1)) is not None


def _ended_with_tokens() -> ColumnElement[bool]:
    return and_(launch_session.c.ended_at.is_not(None), launch_session.c.sealed_tokens.is_not(None))


def add_pending(tx: Tx, new: Pending) -> None:
    """Keep an attempt; those whose time is over hold nothing more, and are dropped after `REMEMBERED`."""
    tx.execute(delete(launch_pending).where(launch_pending.c.ends_at <= new.made_at - REMEMBERED))
    over = (launch_pending.c.ends_at <= new.made_at, launch_pending.c.sealed != "")
    tx.execute(update(launch_pending).where(*over).values(sealed=""))
    tx.execute(tx.insert(launch_pending).values(to_row(new)))


def find_pending(tx: Tx, state_digest: str) -> Pending | None:
    """The attempt with that state, used or not, which stays as it is; None when there is none."""
    row = tx.first(select(launch_pending).where(launch_pending.c.state_digest == state_digest))
    return from_row(Pending, row) if row else None


def take_pending(tx: Tx, state_digest: str) -> Pending | None:
    """The attempt with that state, which nobody can take again; None when there is none, or it was taken."""
    found = find_pending(tx, state_digest)
    mine = (launch_pending.c.state_digest == state_digest, launch_pending.c.sealed != "")
    return found if tx.changed(update(launch_pending).where(*mine).values(sealed="")) == 1 else None
