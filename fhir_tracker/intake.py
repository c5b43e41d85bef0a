"""What an EHR sent becomes a stored version, nothing at all because it is known, or a quarantined entry with the reason.

Reading an entry is pure and happens before the transaction; taking a page happens in the caller's transaction, so that
its rows and the cursor are committed together.
"""

from __future__ import annotations

import hashlib
import logging
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property

from fhir_tracker import echoes, merged_patients, outgoing, projection, records, restrictions, unmapped
from fhir_tracker.errors import Busy, Incorrect, TrackerError, Unavailable, VersionConflict
from fhir_tracker.fhir.body import MAX_BYTES, read_resource
from fhir_tracker.fhir.dates import parse_datetime
from fhir_tracker.fhir.identity import content_hash, local_id
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.model.author import Author
from fhir_tracker.model.subject import patient_of, remote_id_of
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.storage import quarantine, resources
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.failures import translated
from fhir_tracker.storage.outbox import Outgoing
from fhir_tracker.storage.quarantine import Whose
from fhir_tracker.storage.resources import Known

LONGEST_REMOTE_ID = 255
_log = logging.getLogger(__name__)
_WORKER = worker_viewer("intake")

Translate = Callable[[Resource], Resource]


@dataclass(frozen=True, kw_only=True)
class Received:
    """A readable resource: `body` is its exact text, `updated` its own meta.lastUpdated or ""."""

    type: str
    remote_id: str
    version: str | None
    updated: str
    content_hash: str
    body: str = field(repr=False)
    sent: Resource = field(repr=False)
    translate: Translate = field(repr=False)

    @cached_property
    def resource(self) -> Resource:
        """Its form here, made when it is first needed; raises what the mapping has against it."""
        return self.translate(self.sent)


@dataclass(frozen=True, kw_only=True)
class Unusable:
    """An entry that cannot be applied; `reason` is short and stable, `remote_id` made from the text when it has none."""

    type: str
    remote_id: str
    reason: str
    body: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Tally:
    """What a page came to, in entries."""

    fetched: int = 0
    applied: int = 0
    unchanged: int = 0
    stale: int = 0
    deleted: int = 0
    quarantined: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(**{name: getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__})


class EntryRefused(Exception):
    """One entry of a page cannot be written; the transaction is to be undone and the page taken again without it."""

    def __init__(self, entry: Received, reason: str) -> None:
        super().__init__(reason)
        self.entry = entry
        self.reason = reason


def read_entry(raw: bytes, wanted: str, translate: Translate) -> Received | Unusable:
    """The resource in `raw`, which should be of the type `wanted`, or why it cannot be used; never raises for bad input."""
    return in_our_form(read_later(raw, wanted, translate))


def in_our_form(entry: Received | Unusable) -> Received | Unusable:
    """The entry with its form here, or why it has none."""
    try:
        if isinstance(entry, Received):
            _ = entry.resource
    except TrackerError as error:
        return unusable(entry.type, entry.remote_id, error.message, entry.body)
    return entry


def read_later(raw: bytes, wanted: str, translate: Translate) -> Received | Unusable:
    """As `read_entry`, but its form here is made only when it is needed: `translate_news` does, for what is not known yet."""
    body = raw.decode("utf-8", "replace").replace("\0", "\ufffd")
    remote_id = ""
    try:
        resource = read_resource(raw, max_bytes=MAX_BYTES)
        remote_id = _remote_id(resource)
        return _received(resource, remote_id, wanted, body, translate)
    except TrackerError as error:
        return unusable(wanted, remote_id, error.message, body)


def unusable(type_: str, remote_id: str, reason: str, body: str) -> Unusable:
    """An entry for quarantine; without an id it goes by a digest of its text, so that two bad ones stay two."""
    known_as = remote_id or f"?{hashlib.sha256(body.encode()).hexdigest()[:16]}"
    return Unusable(type=type_, remote_id=known_as, reason=reason, body=body)


def translate_news(tx: Tx, entries: Sequence[Received | Unusable], connection: str) -> list[Received | Unusable]:
    """A page, of one type, with the form here of all that is not stored exactly so; what has none is Unusable."""
    if not entries:
        return []
    known = resources.known(tx, connection, entries[0].type, sorted({entry.remote_id for entry in entries}))
    every = outgoing.identifier_system(tx) is not None
    return [
        in_our_form(entry)
        if every or (isinstance(entry, Received) and _is_news(entry, known.get(entry.remote_id)))
        else entry
        for entry in entries
    ]


def take_page(
    tx: Tx, entries: Sequence[Received | Unusable], connection: str, author: Author, *, one_by_one: bool = True
) -> Tally:
    """Write what is new of one page, of one type; older and unchanged versions are skipped, bad entries quarantined.

    Without `one_by_one` rows are written together, several times faster, and a refusal does not tell which entry it is about.

    Raises EntryRefused, after which nothing of the transaction may be kept, and VersionConflict when somebody else wrote
    one of these at the same moment.
    """
    if not entries:
        return Tally()
    known = dict(resources.known(tx, connection, entries[0].type, sorted({entry.remote_id for entry in entries})))
    waiting = quarantine.open_count(tx, connection) > 0
    written = _written_there(tx, entries, connection)
    news = [one for one in entries if isinstance(one, Received) and _is_news(one, known.get(one.remote_id))]
    if news:
        _expect(tx, news, author)
    tally = Tally(fetched=len(entries))
    for entry in entries:
        if isinstance(entry, Unusable):
            put_aside(tx, entry, connection, author.at)
            tally += Tally(quarantined=1)
            continue
        if (row := written.get(entry.remote_id)) and _is_heard(tx, row, entry, known.get(entry.remote_id), author):
            tally += Tally(unchanged=1)
            continue
        verdict = _verdict(tx, entry, known.get(entry.remote_id), author)
        if verdict.applied:
            known[entry.remote_id] = _apply(tx, entry, connection, author, one_by_one=one_by_one)
        elif verdict.unchanged:
            known[entry.remote_id] = _counted_on(tx, entry, known[entry.remote_id], author)
        if waiting and not verdict.stale:
            _resolve(tx, entry, connection, author.at)
        tally += verdict
    if news:
        with _refusing(news[-1], connection, told=one_by_one):
            projection.wake_gathered(tx, author.at)
            tx.flush()
    return tally


def _is_news(entry: Received, known: Known | None) -> bool:
    return known is None or known.deleted or known.content_hash != entry.content_hash


def _expect(tx: Tx, news: Sequence[Received], author: Author) -> None:
    """Ask once for what writing all of these has to know."""
    resources.foresee(tx, author.viewer, {f"{one.type}/{one.resource['id']}" for one in news})
    projection.expect(tx, [one.resource for one in news])


def _written_there(tx: Tx, entries: Sequence[Received | Unusable], connection: str) -> Mapping[str, Outgoing]:
    if outgoing.identifier_system(tx) is None:
        return {}
    sent = {one.remote_id: one.resource for one in entries if isinstance(one, Received)}
    return echoes.written_there(tx, connection, entries[0].type, sent)


def _is_heard(tx: Tx, row: Outgoing, entry: Received, known: Known | None, author: Author) -> bool:
    told = (entry.type, entry.remote_id, entry.version, entry.content_hash)
    return echoes.is_heard(tx, row, *told, known, author.at)


def put_aside(tx: Tx, entry: Unusable, connection: str, now: datetime) -> None:
    """Quarantine an entry; one that is there already for the same reason is counted, not repeated."""
    sent = restrictions.readable(entry.body)
    is_shut = restrictions.restricts_sent(tx, sent, entry.body)
    quarantine.put(
        tx,
        Whose(_whose(tx, entry, sent, connection), is_shut),
        connection=connection,
        type_=entry.type,
        remote_id=entry.remote_id,
        reason=entry.reason,
        detail="",
        body=entry.body,
        at=now,
    )


def _whose(tx: Tx, entry: Unusable, sent: Resource | None, connection: str) -> str | None:
    """The local id of the patient that a body is about, else of whose the version is that was taken before it."""
    if entry.type == "Patient" and not entry.remote_id.startswith("?"):
        return local_id(connection, entry.remote_id, "Patient")
    told = patient_of(sent, remote_id_of) if sent is not None else None
    if told is not None:
        return local_id(connection, told, "Patient")
    known = resources.known(tx, connection, entry.type, [entry.remote_id]).get(entry.remote_id)
    held = resources.find(tx, _WORKER, entry.type, known.id) if known else None
    return held.patient if held else None


def take_deletion(tx: Tx, type_: str, remote_id: str, version: str | None, connection: str, author: Author) -> bool:
    """Delete here what the EHR deleted as its `version`; False when it is unknown, gone already, or younger than that."""
    known = resources.known(tx, connection, type_, [remote_id]).get(remote_id)
    if known is None or known.deleted:
        return False
    if (order := _order(version, known.remote_version)) is not None and order <= 0:
        return False
    id_ = local_id(connection, remote_id, type_)
    if type_ == "Patient":
        merged_patients.tell_gone(tx, id_, author)
    return records.remove(tx, type_, id_, author, remote_version=version) is not None


def forget_waiting(tx: Tx, type_: str, remote_id: str, connection: str, now: datetime) -> None:
    """Take out of quarantine what the EHR has deleted since; applied later it would come back to life."""
    quarantine.resolve_all(
        tx, connection=connection, type_=type_, remote_id=remote_id, resolution="The server deleted it.", at=now
    )


def is_ordered(version: str | None, known: Known) -> bool:
    """Whether the two version ids tell by themselves which is the younger."""
    return _order(version, known.remote_version) is not None


def _resolve(tx: Tx, entry: Received, connection: str, at: datetime) -> None:
    quarantine.resolve_all(
        tx,
        connection=connection,
        type_=entry.type,
        remote_id=entry.remote_id,
        resolution="A usable version was applied.",
        at=at,
    )


def _received(resource: Resource, remote_id: str, wanted: str, body: str, translate: Translate) -> Received:
    if resource["resourceType"] != wanted:
        raise Incorrect(f"The server sent a {resource['resourceType']} where {wanted} was asked for.")
    meta = resource.get("meta", {})
    if not isinstance(meta, dict):
        raise Incorrect("`meta` is not an object.")
    version, updated = meta.get("versionId"), meta.get("lastUpdated")
    if not isinstance(version, str | int | None) or not isinstance(updated, str | None):
        raise Incorrect("`meta.versionId` and `meta.lastUpdated` have to be strings.")
    return Received(
        type=wanted,
        remote_id=remote_id,
        version=None if version is None else str(version),
        updated=updated or "",
        content_hash=content_hash(resource),
        body=body,
        sent=resource,
        translate=translate,
    )


def _remote_id(resource: Resource) -> str:
    remote_id = resource.get("id")
    if remote_id is None:
        raise Incorrect("The resource has no `id`.")
    if not isinstance(remote_id, str) or not 0 < len(remote_id) <= LONGEST_REMOTE_ID or not remote_id.isprintable():
        raise Incorrect("`id` is not a usable string.")
    if any(character in remote_id for character in "/?# "):
        raise Incorrect("`id` holds a character that no FHIR id can have.")
    return remote_id


def _verdict(tx: Tx, entry: Received, known: Known | None, author: Author) -> Tally:
    if known is None:
        return Tally(applied=1)
    if not known.deleted and known.content_hash == entry.content_hash:
        return Tally(unchanged=1)
    age = _age(tx, entry, known, author)
    stale = age < 0 or (known.deleted and age == 0 and (entry.version is not None or bool(entry.updated)))
    return Tally(stale=1) if stale else Tally(applied=1)


def _counted_on(tx: Tx, entry: Received, known: Known, author: Author) -> Known:
    """What is known after unchanged content came, under a newer version of the EHR's perhaps."""
    if entry.version is None or entry.version == known.remote_version or _age(tx, entry, known, author) <= 0:
        return known
    resources.note_remote(tx, entry.type, known.id, entry.version, entry.body)
    return replace(known, remote_version=entry.version)


def _age(tx: Tx, entry: Received, known: Known, author: Author) -> int:
    """Below 0 when the entry is older than what is held, 0 when that cannot be told or it is the same, else above."""
    order = _order(entry.version, known.remote_version)
    if order is not None:
        return order
    if not entry.updated:
        return 1
    held = resources.remote_body(tx, author.viewer, entry.type, known.id)
    stamp = _stamp(held or "")
    try:
        moment = parse_datetime(entry.updated)
    except Incorrect:
        return 1
    return 1 if stamp is None else (moment > stamp) - (moment < stamp)


def _stamp(body: str) -> datetime | None:
    try:
        meta: Mapping[str, object] = read_resource(body.encode(), max_bytes=MAX_BYTES).get("meta", {})
        updated = meta.get("lastUpdated")
        return parse_datetime(updated) if isinstance(updated, str) else None
    except Incorrect:
        return None


def _order(version: str | None, other: str | None) -> int | None:
    if version is None or other is None or not (_is_number(version) and _is_number(other)):
        return None
    return (int(version) > int(other)) - (int(version) < int(other))


def _is_number(version: str) -> bool:
    return version.isascii() and version.isdigit() and len(version) <= 18


def _apply(tx: Tx, entry: Received, connection: str, author: Author, *, one_by_one: bool) -> Known:
    remote = records.Remote(
        connection=connection,
        id=entry.remote_id,
        version=entry.version,
        body=entry.body,
        content_hash=entry.content_hash,
    )
    with _refusing(entry, connection, told=one_by_one):
        stored = records.save(tx, entry.resource, author, remote=remote)
        if entry.type == "Patient":
            merged_patients.notice(tx, entry.resource, author)
        unmapped.notice(tx, entry.resource, connection, author)
        if one_by_one:
            tx.flush()
    return Known(
        id=stored.id,
        version=stored.version,
        remote_version=entry.version,
        content_hash=entry.content_hash,
        deleted=False,
    )


@contextmanager
def _refusing(entry: Received, connection: str, *, told: bool) -> Iterator[None]:
    """What cannot be written is refused as `entry`, and `told` in the log; what concerns all entries alike goes on."""
    try:
        with translated():
            yield
    except (Busy, Unavailable, VersionConflict):
        raise
    except TrackerError as error:
        if told:
            _log.error("entry of %s %s refused: %s", connection, entry.type, error.message)
        raise EntryRefused(entry, error.message) from error
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        if told:
            _log.error("entry of %s %s not written: %s at %s", connection, entry.type, type(error).__name__, where.name)
        raise EntryRefused(entry, f"It could not be written here: {type(error).__name__}.") from error


def refused(entry: Received, reason: str) -> Unusable:
    """The entry as one for quarantine."""
    return Unusable(type=entry.type, remote_id=entry.remote_id, reason=reason, body=entry.body)
