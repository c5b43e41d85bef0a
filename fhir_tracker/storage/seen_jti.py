"""Assertions that were used: each counts once, for all processes together."""

from __future__ import annotations

import hashlib
from datetime import datetime

from sqlalchemy import delete

from fhir_tracker.storage.client_tables import seen_jti
from fhir_tracker.storage.database import Tx


def take(tx: Tx, issuer: str, jti: str, *, until: datetime) -> bool:
    """Use up an assertion's id, which is remembered `until` it could not count any more; False when it was used before.

    Of two that take the same at one moment the second waits for the first, and gets False when that is kept.
    """
    digest = hashlib.sha256(f"{len(issuer)}:{issuer}{jti}".encode()).hexdigest()
    return tx.changed(tx.insert(seen_jti).values(digest=digest, until=until).on_conflict_do_nothing()) == 1


def forget(tx: Tx, now: datetime) -> int:
    """Forget those that could not count any more at `now`; how many."""
    return tx.changed(delete(seen_jti).where(seen_jti.c.until < now))
