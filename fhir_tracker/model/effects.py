"""What a rule asks for; it changes nothing itself. Each effect has a key under which it is applied exactly once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from fhir_tracker.model.work import FiringKey


@dataclass(frozen=True, kw_only=True)
class Escalate:
    """Fire one level: an escalation Task for `to_role` with the late work as focus."""

    key: FiringKey
    ladder: str
    level: int
    to_role: str
    notify: tuple[str, ...]
    priority: str | None
    reason: str


@dataclass(frozen=True, kw_only=True)
class CreateTask:
    """Make the work of template `template`; `about` is the event that caused it, `due_at` overrides the template's
    due.
    """

    key: FiringKey
    template: str
    reason: str
    about: str | None = None
    due_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class RaiseFlag:
    key: FiringKey
    code: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class ClearFlag:
    key: FiringKey
    code: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class SetStatus:
    """Move the item by itself: closing when its evidence arrived, or leaving a hold that ended.

    `evidence` are references for Task.output.
    """

    key: FiringKey
    status: str
    reason: str
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class SetPriority:
    key: FiringKey
    priority: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Notify:
    key: FiringKey
    to_role: str
    channels: tuple[str, ...]
    reason: str


@dataclass(frozen=True, kw_only=True)
class ReturnToQueue:
    key: FiringKey
    reason: str


@dataclass(frozen=True, kw_only=True)
class Enrol:
    """Open a plan of a program for a patient because of `trigger` (an event's reference, empty when by hand).

    `key` is a caller's own name for the plan.
    """

    program: str
    version: int
    patient: str
    trigger: str
    anchor: str
    anchor_at: datetime
    reason: str
    key: str | None = None


Effect = Escalate | CreateTask | RaiseFlag | ClearFlag | SetStatus | SetPriority | Notify | ReturnToQueue
