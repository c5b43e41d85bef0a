"""A change to what is at an EHR already: read there, merged, and written upon the version that was read.

https://hl7.org/fhir/R4/http.html#concurrency
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fhir_tracker import conflicts, failpoints, provenance, records
from fhir_tracker.errors import RemoteFailure, Unsupported, VersionConflict
from fhir_tracker.fhir.body import write_json
from fhir_tracker.fhir.identity import content_hash
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.merging import Merged, Texts, merge, over
from fhir_tracker.model.author import Why
from fhir_tracker.ownership import ADDED_TO, owner_of
from fhir_tracker.storage import outbox
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.outbox import Outgoing
from fhir_tracker.storage.resources import Stored
from subscriptions import ehr_words
from subscriptions.client import FHIR_JSON, Answer
from subscriptions.rounds import Round, View, base_of
from subscriptions.there import There, agreement, refuse_write, there_in
from subscriptions.ways import Way, way_to_change

READINGS = 5
"""How often one update is read, merged and tried when others write the same resource."""
UNIMPORTANT = frozenset({"lastModified", "text"})
"""What follows from other changes, is made by each side for itself, and is not missed."""
INSISTED = 3
"""How often what they made of a field of ours is written over before it is left as they have it."""


def update(round_: Round, view: View) -> None:
    """Bring a change there, and theirs here; leaves the row done, or in conflict, or raises."""
    row = view.row
    for _ in range(READINGS):
        there = _read(round_, row)
        merged, now = _merged(round_, view, there)
        if merged.conflicts:
            return _conflict(round_, view, there, merged)
        send = _not_insisting(view, there, merged)
        if not {*send} - UNIMPORTANT:
            return _settle(round_, view, there, merged, now)
        way = way_to_change(row.type, round_.abilities, round_.mapping.writes)
        taken = tuple(name for name in send if way.only is None or name in way.only)
        left = tuple(sorted({*send} - {*taken} - UNIMPORTANT))
        if not taken:
            raise Unsupported(f"It takes no changes to {', '.join(left)} of a {row.type}; they stay here.")
        answer = _send_change(round_, view, there, way, taken)
        if answer.status in (200, 201, 204):
            written = there_in(round_.client, answer, row.type, id_=there.id)
            noted = replace(view, row=replace(row, detail=_insisting(view, there, merged, taken)))
            return _settle(round_, noted, written, merged, now, left)
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
    if view.words is None:
        raise Unsupported(f"It has no place for this {row.type}; it stays here.")
    owners = round_.connection.options.get("owners") or {}
    merged = merge(
        view.ours,
        Texts(before=base_of(row), now=there.resource),
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


def _not_insisting(view: View, there: There, merged: Merged) -> tuple[str, ...]:
    """What is to be written, without the fields that they made the same of before when we wrote them."""
    told: Mapping[str, Any] = view.row.detail.get("insisted", {})

    def is_theirs_to_word(name: str) -> bool:
        before = told.get(name)
        if name not in merged.insisted or not before or before["ours"] != conflicts.digest(view.words or {}, name):
            return False
        return conflicts.digest(there.resource, name) in before["theirs"] or len(before["theirs"]) >= INSISTED

    return tuple(name for name in merged.send if not is_theirs_to_word(name))


def _insisting(view: View, there: There, merged: Merged, sent: tuple[str, ...]) -> Mapping[str, Any]:
    """The row's detail with what they had made of the fields that are written over."""
    told: dict[str, Any] = dict(view.row.detail.get("insisted", {}))
    for name in {*merged.insisted} & {*sent}:
        ours = conflicts.digest(view.words or {}, name)
        before = told.get(name)
        seen = before["theirs"] if before and before["ours"] == ours else []
        told[name] = {"ours": ours, "theirs": [*seen, conflicts.digest(there.resource, name)]}
    return {**view.row.detail, "insisted": told} if told else view.row.detail


def _send_change(round_: Round, view: View, there: There, way: Way, send: tuple[str, ...]) -> Answer:
    outgoing = over(there.resource, view.words or {}, send, base_of(view.row), view.ours.before or {})
    headers = {"Content-Type": FHIR_JSON, "Prefer": "return=representation"}
    if there.version:
        headers["If-Match"] = f'W/"{there.version}"'
    path = f"{view.row.type}/{there.id}"
    method, body = "PUT", write_json(outgoing | {"id": there.id})
    if way.kind == "patch":
        parts = [part for name in send for part in (name, f"_{name}") if there.resource.get(part) != outgoing.get(part)]
        method, body = "PATCH", write_json([_operation(there.resource, outgoing, part) for part in parts])
        headers["Content-Type"] = "application/json-patch+json"
    failpoints.reached("write-before-send")
    answer = round_.client.send(method, path, body.encode(), headers, round_.still_ours)
    failpoints.reached("write-after-send")
    return answer


def _operation(before: Resource, after: Resource, name: str) -> Resource:
    if name not in after:
        return {"op": "remove", "path": f"/{name}"}
    return {"op": "replace" if name in before else "add", "path": f"/{name}", "value": after[name]}


def _conflict(round_: Round, view: View, there: There, merged: Merged) -> None:
    base = base_of(view.row)
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
    ended: dict[str, Any] = {"state": "done", "reason": None}
    if left:
        ended = {"state": "unsupported", "reason": f"It was written without {', '.join(left)}, which it does not take."}
    follows = _follows(view, merged, now)
    if follows:
        ended = {"state": "waiting", "reason": None, "due_at": round_.now()}
    kept = {name: one for name, one in view.row.detail.items() if name == "insisted"}
    try:
        with round_.database.begin() as tx:
            round_.hold(tx)
            agreed = _taken(tx, round_, view, there, merged, now)
            agreed = view.stored.version if follows else agreed
            outbox.note(tx, view.row, **agreement(there), agreed_version=agreed, sent_at=None)
            outbox.change(tx, view.row, **ended, detail=kept, updated_at=round_.now())
            conflicts.settle(tx, view.row, round_.own(), "Both sides agree.")
    except VersionConflict:
        _half_settle(round_, view, there, merged)
        raise


def _follows(view: View, merged: Merged, now: Resource) -> bool:
    """Whether taking their status changed the program's own, which is ours and is to be written yet."""
    is_taken = view.row.made_here and "status" in merged.take and not view.stored.deleted
    return is_taken and now.get("businessStatus") != view.ours.now.get("businessStatus")


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
    plain = tuple(name for name in merged.take if name not in ADDED_TO)
    base = over(there.resource, base_of(view.row) or {}, plain, None) if view.row.made_here else there.resource
    known = agreement(replace(there, text=write_json(base)))
    round_.note(view.row, **known, agreed_version=view.stored.version)


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
