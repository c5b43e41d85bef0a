"""A spell: how long one piece of work stood as it did, in all that measures read of it, and what it became then.

The transition log tells one field at a time; its spells tell the same changes whole, so that how everything stood at any
moment is one comparison of two times.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter

from fhir_tracker.model.author import Author, Why
from fhir_tracker.model.work import WorkItem

_MEASURED = (
    "kind",
    "patient",
    "plan",
    "program",
    "program_version",
    "code",
    "status",
    "fhir_status",
    "clock",
    "open",
    "role",
    "owner",
    "due_at",
    "hold_until",
    "hold_event",
    "focus",
)
measured = attrgetter(*_MEASURED)
"""What measures read of an item; a spell ends when any of it changes."""
CODED = 64


@dataclass(frozen=True, kw_only=True)
class Spell:
    """`since` and `until` are when it began and ended as recorded, `effective_at` when the end happened.

    `status_since` is as the item told it. A spell with the status "" is the beginning of a plan. `reason` is the coded
    reason of its end, never words of a person.
    """

    item: str
    kind: str
    patient: str | None
    plan: str | None
    program: str | None
    program_version: int | None
    code: str
    status: str
    fhir_status: str
    clock: str
    open: bool
    role: str | None
    owner: str | None
    due_at: datetime | None
    hold_until: datetime | None
    hold_event: str | None
    focus: str | None
    created_at: datetime
    status_since: datetime
    since: datetime
    until: datetime
    effective_at: datetime
    next_status: str
    next_fhir_status: str
    next_clock: str
    next_open: bool
    next_role: str | None
    next_owner: str | None
    reason: str | None


def ended(before: WorkItem, after: WorkItem, author: Author, why: Why | None) -> Spell:
    """The spell of `before`, which `author` ended by making it `after`."""
    since = before.stands_since or before.created_at
    kept = {name: getattr(before, name) for name in (*_MEASURED, "created_at", "status_since")}
    return Spell(
        **kept,
        item=before.ref,
        since=since,
        until=max(author.at, since),
        effective_at=(why and why.effective_at) or author.at,
        next_status=after.status,
        next_fhir_status=after.fhir_status,
        next_clock=after.clock,
        next_open=after.open,
        next_role=after.role,
        next_owner=after.owner,
        reason=why.code[:CODED] if why and why.code else None,
    )


def beginning(item: WorkItem, author: Author, why: Why | None) -> Spell:
    """The spell of no length that a plan begins with."""
    nothing = item.having(status="", fhir_status="", clock="stopped", open=False, stands_since=author.at)
    return ended(nothing, item, author, why)
