"""Sessions between requests: those whose time is over end, tokens are renewed before theirs, and given back at the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from fhir_tracker import issuers, staff_sessions
from fhir_tracker.config import Settings
from fhir_tracker.errors import TrackerError
from fhir_tracker.storage import launches
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.launches import LaunchSession
from subscriptions.user_tokens import SPARE, SessionTokens, ended

MOST = 200
"""How many sessions are looked after in a turn."""


@dataclass(frozen=True, kw_only=True)
class Tended:
    """What one turn came to."""

    ended: int = 0
    renewed: int = 0
    given_back: int = 0


def tend_sessions(database: Database, settings: Settings, now: Callable[[], datetime]) -> Tended:
    """Look after the sessions of staff once; nothing that an EHR does or does not do stops the others."""
    tokens = SessionTokens(database, settings.secret_key, now=now) if settings.secret_key else None
    at, idle = now(), settings.session_idle
    with database.read() as tx:
        over = launches.outlived(tx, at, at - idle, MOST)
    count = 0
    for one in over:
        count += _ended(database, settings, one, at)
    if tokens is None:
        return Tended(ended=count)
    renewed = _renewed(database, tokens, now)
    return Tended(ended=count, renewed=renewed, given_back=_given_back(database, tokens, now))


def _ended(database: Database, settings: Settings, session: LaunchSession, at: datetime) -> bool:
    """End a session unless somebody did something in it meanwhile."""
    with database.begin() as tx:
        present = launches.find(tx, session.id)
        why = staff_sessions.state_of(present, at, settings.session_idle) if present else ""
        return present is not None and why in ("idle", "over") and ended(tx, present, at, why)


def _given_back(database: Database, tokens: SessionTokens, now: Callable[[], datetime]) -> int:
    """Give back what ended sessions have left; an EHR that does not answer is asked once in a turn."""
    with database.read() as tx:
        due = launches.to_give_back(tx, now(), MOST)
    silent: set[str] = set()
    count = 0
    for one in due:
        if one.issuer in silent:
            continue
        if tokens.give_back(one):
            count += 1
        else:
            silent.add(one.issuer)
    if due:
        with database.begin() as tx:
            issuers.forget_left(tx)
    return count


def _renewed(database: Database, tokens: SessionTokens, now: Callable[[], datetime]) -> int:
    with database.read() as tx:
        due = launches.to_renew(tx, now(), now() + SPARE, MOST)
    count = 0
    for one in due:
        try:
            tokens.access(one.id)
        except TrackerError:
            continue
        with database.read() as tx:
            after = launches.find(tx, one.id)
        count += after is not None and after.renewed > one.renewed
    return count
