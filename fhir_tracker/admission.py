"""Who comes with a bearer token: looked up once, remembered by a digest for as long as no right was given or taken since.

https://www.rfc-editor.org/rfc/rfc6750
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from fhir_tracker import access_tokens
from fhir_tracker.clients import reference_of
from fhir_tracker.digests import digest_of
from fhir_tracker.errors import BadToken
from fhir_tracker.model.grants import grants_of
from fhir_tracker.model.sight import lock_of, sight_of
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.storage import epochs
from fhir_tracker.storage.clients import Client
from fhir_tracker.storage.database import Database, Tx
from fhir_tracker.storage.tokens import IssuedToken

MOST_REMEMBERED = 10_000
REMEMBERED_FOR = timedelta(minutes=5)
_UNKNOWN = "Log in first: this server does not answer strangers."


@dataclass(frozen=True, kw_only=True)
class Admitted:
    """A viewer as somebody with a token is let in, in the security epoch in which that was found out, until `ends_at`."""

    viewer: Viewer
    epoch: int
    ends_at: datetime


Elsewhere = Callable[[str, str, datetime], Admitted | None]
"""Finds who comes with a token that is not ours: token, address and now; None for nobody."""


class StaleAdmission(Exception):
    """Raised where a right was given or taken since a viewer was remembered: who comes has to be found out again."""


class Admission:
    """Those who came lately, of one process. `own_base` says who vouches for tokens of ours.

    No token is kept, only its digest, together with the address it came from.
    """

    def __init__(self, database: Database, own_base: str, elsewhere: Elsewhere | None = None) -> None:
        self._database = database
        self._own_base = own_base
        self._elsewhere = elsewhere
        self._guard = threading.Lock()
        self._known: dict[tuple[str, str], Admitted] = {}

    def remembered(self, token: str, address: str, now: datetime) -> Admitted | None:
        """Who came with this token before; it counts only while its epoch is still the present one."""
        found = self._known.get((digest_of(token), address))
        return found if found is not None and now < found.ends_at else None

    def admit(self, token: str, address: str, now: datetime) -> Admitted:
        """Who comes with this token, looked up now. Raises BadToken for nobody, Unavailable when that cannot be told."""
        digest = digest_of(token)
        found = self._looked_up(token, digest, address, now)
        with self._guard:
            self._known.pop((digest, address), None)
            if found is not None:
                if len(self._known) >= MOST_REMEMBERED:
                    self._known.pop(next(iter(self._known)))
                self._known[digest, address] = found
        if found is None:
            raise BadToken(_UNKNOWN)
        return found

    def _looked_up(self, token: str, digest: str, address: str, now: datetime) -> Admitted | None:
        if not access_tokens.is_ours(token):
            return self._elsewhere(token, address, now) if self._elsewhere is not None else None
        with self._database.read() as tx:
            return self._own(tx, digest, address, now)

    def _own(self, tx: Tx, digest: str, address: str, now: datetime) -> Admitted | None:
        present, found = epochs.epoch(tx), access_tokens.find(tx, digest, now)
        if found is None:
            return None
        issued, client = found
        ends_at = min(issued.expires_at, now + REMEMBERED_FOR)
        return Admitted(viewer=self._viewer(issued, client, address), epoch=present, ends_at=ends_at)

    def _viewer(self, issued: IssuedToken, client: Client, address: str) -> Viewer:
        grants = grants_of(issued.scopes)
        return Viewer(
            who=reference_of(client.id),
            name=client.name or client.id,
            roles=frozenset(client.roles),
            scopes=frozenset(issued.scopes),
            patient=lock_of(grants, issued.patient),
            sight=sight_of(grants, None, issued.patient),
            client=client.id,
            issuer=self._own_base,
            address=address,
        )
