"""The fields a status change can require, and the request to make one; the same for pages and API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

FIELDS: Mapping[str, str] = {
    "note": "a note",
    "reason": "a reason",
    "reason.code": "a coded reason",
    "owner": "an owner",
    "due": "a due time",
    "hold.until": "when the hold ends",
    "outreach.outcome": "an outreach attempt with its outcome",
    "attempt": "an attempt to reach the patient",
    "document": "a linked document",
    "output": "what came out of it",
}
TASK_FIELD: Final = "field."
"""Begins the name of any other element of the Task: `field.location`."""
SAME: Final[Mapping[str, str]] = {
    "field.owner": "owner",
    "field.note": "note",
    "field.output": "output",
    "field.due": "due",
    "field.restriction.period.end": "due",
    "field.statusReason": "reason",
}
"""Elements of the Task that have a name of their own in FIELDS."""


@dataclass(frozen=True, kw_only=True)
class MoveRequest:
    """A wish to move a task to `to`; `fields` maps names of FIELDS to what was given (text; moments as FHIR dateTime)."""

    to: str
    fields: Mapping[str, str] = field(default_factory=dict)


def named(name: str) -> str:
    """A field in words: `a note`, `a value for location`."""
    if name.startswith(TASK_FIELD):
        return f"a value for {name.removeprefix(TASK_FIELD)}"
    return FIELDS.get(name, name)
