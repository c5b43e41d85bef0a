"""One row of the trail of accesses: what is to be told of an act, as the values that are stored, with the row's own seal."""

from __future__ import annotations

import hmac
import json
import os
import random
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec

from fhir_tracker.model.viewer import Viewer
from fhir_tracker.storage.bulks import AUDIT
from fhir_tracker.storage.types import microseconds

SIGNER = "audit-signer"
"""Under which name a transaction knows who seals its rows, among what is kept."""
COLUMNS = AUDIT.columns
SIGNED = COLUMNS[:-1]
"""What the seal of a row covers: every value of it but its number, and the seal itself."""
_encode = msgspec.json.Encoder().encode
_fresh = random.Random()  # noqa: S311 - tells copies of a row apart, and hides nothing
os.register_at_fork(after_in_child=_fresh.seed)


class Access(NamedTuple):
    """One act to be told of: who, what, on which resource (`Type/id`, a type, or a word for what is no resource).

    `patients` are those whose data a search or a list returned, `query` the parameters as they came, `kind` the way in (`fhir`,
    `page`, `command`, `worker`, `security`), `detail` what else counts, which never holds what a resource says.
    """

    at: datetime
    viewer: Viewer
    action: str
    ref: str
    patient: str | None = None
    outcome: str = "success"
    request_id: str = ""
    detail: Mapping[str, Any] = {}
    patients: Sequence[str] = ()
    kind: str = ""
    version: int | None = None
    query: str | None = None


class Signer:
    """Seals rows with a key that the database does not hold; without a key it leaves them unsealed.

    `key` is asked for when the first row is sealed.
    """

    def __init__(self, key: Callable[[], bytes] | None = None) -> None:
        self._ask = key
        self._key = b""
        self.id = ""
        self.has_signed = False

    @property
    def key(self) -> bytes:
        """The key, or nothing."""
        if not self._key and self._ask is not None:
            self._key = self._ask()
            self.id = blake2b(self._key, digest_size=4, person=b"audit key").hexdigest()
        return self._key

    def known_id(self) -> str:
        """The id of the key, "" without one."""
        return self.id if self.key else ""

    def mac(self, values: Sequence[object]) -> str:
        """The seal of a row with these values: the key's id, 8 random bytes that make it one of its kind, and BLAKE2b with the
        key over them and the values.
        """
        key = self.key
        self.has_signed = True
        if not key:
            return ""
        salt = _fresh.getrandbits(64).to_bytes(8, "big")
        return f"{self.id}.{b64encode(salt + _digest(key, salt, values)).decode()}"

    def holds(self, values: Sequence[object], mac: str) -> bool:
        """Whether a seal of this key fits the values."""
        return self.key != b"" and fits(self.key, values, mac)


NO_SIGNER = Signer()


def fits(key: bytes, values: Sequence[object], mac: str) -> bool:
    """Whether `mac` is the seal that this key gives to a row with these values."""
    try:
        raw = b64decode(mac.partition(".")[2], validate=True)
    except ValueError:
        return False
    return hmac.compare_digest(raw[8:], _digest(key, raw[:8], values))


def _digest(key: bytes, salt: bytes, values: Sequence[object]) -> bytes:
    try:
        told = _encode(values)
    except UnicodeEncodeError:
        told = json.dumps(values).encode()
    return blake2b(salt + told, key=key, digest_size=24, person=b"audit row").digest()


def values_of(access: Access, signer: Signer) -> tuple[Any, ...]:
    """The row as its table takes it, in the order of `COLUMNS`."""
    viewer = access.viewer
    values = (
        microseconds(access.at),
        viewer.who,
        access.action,
        access.ref,
        access.patient,
        access.outcome,
        access.request_id,
        _told(access.detail) if access.detail else "{}",
        access.kind,
        viewer.name,
        " ".join(sorted(viewer.roles)),
        viewer.client,
        viewer.issuer,
        viewer.address,
        viewer.session,
        _purpose(access),
        access.version,
        _told(list(access.patients)) if access.patients else None,
        access.query,
    )
    return (*values, signer.mac(values))


def _purpose(access: Access) -> str:
    """BTG for what was seen only because somebody broke the glass."""
    opened = access.viewer.opened
    if opened and (access.patient in opened or not opened.isdisjoint(access.patients)):
        return "BTG"
    return access.viewer.purpose


def _told(value: object) -> str:
    return _encode(value).decode()
