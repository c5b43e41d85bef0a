"""The one way a resource is written: version, meta, index, change row and read models, all in the caller's transaction."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from fhir_tracker import outgoing, projection, restrictions
from fhir_tracker.errors import Conflict, VersionConflict
from fhir_tracker.fhir.body import read_stored, with_meta, write_json
from fhir_tracker.fhir.identity import new_id
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.search_values import extract
from fhir_tracker.model.author import Author, Why
from fhir_tracker.model.subject import patient_of
from fhir_tracker.security_context import binaries_of, patient_of_context
from fhir_tracker.storage import resources
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.resources import NewVersion, Stored

ABSENT = 0
"""As `if_match`: nothing may be stored under the id, or only what was deleted."""


@dataclass(frozen=True, kw_only=True)
class Remote:
    """Where a mirrored resource came from: its id, version and exact text there, and the hash of its content."""

    connection: str
    id: str
    version: str | None
    body: str
    content_hash: str


def create(
    tx: Tx,
    resource: Resource,
    author: Author,
    *,
    why: Why | None = None,
    id_: str | None = None,
    patient: str | None = None,
) -> Stored:
    """Store a new resource under a new UUIDv7, `id_` when that was made already, whatever id it brought.

    `patient` is whose it is where it does not say so itself.
    """
    whole = resource | {"id": id_ or fresh_id(author.at)}
    return save(tx, whole, author, why=why, fresh=True, patient=patient)


class _Chance:
    """Random bytes from the operating system, asked for many at a time: each asking lets other threads in between."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._bytes = b""
        self._at = 0
        os.register_at_fork(after_in_child=self._forget)

    def take(self, count: int) -> bytes:
        """`count` bytes that were never given before."""
        with self._guard:
            if self._at + count > len(self._bytes):
                self._bytes, self._at = os.urandom(4096), 0
            self._at += count
            return self._bytes[self._at - count : self._at]

    def _forget(self) -> None:
        self._guard = threading.Lock()
        self._bytes = b""


_CHANCE = _Chance()


def fresh_id(now: datetime, random: Callable[[int], bytes] = _CHANCE.take) -> str:
    """An id for something made here."""
    return new_id(now, random)


def save(
    tx: Tx,
    resource: Resource,
    author: Author,
    *,
    remote: Remote | None = None,
    if_match: int | None = None,
    why: Why | None = None,
    fresh: bool = False,
    patient: str | None = None,
) -> Stored:
    """Store `resource` (its `id` given) as the next version; `meta.lastUpdated` always grows.

    `fresh`: the id is of `fresh_id` and nothing was ever stored under it, so nothing is looked for.

    Raises VersionConflict when `if_match` is not the present version or another writer was faster, and Conflict when
    `remote` would overwrite what came from somewhere else.
    """
    before = None if fresh else resources.find(tx, author.viewer, resource["resourceType"], resource["id"])
    check_match(before, if_match)
    _check_origin(before, remote)
    version = before.version + 1 if before else 1
    updated_at = _after(before, author.at)
    stamped = with_meta(resource, id=resource["id"], version=str(version), last_updated=updated_at)
    new = NewVersion(
        type=resource["resourceType"],
        id=resource["id"],
        version=version,
        updated_at=updated_at,
        body=write_json(stamped),
        patient=patient_of(stamped) or patient_of_context(tx, stamped, author.viewer) or patient,
        op="create" if before is None or before.deleted else "update",
        connection=remote.connection if remote else None,
        remote_id=remote.id if remote else None,
        remote_version=remote.version if remote else None,
        remote_body=remote.body if remote else None,
        content_hash=remote.content_hash if remote else None,
    )
    stored = resources.save(tx, new, extract(stamped, unions=False), author)
    restrictions.keep(tx, before, stored, stamped)
    projection.project(tx, stored, stamped, author, why, fresh=fresh)
    outgoing.note(tx, stored, stamped, author)
    if before is not None and before.patient and before.patient != stored.patient:
        _follow(tx, stored, before.patient, author)
    return stored


def _follow(tx: Tx, moved: Stored, patient: str, author: Author) -> None:
    """Binaries whose security context has gone to another patient go there too, by a version that says nothing else new."""
    behind = replace(author, viewer=author.viewer.behind())
    for one in binaries_of(tx, moved, patient, author.viewer):
        save(tx, one, behind)


def remove(
    tx: Tx,
    type_: str,
    id_: str,
    author: Author,
    *,
    remote_version: str | None = None,
    if_match: int | None = None,
    why: Why | None = None,
) -> Stored | None:
    """Delete: a last version without a body that keeps the history. None when there was nothing (left) to delete.

    `remote_version` is what the EHR counts its deletion as; nothing older than that can then bring the resource back.
    """
    before = resources.find(tx, author.viewer, type_, id_)
    check_match(before, if_match)
    if before is None or before.deleted:
        return None
    new = NewVersion(
        type=type_,
        id=id_,
        version=before.version + 1,
        updated_at=_after(before, author.at),
        body="",
        patient=before.patient,
        op="delete",
        connection=before.connection,
        remote_id=before.remote_id,
        remote_version=remote_version or before.remote_version,
        content_hash=None,
    )
    stored = resources.save(tx, new, None, author)
    projection.withdraw(tx, stored, author, why)
    outgoing.note(tx, stored, None, author)
    return stored


def resource_of(stored: Stored) -> Resource:
    """The parsed body of what is stored, numbers as they were written."""
    return read_stored(stored.body)


def check_match(before: Stored | None, if_match: int | None) -> None:
    """Raise VersionConflict when the caller named another version than the present one."""
    if if_match is None:
        return
    present = before.version if before and not before.deleted else ABSENT
    if present != if_match:
        if if_match == ABSENT:
            raise VersionConflict("Somebody else was faster: there is a version now.")
        now = f"the present version is {present}" if present else "there is no present version"
        raise VersionConflict(f"If-Match names version {if_match}, but {now}: read it again and reapply your change.")


def _check_origin(before: Stored | None, remote: Remote | None) -> None:
    if before is None or remote is None or (before.connection, before.remote_id) == (remote.connection, remote.id):
        return
    raise Conflict("Its id here belongs to a resource from elsewhere; nothing is ever mixed.")


ONE_ACT = timedelta(milliseconds=5)
"""Changes no further apart are one act: what one transaction writes twice is a millisecond apart."""


def is_of_act(changed: datetime, at: datetime) -> bool:
    """Whether a version was written by the act of the moment `at`, as `moment_of` gives it."""
    return at <= changed <= at + ONE_ACT


def moment_of(now: datetime) -> datetime:
    """What `meta.lastUpdated` can tell of `now`: whole milliseconds."""
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


def _after(before: Stored | None, now: datetime) -> datetime:
    moment = moment_of(now)
    if before is not None and moment <= before.updated_at:
        moment = before.updated_at + timedelta(milliseconds=1)
    return moment
