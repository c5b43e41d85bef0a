"""The fields a status change can require, and the request to make one; the same for pages and API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

FIELDS: Mapping[str, str] = {
    "note": "a note",
    "reason": "a reason",
    "owner": "an owner",
    "due": "a due time",
    "hold.until": "when the hold ends",
    "outreach.outcome": "an outreach attempt with its outcome",
    "document": "a linked document",
    "output": "what came out of it",
}


@dataclass(frozen=True, kw_only=True)
class MoveRequest:
    """A wish to move a task to `to`; `fields` maps names of FIELDS to what was given (text; moments as FHIR dateTime)."""

    to: str
    fields: Mapping[str, str] = field(default_factory=dict)
