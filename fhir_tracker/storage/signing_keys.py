"""Signing keys as they are kept: the private half sealed, the public half as it is published."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import select, update

from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.records import from_row, to_row
from fhir_tracker.storage.signing_key_tables import signing_key


@dataclass(frozen=True, kw_only=True)
class StoredKey:
    """One key pair: `sealed` is the private JWK, `public` a JWK; it signs from `signs_from` on, until `retired_at`."""

    kid: str
    alg: str
    sealed: str = field(repr=False)
    public: Mapping[str, Any]
    made_at: datetime
    signs_from: datetime
    retired_at: datetime | None = None


def add(tx: Tx, new: StoredKey) -> None:
    """Keep a new key."""
    tx.execute(tx.insert(signing_key).values(to_row(new)))


def all(tx: Tx) -> list[StoredKey]:  # noqa: A001 - read as signing_keys.all
    """Every key there ever was, the newest first."""
    newest = (signing_key.c.signs_from.desc(), signing_key.c.made_at.desc(), signing_key.c.kid)
    return [from_row(StoredKey, row) for row in tx.rows(select(signing_key).order_by(*newest))]


def retire(tx: Tx, kid: str, at: datetime) -> bool:
    """Let a key be published no more; False when there is none that was."""
    in_use = signing_key.c.retired_at.is_(None)
    return tx.changed(update(signing_key).where(signing_key.c.kid == kid, in_use).values(retired_at=at)) == 1


def sign_from(tx: Tx, kid: str, at: datetime) -> None:
    """Move the moment from which a key signs."""
    tx.execute(update(signing_key).where(signing_key.c.kid == kid).values(signs_from=at))
