"""A change of the secret key: everything that is kept sealed is sealed anew, whichever part of the product put it there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fhir_tracker import audit_keys, failpoints
from fhir_tracker.sealing import opened, seal
from fhir_tracker.storage import sealed_texts
from fhir_tracker.storage.database import Database, Tx
from fhir_tracker.storage.sealed_texts import SealedText

Rows = Mapping[str, tuple[str, ...]]
"""Table and column -> the keys of rows."""


@dataclass(frozen=True, kw_only=True)
class Resealed:
    """The rows whose text opened already, was sealed anew, and opens with neither key."""

    kept: Rows
    anew: Rows
    lost: Rows


def reseal(database: Database, secret_key: str, former: str) -> Resealed:
    """Seal with `secret_key` whatever opens with `former`, all of it or nothing; what opens already is left, so it may be run
    again. The trail's key of that time is remembered, unless `former` is a key that opens nothing.
    """
    told = dict[tuple[str, str], str]()
    with database.begin() as tx:
        while not all(_is_settled(tx, one, secret_key, former, told) for one in list(sealed_texts.all(tx))):
            pass
        if "anew" in told.values() or "lost" not in told.values():
            audit_keys.remember_former(tx, secret_key, former)
        told |= {(audit_keys.PLACE, str(number)): "lost" for number in range(audit_keys.unread(tx, secret_key))}
    return Resealed(**{kind: _of_kind(told, kind) for kind in ("kept", "anew", "lost")})


def _is_settled(tx: Tx, one: SealedText, secret_key: str, former: str, told: dict[tuple[str, str], str]) -> bool:
    """Note what a text came to; False when somebody else has changed it in the meantime, so that all are looked at again."""
    row = (one.place, one.row)
    if opened(secret_key, one.sealed) is not None:
        told[row] = "anew" if told.get(row) == "anew" else "kept"
    elif (text := opened(former, one.sealed)) is None:
        told[row] = "lost"
    elif sealed_texts.replace(tx, one, seal(secret_key, text)):
        told[row] = "anew"
        failpoints.reached("sealed-anew")
    else:
        return False
    return True


def _of_kind(told: Mapping[tuple[str, str], str], kind: str) -> Rows:
    places = sorted({place for (place, _), came_to in told.items() if came_to == kind})
    return {
        place: tuple(row for (there, row), came_to in told.items() if (there, came_to) == (place, kind))
        for place in places
    }
