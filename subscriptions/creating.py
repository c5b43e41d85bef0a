"""Something made here is made at an EHR once: under our identifier, and never again while an earlier create may have been done.

https://hl7.org/fhir/R4/http.html#ccreate

A create without an answer is looked for by our identifier until it must be visible. When it is not found then, it is only
sent again if this EHR is known to find what we made by our identifier, or has nothing new that looks like it; else a
person is asked.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import quote

from fhir_tracker import conflicts, failpoints, records
from fhir_tracker.errors import RemoteFailure, Unsupported
from fhir_tracker.fhir.body import write_json
from fhir_tracker.fhir.dates import instant
from fhir_tracker.fhir.identity import local_id
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.reading import objects_at
from fhir_tracker.merging import covers
from fhir_tracker.model.author import Why
from fhir_tracker.storage import outbox, resources
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.outbox import Outgoing
from subscriptions import ehr_words, searching
from subscriptions.client import FHIR_JSON, Answer
from subscriptions.rounds import Round, View, view_of
from subscriptions.there import There, agreement, refuse_write, there_in
from subscriptions.updating import update
from subscriptions.ways import Way, way_to_create

SETTLED = timedelta(seconds=150)
"""After how long what was created is surely visible to a search, or was not done."""
LOOKED_FOR_EVERY = 10.0
"""Seconds between two looks for a create whose outcome is not known."""


def create(round_: Round, view: View) -> None:
    """Make it there, or take up what an earlier create made."""
    row = view.row
    way = _way(round_, view)
    if row.sent_at is not None and _is_taken_up(round_, view, way):
        return
    _send(round_, view, way, _body(round_, view, way))


def tell_again(round_: Round, view: View) -> None:
    """What was told as something else is told once more when it has ended in another way since."""
    row, now = view.row, view.ours.now
    if row.sent_at is not None or (_is_closed(view) and row.detail.get("told", "") != ehr_words.headline(now)):
        create(round_, view)
    elif _is_closed(view) or view.stored.deleted:
        round_.done(row, f"It was told as a {row.remote_type}.")
    else:
        raise Unsupported(f"Its end was told as a {row.remote_type}; it is open again, and told when it is closed.")


def withdraw(round_: Round, row: Outgoing) -> None:
    """It was deleted here before it was known whether it is there: when it is, it is corrected there."""
    way = way_to_create(row.type, round_.abilities, round_.mapping.writes)
    there = searching.by_identifier(round_, way.type, _name(row, way))
    if there is None:
        if _left(round_, row) > 0:
            raise _not_known(round_, row)
        return round_.done(row, "It was deleted here before it was written.")
    named = {"remote_type": way.type, "remote_id": there.id, "sent_at": None}
    round_.note(row, **named)
    fresh = replace(row, remote_type=way.type, remote_id=there.id, sent_at=None)
    view = view_of(round_, fresh) if way.kind == "create" else None
    return update(round_, view) if view else round_.done(fresh, f"It was told as a {way.type}.")


def _way(round_: Round, view: View) -> Way:
    type_ = view.row.type
    way = way_to_create(type_, round_.abilities, round_.mapping.writes)
    if way.kind == "create" and view.words is None:
        raise Unsupported(f"It has no place for this {type_}; it stays here.")
    if way.kind != "create" and not _is_closed(view):
        raise Unsupported(f"It takes no new {type_}: this one is told as a {way.type} when it is closed.")
    return way


def _is_closed(view: View) -> bool:
    return view.ours.now.get("status") in ehr_words.CLOSED


def _is_taken_up(round_: Round, view: View, way: Way) -> bool:
    """Whether an earlier create was done, or a person has to say so; False when it may be sent again."""
    row = view.row
    try:
        there = searching.by_identifier(round_, way.type, _name(row, way))
    except RemoteFailure as failure:
        if not failure.permanent:
            raise
        there = None
    answered, chosen = conflicts.answer_of(row)
    if there is None and chosen is not None:
        there = there_in(round_.client, round_.client.get(f"{way.type}/{chosen}"), way.type)
    if there is not None:
        _found(round_, view, way, there)
        return True
    if answered:
        return False
    if _left(round_, row) > 0:
        raise _not_known(round_, row)
    return _is_asked(round_, view, way)


def _is_asked(round_: Round, view: View, way: Way) -> bool:
    """Ask a person whether it is there, unless it surely is not."""
    body = _body(round_, view, way)
    try:
        if searching.keeps_identifiers(round_, way.type):
            return False
        found = searching.alike(round_, view, way.type, body, view.row.sent_at or round_.now())
        if not found:
            return False
    except RemoteFailure as failure:
        if not failure.permanent:
            raise
        found = []
    with round_.database.begin() as tx:
        round_.hold(tx)
        told = {"type": way.type, "sent": searching.text_of(body), "found": searching.shown(found)}
        conflicts.ask(tx, view.row, told, round_.own())
    return True


def _not_known(round_: Round, row: Outgoing) -> RemoteFailure:
    pause = min(_left(round_, row), LOOKED_FOR_EVERY)
    return RemoteFailure("Whether an earlier create was done is not known yet.", retry_after=max(pause, 1.0))


def _left(round_: Round, row: Outgoing) -> float:
    """Seconds until an unknown create has settled."""
    return ((row.sent_at or round_.now()) + SETTLED - round_.now()).total_seconds()


def _name(row: Outgoing, way: Way) -> str:
    """The value of our identifier there; each telling of the same work has one of its own."""
    times = int(row.detail.get("times", 0))
    return ehr_words.name_of(row.local_id, times if way.kind != "create" else 0)


def _body(round_: Round, view: View, way: Way) -> Resource:
    if way.kind == "create":
        return view.words or {}
    patient, name = f"Patient/{view.stored.patient}", _name(view.row, way)
    told = ehr_words.told_as(way.kind, view.ours.now, patient, round_.system, name, round_.now())
    with round_.database.read() as tx:
        words = ehr_words.in_ehr_words(tx, told, round_.source, round_.mapping, round_.system)
    if words is None:
        raise Unsupported(f"It has no place for a {way.type}; this {view.row.type} stays here.")
    return words


def _send(round_: Round, view: View, way: Way, body: Resource) -> None:
    row = view.row
    identifier = f"{round_.system}|{_name(row, way)}"
    headers = {
        "Content-Type": FHIR_JSON,
        "Prefer": "return=representation",
        "If-None-Exist": f"identifier={quote(identifier, safe='')}",
    }
    detail = {name: one for name, one in row.detail.items() if name not in conflicts.QUESTIONS}
    if way.kind != "create":
        detail["told"] = ehr_words.headline(view.ours.now)

    def ready() -> None:
        round_.note(row, sent_at=round_.now(), sent_version=view.stored.version, detail=detail)
        failpoints.reached("write-before-send")

    try:
        answer = round_.client.send("POST", way.type, write_json(body).encode(), headers, ready)
    except RemoteFailure as failure:
        if not failure.unknown:
            round_.note(row, sent_at=None)
        raise
    failpoints.reached("write-after-send")
    _created(round_, replace(view, row=replace(row, sent_at=round_.now(), detail=detail)), way, body, answer)


def _created(round_: Round, view: View, way: Way, body: Resource, answer: Answer) -> None:
    if 200 <= answer.status < 300:
        there = there_in(round_.client, answer, way.type, created=True)
        if answer.status != 201 and not _is_what_we_sent(round_, view, way, body, there):
            raise RemoteFailure("It answered our create with something else.", unknown=True)
        _found(round_, view, way, there, fresh=answer.status == 201)
        return
    found = searching.by_identifier(round_, way.type, _name(view.row, way)) if answer.status == 412 else None
    if found is not None:
        _found(round_, view, way, found)
        return
    if answer.status < 500 and answer.status != 408:
        round_.note(view.row, sent_at=None)
    refuse_write(answer)


def _is_what_we_sent(round_: Round, view: View, way: Way, body: Resource, there: There) -> bool:
    """Whether an answer 200 holds it: a server that understood our condition wrongly answers with something of others."""
    own = ehr_words.own_identifier(round_.system, _name(view.row, way))
    if any(own.items() <= one.items() for one in objects_at(there.resource, "identifier")):
        return True
    names = [name for name in body if name not in ("resourceType", "meta", "identifier", "text")]
    return all(covers(there.resource.get(name), body[name]) for name in names)


def _found(round_: Round, view: View, way: Way, there: There, *, fresh: bool = False) -> None:
    """It is there; unless it was made just now, what it lacks is written as an update."""
    if fresh or way.kind != "create":
        return _agree(round_, view, way, there)
    known = {"remote_type": way.type, "remote_id": there.id, "remote_version": there.version, "sent_at": None}
    with round_.database.begin() as tx:
        round_.hold(tx)
        outbox.note(tx, view.row, **known)
        _forget_copy(tx, round_, way, there.id)
    row = replace(view.row, remote_type=way.type, remote_id=there.id, remote_version=there.version, sent_at=None)
    return update(round_, replace(view, row=row))


def _agree(round_: Round, view: View, way: Way, there: There) -> None:
    """It was created: remember its name there, and what both sides hold now."""
    row, reason = view.row, None
    detail: dict[str, Any] = {}
    if way.kind != "create":
        times = int(row.detail.get("times", 0)) + 1
        detail = {"told": row.detail.get("told", ""), "times": times}
        reason = f"It was told as a {way.type}."
    with round_.database.begin() as tx:
        round_.hold(tx)
        known = {"remote_type": way.type, "remote_id": there.id, "agreed_version": view.stored.version}
        outbox.note(tx, row, **agreement(there), **known, sent_at=None, detail=detail)
        ended = "done" if detail.get("told") in (None, ehr_words.headline(view.ours.now)) else "waiting"
        outbox.change(tx, row, state=ended, reason=reason, due_at=round_.now(), updated_at=round_.now())
        _forget_copy(tx, round_, way, there.id)
        conflicts.settle(tx, row, round_.own(), f"It is there, as of {instant(round_.now())}.")


def _forget_copy(tx: Tx, round_: Round, way: Way, remote_id: str) -> None:
    """What a poll took for the EHR's own, since it came without our identifier, is not a second one here."""
    id_ = local_id(round_.connection.key, remote_id, way.type)
    copy = resources.find(tx, round_.author().viewer, way.type, id_)
    if copy is not None and not copy.deleted and copy.connection == round_.connection.key:
        records.remove(tx, way.type, id_, round_.author(), why=Why(reason="It is what was made here."))
