"""What a mail or webhook call says: how much work of which kinds waits for whom, and where to look. Nothing of a patient."""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime
from urllib.parse import quote, urlsplit

from fhir_tracker import programs
from fhir_tracker.errors import Incorrect
from fhir_tracker.fhir.dates import instant
from fhir_tracker.fhir.json_types import Json
from fhir_tracker.storage import dispatches
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.dispatches import Dispatch, Subject

MOST_LINKS = 20
_MADE_HERE = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
_LONGEST = 200
_NO_WORDS = re.compile(r"[^\w.,'()/&]+")
_OURSELVES = "fhir-tracker.invalid"


@dataclass(frozen=True, kw_only=True)
class Line:
    """One kind of work and how much of it, most urgent first."""

    kind: str
    count: int


@dataclass(frozen=True, kw_only=True)
class Told:
    """What one dispatch tells: for whom, kinds of work with counts, and links to our own pages ("" without an address)."""

    dispatch: Dispatch
    whom: str
    lines: tuple[Line, ...]
    subjects: tuple[Subject, ...]
    queue: str
    links: tuple[str, ...]

    @property
    def count(self) -> int:
        """How many pieces of work."""
        return len(self.subjects)


def told_of(tx: Tx, one: Dispatch, public_url: str) -> Told:
    """What a dispatch says now; the same for every retry, but for work that was withdrawn meanwhile."""
    subjects = list({subject.ref: subject for subject in dispatches.subjects(tx, one.notifications)}.values())
    counts = Counter(_kind(tx, subject) for subject in subjects)
    lines = tuple(Line(kind=kind, count=count) for kind, count in sorted(counts.items()))
    queue = _queue(public_url, one)
    links = tuple(link for subject in subjects[:MOST_LINKS] if (link := link_of(public_url, subject.ref)))
    return Told(dispatch=one, whom=whom_of(one.role), lines=lines, subjects=tuple(subjects), queue=queue, links=links)


def whom_of(role: str | None) -> str:
    """Who is told, in plain words of one line: they stand in the head of a mail, where `=?...?=` may hold anything."""
    return " ".join(_NO_WORDS.sub(" ", role or "").split())[:_LONGEST] or "you"


def link_of(public_url: str, ref: str) -> str:
    """Where our page about a piece of work is; "" without an address of ours, and for ids that were not made here.

    Those may say anything, also of a patient.
    """
    type_, _, id_ = ref.partition("/")
    return f"{public_url}/tasks/{id_}" if public_url and type_ == "Task" and _MADE_HERE.fullmatch(id_) else ""


def mail_of(told: Told, sender: str, public_url: str, at: datetime) -> EmailMessage:
    """The mail, as plain text and HTML; its Message-ID stays the same over retries."""
    message = EmailMessage()
    pieces = "1 piece of work" if told.count == 1 else f"{told.count} pieces of work"
    message["From"] = sender
    message["To"] = told.dispatch.address
    message["Subject"] = f"{pieces} for {told.whom}"
    message["Date"] = format_datetime(at)
    message["Message-ID"] = f"<{message_id(told.dispatch)}@{urlsplit(public_url).hostname or _OURSELVES}>"
    message["Auto-Submitted"] = "auto-generated"
    message["X-Auto-Response-Suppress"] = "All"
    message.set_content(_plain(pieces, told))
    message.add_alternative(_html(pieces, told), subtype="html")
    return message


def payload_of(told: Told) -> Mapping[str, Json]:
    """The body of a webhook call: ids of our own notifications, kinds of work and links."""
    one = told.dispatch
    return {
        "type": "work.notified",
        "timestamp": instant(one.created_at),
        "data": {
            "id": message_id(one),
            "role": one.role,
            "count": told.count,
            "kinds": [{"kind": line.kind, "count": line.count} for line in told.lines],
            "notifications": list(one.notifications),
            "link": told.queue or None,
            "links": list(told.links),
        },
    }


def message_id(one: Dispatch) -> str:
    """The stable id of a dispatch."""
    return f"dispatch-{one.id}"


def _kind(tx: Tx, subject: Subject) -> str:
    """Words of the program, never of a resource: those of an EHR may name the patient."""
    if subject.kind == "escalation":
        return "Escalation"
    try:
        program = programs.load(tx, subject.program, subject.program_version) if subject.program else None
    except Incorrect:
        program = None
    if program is not None and subject.kind == "plan":
        return program.title
    template = program.task(subject.code) if program else None
    return template.title if template else "Work"


def _queue(public_url: str, one: Dispatch) -> str:
    if not public_url:
        return ""
    return f"{public_url}/?role={quote(one.role, safe='')}" if one.role else f"{public_url}/"


def _plain(pieces: str, told: Told) -> str:
    rows = [f"- {line.count} x {line.kind}" for line in told.lines]
    links = _links(told)
    where = ["Look here:", *links] if links else ["Look into your queue."]
    return "\n".join([f"{pieces} for {told.whom}:", "", *rows, "", *where, ""])


def _html(pieces: str, told: Told) -> str:
    rows = "".join(f"<li>{line.count} &times; {html.escape(line.kind)}</li>" for line in told.lines)
    links = "".join(f'<li><a href="{html.escape(one)}">{html.escape(one)}</a></li>' for one in _links(told))
    where = f"<p>Look here:</p><ul>{links}</ul>" if links else "<p>Look into your queue.</p>"
    return f"<html><body><p>{html.escape(f'{pieces} for {told.whom}')}:</p><ul>{rows}</ul>{where}</body></html>"


def _links(told: Told) -> Sequence[str]:
    return [one for one in (told.queue, *told.links) if one]
