"""What a rule asks for; it changes nothing itself. Each effect has a key under which it is applied exactly once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from fhir_tracker.model.activity import Activity
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
    due. `role` and `priority` go before the template's; `owner` is `same` (that of the item), `primary` (the plan's) or
    `team` (the member of the care team in the work's role).

    Work made ahead begins at `starts_at`; `activity` is the intervention of the plan that it stands for.
    """

    key: FiringKey
    template: str
    reason: str
    about: str | None = None
    due_at: datetime | None = None
    role: str = ""
    priority: str = ""
    owner: str = ""
    starts_at: datetime | None = None
    activity: Activity | None = None


@dataclass(frozen=True, kw_only=True)
class RaiseFlag:
    """Flag the patient; `cause` is `program#rule`, kept on the Flag."""

    key: FiringKey
    code: str
    reason: str
    cause: str = ""


@dataclass(frozen=True, kw_only=True)
class ClearFlag:
    """End the patient's flag; with a `cause` only that one, and the flag stays while it has another."""

    key: FiringKey
    code: str
    reason: str
    cause: str = ""


@dataclass(frozen=True, kw_only=True)
class SetStatus:
    """Move the item by itself: closing when its evidence arrived, or leaving a hold that ended.

    `evidence` are references for Task.output, `note` what is written on the work besides.
    """

    key: FiringKey
    status: str
    reason: str
    evidence: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class SetPriority:
    key: FiringKey
    priority: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Notify:
    """Tell a role, or whom `to` names: `owner` (of the item) or `primary` (of the plan)."""

    key: FiringKey
    to_role: str
    channels: tuple[str, ...]
    reason: str
    to: str = ""


@dataclass(frozen=True, kw_only=True)
class SetStage:
    """Move the item's plan to a stage."""

    key: FiringKey
    stage: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Reassign:
    """Give the item to another role's queue (`to_role`), or to whom `to` names: `primary` or `substitute`."""

    key: FiringKey
    reason: str
    to_role: str = ""
    to: str = ""


@dataclass(frozen=True, kw_only=True)
class Hold:
    """Pause the item in a paused status until `until` or `event`, whichever is first."""

    key: FiringKey
    status: str
    until: datetime
    reason: str
    event: str = ""


@dataclass(frozen=True, kw_only=True)
class EnrolInto:
    """Open a plan of another program for the item's patient."""

    key: FiringKey
    program: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Disenrol:
    """End the item's plan in a closing stage and close what is open of it."""

    key: FiringKey
    stage: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class CloseTasks:
    """Close the plan's open tasks of the templates `tasks` (empty: all) with a closing status."""

    key: FiringKey
    status: str
    reason: str
    tasks: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ReturnToQueue:
    key: FiringKey
    reason: str


@dataclass(frozen=True, kw_only=True)
class Enrol:
    """Open a plan of a program for a patient because of `trigger` (an event's reference, empty when by hand).

    `key` is a caller's own name for the plan, `site` the site whose calendar counts.
    """

    program: str
    version: int
    patient: str
    trigger: str
    anchor: str
    anchor_at: datetime
    reason: str
    key: str | None = None
    site: str | None = None


@dataclass(frozen=True, kw_only=True)
class WithdrawTask:
    """Cancel another Task of the plan that nobody has begun and that is not wanted any more."""

    key: FiringKey
    task: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class SetDue:
    """Move the item's due time, which was counted by a calendar that no longer counts for it."""

    key: FiringKey
    due_at: datetime
    reason: str


@dataclass(frozen=True, kw_only=True)
class Equip:
    """Give the plan the goals and the care team of its program that it lacks."""

    key: FiringKey
    reason: str


@dataclass(frozen=True, kw_only=True)
class Decide:
    """Move a candidate's plan to the stage that the decision on `task` leads to, for the reason that was given there."""

    key: FiringKey
    stage: str
    task: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class RecordScore:
    """Keep what a response to `form` scored as an Observation; `score` None withdraws what was kept."""

    key: FiringKey
    form: str
    response: str
    score: Decimal | None
    at: datetime
    reason: str


Effect = (
    Escalate
    | CreateTask
    | RaiseFlag
    | RecordScore
    | Decide
    | ClearFlag
    | SetStatus
    | SetPriority
    | Notify
    | ReturnToQueue
    | SetStage
    | Reassign
    | Hold
    | EnrolInto
    | Disenrol
    | CloseTasks
    | WithdrawTask
    | SetDue
    | Equip
)
