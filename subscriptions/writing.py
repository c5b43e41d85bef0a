"""One resource written to an EHR: created under our identifier, or read there, merged and written upon what was read.

https://hl7.org/fhir/R4/http.html#concurrency

Whatever was interrupted can be done again: a create whose outcome is not known is looked for by our identifier first, and an
update begins with a reading.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from urllib.parse import quote

from fhir_tracker import conflicts, provenance, records
from fhir_tracker.errors import RemoteFailure, Unsupported, VersionConflict
from fhir_tracker.fhir.body import MAX_BYTES, read_resource, write_json
from fhir_tracker.fhir.identity import content_hash
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.reading import objects_at
from fhir_tracker.merging import Merged, Texts, merge, over
from fhir_tracker.model.author import Author, Why
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.ownership import ADDED_TO, owner_of
from fhir_tracker.storage import outbox, resources
from fhir_tracker.storage.connections import Connection
from fhir_tracker.storage.database import Database, Tx
from fhir_tracker.storage.outbox import Outgoing
from fhir_tracker.storage.resources import Stored
from mappings import Mapping as Dialect
from mappings import Source, Tables
from subscriptions import ehr_words
from subscriptions.bundles import is_outcome, read_page
from subscriptions.client import FHIR_JSON, Answer, EhrClient
from subscriptions.there import There, held, refuse_write, there_in
from subscriptions.ways import Abilities, Way, way_to_change, way_to_create

READER = worker_viewer("write-back")
READINGS = 5
"""How often one update is read, merged and tried when others write the same resource."""
UNIMPORTANT = frozenset({"lastModified"})
"""What follows from other changes and is not missed by itself."""
SETTLED = timedelta(seconds=150)
"""After how long a create that cannot be found has surely not been done, where the EHR has no conditional create."""


@dataclass(frozen=True, kw_only=True)
class Round:
    """All that writing to one connection needs. `hold(tx)` raises Busy when another process has taken it over."""

    database: Database
    connection: Connection
    client: EhrClient
    mapping: Dialect
    abilities: Abilities
    system: str
    now: Callable[[], datetime]
    hold: Callable[[Tx], None]
    tables: Tables = field(default_factory=Tables)

    @property
    def source(self) -> Source:
        return Source(key=self.connection.key, base_url=self.client.base_url, tables=self.tables)

    @property
    def writes(self) -> Mapping[str, str]:
        """What the mapping knows of what the vendor takes."""
        found: Mapping[str, str] = getattr(self.mapping, "writes", {})
        return found

    def author(self) -> Author:
        """Who takes over what the EHR changed; never written back to it."""
        return Author(viewer=READER, origin=f"ehr:{self.connection.key}", at=self.now())

    def own(self) -> Author:
        """Who does the tracker's own book-keeping."""
        return Author(viewer=READER, origin="write-back", at=self.now())


@dataclass(frozen=True, kw_only=True)
class View:
    """A row and our side of it: `words` is ours as the EHR would hold it, None when its mapping has no place for it."""

    row: Outgoing
    stored: Stored
    ours: Texts = field(repr=False)
    words: Resource | None = field(repr=False)


def write(round_: Round, row: Outgoing) -> None:
    """Bring one row to its end, or raise: RemoteFailure (permanent: never again), Unsupported, VersionConflict."""
    view = _view(round_, row)
    if view is None and not row.made_here:
        raise RemoteFailure("It was deleted there before our change was written.", permanent=True)
    if view is None:
        _done(round_, row, "It was deleted here before it was written.")
    elif row.remote_id is None:
        _create(round_, view)
    elif row.remote_type != row.type:
        _done(round_, row, f"It was told as a {row.remote_type}.")
    else:
        _update(round_, view)


def _view(round_: Round, row: Outgoing) -> View | None:
    """None when there is nothing here to write and nothing there to change."""
    with round_.database.read() as tx:
        stored = resources.find(tx, READER, row.type, row.local_id)
        if stored is None or (stored.deleted and (row.remote_id is None or not row.made_here)):
            return None
        before = _at(tx, row, row.agreed_version)
        now = _at(tx, row, stored.version - 1) if stored.deleted else records.resource_of(stored)
        now = now or {"resourceType": row.type}
        if stored.deleted:
            now = now | {name: "entered-in-error" for name in ("status", "lifecycleStatus") if name in now}
        if row.made_here:
            before = before and ehr_words.with_identifier(before, round_.system, row.local_id)
            now = ehr_words.with_identifier(now, round_.system, row.local_id)
        words = ehr_words.in_ehr_words(tx, now, round_.source, round_.mapping, round_.system)
    return View(row=row, stored=stored, ours=Texts(before=before, now=now), words=words)


def _at(tx: Tx, row: Outgoing, version: int | None) -> Resource | None:
    found = resources.find_version(tx, READER, row.type, row.local_id, version) if version else None
    return read_resource(found.body.encode(), max_bytes=1 << 30) if found and found.body else None


def _create(round_: Round, view: View) -> None:
    row = view.row
    way = way_to_create(row.type, round_.abilities, round_.writes)
    if way.kind == "create" and view.words is None:
        raise Unsupported(f"It has no place for this {row.type}; it stays here.")
    if way.kind != "create" and view.ours.now.get("status") not in ehr_words.CLOSED:
        raise Unsupported(f"It takes no new {row.type}: this one is told as a {way.type} when it is closed.")
    found = _search(round_, way, row) if row.sent_at is not None else None
    if found is not None:
        _found(round_, view, way, found)
        return
    if row.sent_at is not None and way.type not in round_.abilities.conditional_create and _left(round_, row) > 0:
        raise RemoteFailure("Whether an earlier create was done is not known yet.", retry_after=_left(round_, row))
    body = _body_to_create(round_, view, way)
    with round_.database.begin() as tx:
        round_.hold(tx)
        outbox.note(tx, row, sent_at=round_.now(), sent_version=view.stored.version)
    _created(round_, view, way, _post(round_, row, way, body))


def _left(round_: Round, row: Outgoing) -> float:
    """Seconds until an unknown create has settled."""
    return ((row.sent_at or round_.now()) + SETTLED - round_.now()).total_seconds()


def _body_to_create(round_: Round, view: View, way: Way) -> Resource:
    if way.kind == "create":
        return view.words or {}
    with round_.database.read() as tx:
        held = resources.find(tx, READER, "Patient", view.row.patient or "")
    patient = f"Patient/{held.remote_id if held and held.remote_id else view.row.patient}"
    args = (view.ours.now, patient, round_.system, view.row.local_id, round_.now())
    return ehr_words.told_as(way.kind, *args)


def _post(round_: Round, row: Outgoing, way: Way, body: Resource) -> Answer:
    """The answer to the create. A row whose create was surely not done is cleared of it before the failure goes on."""
    identifier = f"{round_.system}|{row.local_id}"
    headers = {
        "Content-Type": FHIR_JSON,
        "Prefer": "return=representation",
        "If-None-Exist": f"identifier={quote(identifier, safe='')}",
    }
    try:
        return round_.client.send("POST", way.type, write_json(body).encode(), headers)
    except RemoteFailure as failure:
        if not failure.unknown:
            _not_sent(round_, row)
        raise


def _created(round_: Round, view: View, way: Way, answer: Answer) -> None:
    found = None
    if answer.status in (200, 201):
        found = there_in(round_.client, answer, way.type, created=True)
    elif answer.status == 412:
        found = _search(round_, way, view.row)
    if found is not None:
        _found(round_, view, way, found, fresh=answer.status == 201)
        return
    if answer.status < 500 and answer.status != 408:
        _not_sent(round_, view.row)
    refuse_write(answer)


def _not_sent(round_: Round, row: Outgoing) -> None:
    with round_.database.begin() as tx:
        round_.hold(tx)
        outbox.note(tx, row, sent_at=None)


def _search(round_: Round, way: Way, row: Outgoing) -> There | None:
    """What goes by our identifier there; the oldest when there are several."""
    identifier = quote(f"{round_.system}|{row.local_id}", safe="")
    answer = round_.client.get(f"{way.type}?identifier={identifier}")
    if answer.status == 401 or answer.status >= 500 or answer.status == 429:
        refuse_write(answer)
    try:
        page = read_page(answer, "searchset")
    except RemoteFailure as failure:
        told = f"An earlier write may have reached it, and it cannot be asked: {failure.message}"
        raise RemoteFailure(told, permanent=failure.permanent) from None
    found = []
    for entry in page.entries:
        if entry.problem or is_outcome(entry) or not entry.raw:
            continue
        resource = read_resource(entry.raw, max_bytes=MAX_BYTES)
        own = ehr_words.own_identifier(round_.system, row.local_id)
        names = objects_at(resource, "identifier")
        if resource["resourceType"] == way.type and any(own.items() <= one.items() for one in names):
            found.append(held(resource, entry.raw.decode()))
    return min(
        found, key=lambda one: (str((one.resource.get("meta") or {}).get("lastUpdated", "")), one.id), default=None
    )


def _found(round_: Round, view: View, way: Way, there: There, *, fresh: bool = False) -> None:
    """It is there; unless it was made just now, what it lacks is written as an update."""
    if fresh or way.kind != "create":
        _agree(round_, view, way, there)
        return
    known = {"remote_type": way.type, "remote_id": there.id, "remote_version": there.version, "sent_at": None}
    with round_.database.begin() as tx:
        round_.hold(tx)
        outbox.note(tx, view.row, **known)
    row = replace(view.row, remote_type=way.type, remote_id=there.id, remote_version=there.version, sent_at=None)
    _update(round_, replace(view, row=row))


def _agree(round_: Round, view: View, way: Way, there: There) -> None:
    """It was created: remember its name there, and what both sides hold now."""
    with round_.database.begin() as tx:
        round_.hold(tx)
        outbox.note(
            tx, view.row, **_agreement(there), remote_type=way.type, remote_id=there.id, sent_at=None,
            agreed_version=view.stored.version,
        )  # fmt: skip
        reason = None if way.kind == "create" else f"It was told as a {way.type}."
        outbox.change(tx, view.row, state="done", reason=reason, updated_at=round_.now())


def _agreement(there: There) -> dict[str, object]:
    return {
        "base": there.text,
        "remote_version": there.version or None,
        "remote_hash": content_hash(there.resource),
    }


def _update(round_: Round, view: View) -> None:
    row = view.row
    for _ in range(READINGS):
        there = _read(round_, row)
        merged, now = _merged(round_, view, there)
        if merged.conflicts:
            return _conflict(round_, view, there, merged)
        if not merged.send:
            return _settle(round_, view, there, merged, now)
        way = way_to_change(row.type, round_.abilities, round_.writes)
        send = tuple(name for name in merged.send if way.only is None or name in way.only)
        left = tuple(sorted({*merged.send} - {*send} - UNIMPORTANT))
        if not send and left:
            raise Unsupported(f"It takes no changes to {', '.join(left)} of a {row.type}; they stay here.")
        if not send:
            return _settle(round_, view, there, merged, now)
        answer = _send_change(round_, view, there, way, send)
        if answer.status in (200, 201, 204):
            written = there_in(round_.client, answer, row.type, id_=there.id)
            return _settle(round_, view, written, merged, now, left)
        if answer.status == 428 or (answer.status == 412 and not there.version):
            raise RemoteFailure("It asks for a version with each change, and tells none.", permanent=True)
        if answer.status not in (409, 412):
            refuse_write(answer)
    raise RemoteFailure("Others changed it there each time between our reading and our writing.")


def _read(round_: Round, row: Outgoing) -> There:
    answer = round_.client.get(f"{row.type}/{row.remote_id}")
    if answer.status in (404, 410):
        raise RemoteFailure("It is not there any more.", permanent=True)
    return there_in(round_.client, answer, row.type)


def _merged(round_: Round, view: View, there: There) -> tuple[Merged, Resource]:
    """What becomes of each field, and ours with what is taken over; `take` names what can be taken."""
    row = view.row
    before = read_resource(row.base.encode(), max_bytes=1 << 30) if row.base else None
    if view.words is None:
        raise Unsupported(f"It has no place for this {row.type}; it stays here.")
    owners = round_.connection.options.get("owners") or {}
    merged = merge(
        view.ours,
        Texts(before=before, now=there.resource),
        as_theirs=view.words,
        owner=lambda name: owner_of(row.type, name, made_here=row.made_here, owners=owners),
        decided=conflicts.decided(row, there.resource),
    )
    theirs = round_.mapping.to_tracker(there.resource, round_.source)
    plain = tuple(name for name in merged.take if name != "status" or row.type != "Task")
    now = over(view.ours.now, theirs, plain, view.ours.before)
    if len(plain) < len(merged.take):
        with round_.database.read() as tx:
            taken = conflicts.with_their_status(tx, now, theirs, round_.author())
        if taken is None:
            return replace(merged, take=plain, conflicts=tuple(sorted({*merged.conflicts, "status"}))), now
        now = taken
    return merged, now


def _send_change(round_: Round, view: View, there: There, way: Way, send: tuple[str, ...]) -> Answer:
    before = read_resource(view.row.base.encode(), max_bytes=1 << 30) if view.row.base else None
    outgoing = over(there.resource, view.words or {}, send, before) | {"id": there.id}
    headers = {"Content-Type": FHIR_JSON, "Prefer": "return=representation"}
    if there.version:
        headers["If-Match"] = f'W/"{there.version}"'
    path = f"{view.row.type}/{there.id}"
    if way.kind == "update":
        return round_.client.send("PUT", path, write_json(outgoing).encode(), headers)
    parts = [part for name in send for part in (name, f"_{name}") if there.resource.get(part) != outgoing.get(part)]
    patch = [_operation(there.resource, outgoing, part) for part in parts]
    headers["Content-Type"] = "application/json-patch+json"
    return round_.client.send("PATCH", path, write_json(patch).encode(), headers)


def _operation(before: Resource, after: Resource, name: str) -> Resource:
    if name not in after:
        return {"op": "remove", "path": f"/{name}"}
    return {"op": "replace" if name in before else "add", "path": f"/{name}", "value": after[name]}


def _conflict(round_: Round, view: View, there: There, merged: Merged) -> None:
    base = read_resource(view.row.base.encode(), max_bytes=1 << 30) if view.row.base else None
    ours = {"id": view.row.remote_id or "?"}
    before = round_.mapping.to_tracker({**base, **ours}, round_.source) if base else None
    theirs = round_.mapping.to_tracker(there.resource, round_.source)
    found = [
        conflicts.difference(name, before, theirs, view.ours.now, conflicts.digest(there.resource, name))
        for name in merged.conflicts
    ]
    with round_.database.begin() as tx:
        round_.hold(tx)
        conflicts.mark(tx, view.row, found, round_.own())


def _settle(round_: Round, view: View, there: There, merged: Merged, now: Resource, left: tuple[str, ...] = ()) -> None:
    """Both sides agree: take over what is theirs, and remember what they hold. `left` could not be written, and is named."""
    ended = {"state": "unsupported", "reason": f"It was written without {', '.join(left)}, which it does not take."}
    try:
        with round_.database.begin() as tx:
            round_.hold(tx)
            agreed = _taken(tx, round_, view, there, merged, now)
            outbox.note(tx, view.row, **_agreement(there), agreed_version=agreed, sent_at=None)
            done = {"state": "done", "reason": None} if not left else ended
            outbox.change(tx, view.row, **done, detail={}, updated_at=round_.now())
            conflicts.settle(tx, view.row, round_.own(), "Both sides agree.")
    except VersionConflict:
        _half_settle(round_, view, there, merged)
        raise


def _taken(tx: Tx, round_: Round, view: View, there: There, merged: Merged, now: Resource) -> int:
    """Our version that both agree on."""
    if not view.row.made_here:
        theirs = round_.mapping.to_tracker(there.resource, round_.source)
        return _save(tx, round_, view, theirs, _remote(round_, there)).version
    if not merged.take or view.stored.deleted:
        return view.stored.version
    return _save(tx, round_, view, ehr_words.without_identifier(now, round_.system), None).version


def _half_settle(round_: Round, view: View, there: There, merged: Merged) -> None:
    """It was changed here while it was written: what was written is agreed on, and what is to be taken is still theirs."""
    before = read_resource(view.row.base.encode(), max_bytes=1 << 30) if view.row.base else {}
    plain = tuple(name for name in merged.take if name not in ADDED_TO)
    base = over(there.resource, before, plain, None) if view.row.made_here else there.resource
    with round_.database.begin() as tx:
        round_.hold(tx)
        outbox.note(
            tx, view.row, **_agreement(replace(there, text=write_json(base))), agreed_version=view.stored.version
        )


def _save(tx: Tx, round_: Round, view: View, resource: Resource, remote: records.Remote | None) -> Stored:
    why = Why(reason=f"Changed in {round_.connection.key}")
    fresh = resource | {"id": view.row.local_id}
    stored = records.save(tx, fresh, round_.author(), remote=remote, if_match=view.stored.version, why=why)
    if remote is None:
        provenance.record(tx, [stored], round_.author(), why)
    return stored


def _remote(round_: Round, there: There) -> records.Remote:
    return records.Remote(
        connection=round_.connection.key,
        id=there.id,
        version=there.version or None,
        body=there.text,
        content_hash=content_hash(there.resource),
    )


def _done(round_: Round, row: Outgoing, reason: str) -> None:
    with round_.database.begin() as tx:
        round_.hold(tx)
        outbox.change(tx, row, state="done", reason=reason, updated_at=round_.now())
