"""What happened to work, in words: transitions, attempts, firings, notes, and what changed since a version."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from api.staff import words
from api.staff.names import Names, role_named, state_title
from api.staff.shapes import Line
from fhir_tracker.errors import Incorrect
from fhir_tracker.fhir.dates import parse_datetime
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.reading import moment_at, objects_at, text_at
from fhir_tracker.model.program import Program
from fhir_tracker.model.vocabulary import CHANNELS, OUTCOMES
from fhir_tracker.model.work import Event, ItemKind, Transition, WorkItem

_ICONS = {"status": "progress", "stage": "progress", "owner": "person", "role": "person", "due": "today"}
_ICONS |= {"priority": "flag", "escalation": "escalated", "note": "note"}


def history_lines(
    log: Sequence[Transition], kind: ItemKind, program: Program | None, names: Names, now: datetime
) -> tuple[Line, ...]:
    """Transitions in words, newest first; what a new item began with is one line."""
    rows = [row for row in log if row.what in ("status", "stage") or not _is_first(row, log)]
    return tuple(transition_line(row, kind, program, names, now) for row in reversed(rows))


def transition_line(
    row: Transition, kind: ItemKind, program: Program | None, names: Names, now: datetime, prefix: str = ""
) -> Line:
    """One transition of an item of that kind, in the words of its chip."""
    return Line(
        text=prefix + _what(row, kind, program, names, now),
        when=words.ago(row.effective_at, now, program.calendar if program else names.calendar),
        note=_said(row),
        who=_by(row, names),
        icon=_ICONS.get(row.what, "open") if row.before or row.what == "escalation" else "open",
    )


def closing_line(
    log: Sequence[Transition], item: WorkItem, program: Program | None, names: Names, now: datetime
) -> Line | None:
    """Who closed the item, when and why, and how the last attempt to reach the patient ended; None when no row tells."""
    row = next((row for row in reversed(log) if row.what in ("status", "stage") and row.after == item.status), None)
    if row is None:
        return None
    tried = f"Last attempt: {_named(OUTCOMES, item.last_attempt_outcome)}." if item.last_attempt_outcome else ""
    return Line(
        text=f"By {_by(row, names)}",
        when=words.ago(row.effective_at, now, program.calendar if program else names.calendar),
        note="\n".join(part for part in (_said(row), tried) if part),
    )


def attempt_lines(events: Iterable[Event], names: Names, now: datetime) -> tuple[Line, ...]:
    """Outreach attempts, newest first."""
    newest = sorted(events, key=lambda event: event.at, reverse=True)
    return tuple(
        Line(
            text=f"{_named(CHANNELS, event.detail.get('channel'))}: {_named(OUTCOMES, event.detail.get('outcome'))}",
            when=words.ago(event.at, now, names.calendar),
            note=event.detail.get("note", ""),
            who=names.who(event.detail.get("by", "")) if event.detail.get("by") else "",
            icon="phone",
        )
        for event in newest
    )


def note_lines(resource: Resource, names: Names, now: datetime) -> tuple[Line, ...]:
    """The notes of a Task, newest first."""
    found = [
        Line(
            text=text_at(note, "text") or "",
            when=words.ago(at, now, names.calendar) if (at := moment_at(note, "time")) else None,
            who=text_at(note, "authorString") or text_at(note, "authorReference", "display") or "",
            icon="note",
        )
        for note in objects_at(resource, "note")
    ]
    return tuple(reversed(found))


def changes_since(
    log: Sequence[Transition], kind: ItemKind, since: datetime, program: Program | None, names: Names, now: datetime
) -> tuple[Line, ...]:
    """What changed after a form was opened; one general line when no transition tells."""
    newer = [row for row in log if row.recorded_at > since]
    lines = tuple(transition_line(row, kind, program, names, now) for row in reversed(newer))
    return lines or (Line(text="A note or another detail was added.", icon="note"),)


def _is_first(row: Transition, log: Sequence[Transition]) -> bool:
    return row.before is None and row.what != "escalation" and row.recorded_at == log[0].recorded_at


def _said(row: Transition) -> str:
    said = f"{row.reason}\n{row.note}" if row.reason and row.note else row.reason or row.note or ""
    return words.without_ids(said)


def _by(row: Transition, names: Names) -> str:
    return names.who(row.who) + (f" by rule {row.rule.rpartition('#')[2]}" if row.rule else "")


def _what(row: Transition, kind: ItemKind, program: Program | None, names: Names, now: datetime) -> str:
    if row.what in ("status", "stage"):
        after = state_title(kind, program, row.after)
        return f"{state_title(kind, program, row.before)} → {after}" if row.before else f"Opened: {after}"
    if row.what == "owner":
        return f"Owner: {_who(names, row.before)} → {_who(names, row.after)}"
    if row.what == "role":
        return f"Team: {role_named(row.before or 'none')} → {role_named(row.after or 'none')}"
    if row.what == "due":
        return f"Due: {_moment(row.before, program, names, now)} → {_moment(row.after, program, names, now)}"
    if row.what == "escalation":
        level, _, role = (row.after or "").partition(" to ")
        return f"Escalated to {role_named(role)}, {level}"
    if row.what == "note":
        return "Note"
    return f"{row.what.capitalize()}: {row.before or 'none'} → {row.after or 'none'}"


def _who(names: Names, reference: str | None) -> str:
    return names.who(reference) if reference else "nobody"


def _moment(text: str | None, program: Program | None, names: Names, now: datetime) -> str:
    if not text:
        return "none"
    try:
        return words.ahead(parse_datetime(text), now, program.calendar if program else names.calendar).words
    except Incorrect:
        return text


def _named(known: dict[str, str], code: str | None) -> str:
    return known.get(code or "", code or "unknown")
