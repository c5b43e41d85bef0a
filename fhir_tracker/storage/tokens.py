"""Access tokens as they are kept: never the token itself, only a digest that nobody can turn back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, select

from fhir_tracker.storage.client_tables import access_token
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.records import from_row, to_row


@dataclass(frozen=True, kw_only=True)
class IssuedToken:
    """One token that counts until `expires_at`: whose it is, and what it lets do; `patient` is a local id, where it has one."""

    digest: str
    client: str
    scopes: tuple[str, ...]
    patient: str | None = None
    issued_at: datetime
    expires_at: datetime


def add(tx: Tx, new: IssuedToken) -> None:
    """Keep a new token."""
    tx.execute(tx.insert(access_token).values(to_row(new)))


def find(tx: Tx, digest: str) -> IssuedToken | None:
    """The token with that digest, or None."""
    row = tx.first(select(access_token).where(access_token.c.digest == digest))
    return from_row(IssuedToken, row) if row else None


def end(tx: Tx, digest: str) -> bool:
    """Let a token count no more; False when there is none."""
    return tx.changed(delete(access_token).where(access_token.c.digest == digest)) == 1


def end_of(tx: Tx, client: str) -> int:
    """Let no token of a client count any more; how many there were."""
    return tx.changed(delete(access_token).where(access_token.c.client == client))


def forget(tx: Tx, now: datetime) -> int:
    """Forget the tokens that count no more at `now`; how many."""
    return tx.changed(delete(access_token).where(access_token.c.expires_at <= now))
