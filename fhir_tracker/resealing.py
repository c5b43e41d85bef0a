"""A change of the secret key: everything that is kept sealed is sealed anew, whichever part of the product put it there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from fhir_tracker.errors import UsageError
from fhir_tracker.sealing import seal, unseal
from fhir_tracker.storage import sealed_texts
from fhir_tracker.storage.database import Database


@dataclass(frozen=True, kw_only=True)
class Resealed:
    """Table and column -> how many texts opened already, were sealed anew, and open with neither key."""

    kept: Mapping[str, int]
    anew: Mapping[str, int]
    lost: Mapping[str, int]


def reseal(database: Database, secret_key: str, former: str) -> Resealed:
    """Seal with `secret_key` whatever opens with `former`; what opens already is left, so it may be run again."""
    kept, anew, lost = Counter[str](), Counter[str](), Counter[str]()
    with database.begin() as tx:
        for one in list(sealed_texts.all(tx)):
            if _opened(secret_key, one.sealed) is not None:
                kept[one.place] += 1
            elif (text := _opened(former, one.sealed)) is None:
                lost[one.place] += 1
            elif sealed_texts.replace(tx, one, seal(secret_key, text)):
                anew[one.place] += 1
    return Resealed(kept=kept, anew=anew, lost=lost)


def _opened(secret_key: str, sealed: str) -> str | None:
    try:
        return unseal(secret_key, sealed)
    except UsageError:
        return None
