"""Work items, transitions, firings and events: the rows that rules and queues read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from fhir_tracker.model.having import Having

ItemKind = Literal["task", "plan", "escalation", "outside"]
ClockState = Literal["running", "paused", "stopped"]
FiringState = Literal["open", "acknowledged", "taken-over", "sent-back", "resolved", "skipped"]
LONGEST = 500
"""How many bytes of a text an index takes, of several texts together too."""
_INDEXED = ("plan", "code", "status", "fhir_status", "role", "owner", "priority", "focus", "site")
"""Texts that a database indexes: what is sent there may be of any length, and an index has its limits."""


def cut(text: str) -> str:
    """As much of the beginning of a text as LONGEST bytes hold, whole characters only."""
    told = text.encode("utf-8", "surrogatepass")
    return text if len(told) <= LONGEST else told[:LONGEST].decode("utf-8", "ignore")


@dataclass(frozen=True, kw_only=True)
class WorkItem(Having):
    """The read model of one task or plan; `ref` is `Task/<id>` or `CarePlan/<id>`, every moment is aware UTC.

    `outside` is an EHR's own Task, shown and never ruled. `status` is the program's own code (for a plan: its stage),
    `fhir_status` the FHIR one. `site` is the place whose calendar counts (a site's code, a Location, an identifier or a
    name), `starts_at` when work that was made ahead begins. `stands_since` is when what measures read of it
    last changed, as it was recorded; None for outside work.
    """

    ref: str
    kind: ItemKind
    title: str
    patient: str | None = None
    plan: str | None = None
    program: str | None = None
    program_version: int | None = None
    code: str = ""
    status: str = ""
    fhir_status: str = ""
    clock: ClockState = "running"
    open: bool = True
    role: str | None = None
    owner: str | None = None
    due_at: datetime | None = None
    priority: str = "routine"
    created_at: datetime
    status_since: datetime
    assigned_since: datetime | None = None
    cycle: int = 0
    hold_until: datetime | None = None
    hold_event: str | None = None
    escalation_level: int = 0
    escalation_reason: str | None = None
    attempts: int = 0
    last_attempt_at: datetime | None = None
    last_attempt_outcome: str | None = None
    focus: str | None = None
    next_action_at: datetime | None = None
    site: str | None = None
    starts_at: datetime | None = None
    stands_since: datetime | None = None

    def fitted(self) -> WorkItem:
        """The same with the texts that a database indexes cut to LONGEST bytes."""
        texts = ((name, getattr(self, name)) for name in _INDEXED)
        long = {name: cut(text) for name, text in texts if text and 4 * len(text) > LONGEST}
        return self.having(**long) if long else self


@dataclass(frozen=True, kw_only=True, slots=True)
class Transition:
    """One change of stage, status, owner, role or due time: a row, for ever.

    `rule` is `program|version#rule` when a rule did it, `reason_code` the coded reason where one was chosen.
    """

    item: str
    what: Literal[
        "stage", "status", "owner", "role", "due", "priority", "patient", "site", "escalation", "note", "program"
    ]
    before: str | None
    after: str | None
    recorded_at: datetime
    effective_at: datetime
    who: str
    reason: str | None = None
    note: str | None = None
    rule: str | None = None
    cycle: int = 0
    reason_code: str | None = None


@dataclass(frozen=True, kw_only=True)
class FiringKey:
    """What happens once: unique in the database.

    `cycle` holds the item's cycle and, for rules over events, the event's reference.
    """

    item: str
    rule: str
    cycle: str
    level: int


@dataclass(frozen=True, kw_only=True)
class Firing:
    """One level that fired. `task` is the escalation Task or the created work; `state` follows that Task.

    `skipped`: it no longer applied when its turn came, for what `reason` says.
    """

    key: FiringKey
    fired_at: datetime
    kind: str
    task: str | None = None
    to_role: str | None = None
    state: FiringState = "open"
    program: str | None = None
    program_version: int | None = None
    reason: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """One mirrored or own resource as rules see it: an Appointment, Encounter, DocumentReference, Communication, Flag ...

    `codes` are `system|code` of its type, category, service type and class; `start` and `end` its own period
    (Appointment.start, Encounter.period, DocumentReference.date, Communication.sent); `about` the references it is
    about (focus, basedOn, encounter, appointment); `detail` a few named texts (`channel`, `outcome`, `reason`, `note`);
    `seen_at` when its present version reached the tracker.
    """

    ref: str
    type: str
    status: str
    patient: str
    codes: tuple[str, ...] = ()
    start: datetime | None = None
    end: datetime | None = None
    seen_at: datetime
    about: tuple[str, ...] = ()
    detail: Mapping[str, str] = field(default_factory=dict)

    @property
    def at(self) -> datetime:
        """Its end, else its start, else when it was seen."""
        return self.end or self.start or self.seen_at

    @property
    def began(self) -> datetime:
        """Its start, else its end, else when it was seen."""
        return self.start or self.at

    @property
    def order(self) -> tuple[datetime, datetime, str]:
        """Its place among a patient's events: by start, of one start by when they were seen, then by reference."""
        return self.start or self.seen_at, self.seen_at, self.ref
