"""What is to be written to EHRs, for the clinic admin: what waits, what was refused, and conflicts field by field."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.responses import Response

from api.staff import words
from api.staff.endpoint import see_other
from api.staff.frames import frame_of
from api.staff.names import names_for
from api.staff.rendering import answer
from api.staff.shapes import Chip
from api.staff.visit import Visit, note_access, note_reading, numbered
from api.staff.words import When
from fhir_tracker import conflicts
from fhir_tracker.conflicts import Choice, Difference, Edited
from fhir_tracker.errors import Incorrect
from fhir_tracker.storage import outbox
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.outbox import Outgoing
from subscriptions import ask_at_once

SHOWN = 200
_NONE = "There is nothing of that number in the outbox."
_STATES = {
    "waiting": Chip(label="waiting", tone="today", icon="progress", means="It is tried again by itself"),
    "conflict": Chip(label="conflict", tone="escalated", icon="escalated", means="Both sides changed it: decide"),
    "dead": Chip(label="refused", tone="late", icon="late", means="The EHR refused it; it is not tried again"),
    "unsupported": Chip(label="stays here", tone="hold", icon="hold", means="The EHR takes nothing like it"),
    "done": Chip(label="done", tone="done", icon="done", means="Both sides hold the same"),
}
_NOWHERE, _OTHER = "nowhere", "other"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the list; `href` is empty when the viewer may not decide about it."""

    id: int
    resource: str
    connection: str
    state: Chip
    reason: str
    since: When
    tries: int
    href: str
    is_open: bool


@dataclass(frozen=True, kw_only=True)
class Field:
    """One field in conflict, each side as text to read; `chosen` and `text` are what the form had."""

    name: str
    base: str
    theirs: str
    ours: str
    chosen: str
    text: str
    error: str = ""


def outbox_page(visit: Visit) -> Response:
    """GET `/outbox`."""
    with visit.context.database.read() as tx:
        found = outbox.listed(tx, visit.viewer, states=outbox.STATES[:-1], limit=SHOWN + 1)
        calendar = names_for(tx, visit.viewer, []).calendar
        counts = outbox.counts(tx)
        rows = [
            Row(
                id=one.id,
                resource=one.ref,
                connection=one.connection,
                state=_STATES[one.state],
                reason=one.reason or "",
                since=words.ago(one.updated_at, visit.now, calendar),
                tries=one.attempts,
                href=f"/outbox/{one.id}",
                is_open=one.state != "conflict",
            )
            for one in found[:SHOWN]
        ]
        frame = frame_of(tx, visit, "Outbox", "/sync")
    note_reading(visit, "search", "outbox", patients=[one.patient for one in found[:SHOWN] if one.patient])
    return answer("outbox.html", frame, rows=rows, more=len(found) > SHOWN, total=sum(counts.values()))


def entry_page(visit: Visit) -> Response:
    """GET `/outbox/{id}`."""
    with visit.context.database.read() as tx:
        row = conflicts.get(tx, visit.viewer, numbered(visit, _NONE))
    note_reading(visit, "read", row.ref, row.patient)
    return _shown(visit, row, {})


def resolve(visit: Visit) -> Response:
    """POST `/outbox/{id}`: a choice for each field in conflict, or where it is what was sent without an answer."""
    try:
        with visit.context.database.begin() as tx:
            row = conflicts.get(tx, visit.viewer, numbered(visit, _NONE))
            errors = _decided(tx, visit, row)
            if not errors:
                note_access(tx, visit, "resolve", row.ref, row.patient)
                return see_other("/outbox", "decided")
    except Incorrect as refusal:
        with visit.context.database.read() as tx:
            row = conflicts.get(tx, visit.viewer, numbered(visit, _NONE))
        errors = {"": refusal.message}
    return _shown(visit, row, errors)


def _decided(tx: Tx, visit: Visit, row: Outgoing) -> dict[str, str]:
    """Decide it as the form says, or what is wrong with the form, by field; Incorrect when a rule forbids it."""
    if conflicts.question(row) is not None:
        chosen = visit.form.get("there", "")
        if not chosen or (chosen == _OTHER and not visit.form.get("id", "").strip()):
            return {"": "Say where it is, or that it is not there."}
        named = visit.form.get("id", "").strip() if chosen == _OTHER else chosen.removeprefix("id.")
        conflicts.answer(tx, row, None if chosen == _NOWHERE else named, visit.author)
        return {}
    choices, errors = _choices(visit, conflicts.differences(row))
    if not errors:
        conflicts.resolve(tx, row, choices, visit.author)
    return errors


def retry(visit: Visit) -> Response:
    """POST `/outbox/{id}/retry`."""
    with visit.context.database.begin() as tx:
        row = conflicts.get(tx, visit.viewer, numbered(visit, _NONE))
        conflicts.retry(tx, row, visit.author)
        ask_at_once(tx, row.connection, visit.now)
        note_access(tx, visit, "retry", row.ref, row.patient)
    return see_other("/outbox", "retried")


def _shown(visit: Visit, row: Outgoing, errors: dict[str, str]) -> Response:
    fields = [
        Field(
            name=one.field,
            base=readable(one.base),
            theirs=readable(one.theirs),
            ours=readable(one.ours),
            chosen=visit.form.get(f"choice.{one.field}", ""),
            text=visit.form.get(f"value.{one.field}", one.ours),
            error=errors.get(one.field, ""),
        )
        for one in conflicts.differences(row)
    ]
    with visit.context.database.read() as tx:
        calendar = names_for(tx, visit.viewer, []).calendar
        frame = frame_of(tx, visit, f"Outbox: {row.ref}", "/sync")
    given = {
        "said": conflicts.said(row),
        "question": conflicts.question(row),
        "error": errors.get("", ""),
        "row": row,
        "state": _STATES[row.state],
        "since": words.ago(row.updated_at, visit.now, calendar),
        "fields": fields if row.state == "conflict" else [],
        "is_open": row.state in ("waiting", "dead", "unsupported"),
        "task": f"/tasks/{row.local_id}" if row.type == "Task" else "",
    }
    return answer("outbox_entry.html", frame, status=422 if errors else 200, **given)


def _choices(visit: Visit, found: Sequence[Difference]) -> tuple[dict[str, Choice], dict[str, str]]:
    choices: dict[str, Choice] = {}
    errors: dict[str, str] = {}
    for one in found:
        chosen = visit.form.get(f"choice.{one.field}", "")
        if chosen == "theirs" or chosen == "ours":
            choices[one.field] = "theirs" if chosen == "theirs" else "ours"
        elif chosen == "edit":
            try:
                choices[one.field] = Edited(value=json.loads(visit.form.get(f"value.{one.field}", "")))
            except ValueError:
                errors[one.field] = "This is not JSON: text stands in double quotes."
        else:
            errors[one.field] = "Choose which of them holds."
    return choices, errors


def readable(text: str) -> str:
    """JSON as people read it: a plain text without its quotes, the rest indented."""
    if not text:
        return "(none)"
    value = json.loads(text)
    return value if isinstance(value, str) else json.dumps(value, indent=1, ensure_ascii=False)
