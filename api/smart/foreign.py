"""Tokens of EHRs at our FHIR API: asked about at the EHRs of which a person set that up, and at no other."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta

from fhir_tracker import foreign_tokens
from fhir_tracker.admission import Admitted
from fhir_tracker.digests import digest_of
from fhir_tracker.errors import TrackerError, Unavailable
from fhir_tracker.signing_keys import Keyring
from fhir_tracker.storage import issuers
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.issuers import Issuer
from subscriptions import introspect

REFUSED_FOR = timedelta(seconds=10)
MOST_REFUSED = 1000


class ForeignTokens:
    """Finds who comes with a token that is not ours; what no EHR knows is not asked about again for a moment."""

    def __init__(self, database: Database, secret_key: str, own_base: str) -> None:
        self._database = database
        self._keys = Keyring(database=database, secret_key=secret_key)
        self._own_base = own_base
        self._guard = threading.Lock()
        self._refused: dict[str, datetime] = {}

    def __call__(self, token: str, address: str, now: datetime) -> Admitted | None:
        """Who comes with it; None for nobody. Raises Unavailable when an EHR that could know cannot be asked."""
        digest = digest_of(token)
        if now < self._refused.get(digest, now):
            return None
        trusted, failure = self._trusted(), None
        for issuer in trusted:
            try:
                told = introspect(issuer, self._keys, token, now)
            except TrackerError as error:
                failure = error
                continue
            with self._database.read() as tx:
                found = foreign_tokens.admitted(tx, issuer, told, self._own_base, address, now)
            if found is not None:
                return found
        if failure is not None:
            raise Unavailable("The EHR cannot be asked about this token now; try again.")
        self._note(digest, now)
        return None

    def _trusted(self) -> list[Issuer]:
        with self._database.read() as tx:
            return [
                one for one in issuers.all(tx) if one.active and one.connection and "introspection_url" in one.options
            ]

    def _note(self, digest: str, now: datetime) -> None:
        with self._guard:
            self._refused.pop(digest, None)
            if len(self._refused) >= MOST_REFUSED:
                self._refused.pop(next(iter(self._refused)))
            self._refused[digest] = now + REFUSED_FOR
