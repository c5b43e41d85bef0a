"""One program version as frozen values: what DESIGN section 5's YAML file says, already validated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, time
from typing import Literal

from fhir_tracker.model.forms import Form
from fhir_tracker.model.values import ValueTest
from fhir_tracker.model.work import ClockState

CANONICAL = "https://fhir-tracker.example"
Unit = Literal["seconds", "minutes", "hours", "days", "weeks", "months"]


@dataclass(frozen=True, kw_only=True)
class Duration:
    """`2 business days` is amount 2, unit days, working; `48 hours` is calendar time. Amounts are >= 0."""

    amount: int
    unit: Unit
    working: bool = False

    def __str__(self) -> str:
        unit = self.unit.removesuffix("s") if self.amount == 1 else self.unit
        return f"{self.amount} {'business ' if self.working else ''}{unit}"


@dataclass(frozen=True, kw_only=True)
class Calendar:
    """A site's working time: `hours` maps weekday (Monday 0) to spans of local time, `holidays` a country of the
    holidays package.

    `sites` are the calendars of the practice's other places by their code; such a one tells its own `site` and the
    `locations` (references, `system|value` identifiers or names) that stand for it.
    """

    zone: str = "America/New_York"
    hours: Mapping[int, tuple[tuple[time, time], ...]] = field(default_factory=dict)
    holidays: str | None = "US"
    closed: tuple[date, ...] = ()
    site: str = ""
    locations: tuple[str, ...] = ()
    sites: Mapping[str, Calendar] = field(default_factory=dict)

    def of(self, *places: str | None) -> Calendar:
        """The calendar of the first place that has its own: a site's code or one of its locations; else this one."""
        for place in places if self.sites else ():
            for site in self.sites.values():
                if place and (place == site.site or place in site.locations):
                    return site
        return self


@dataclass(frozen=True, kw_only=True)
class Status:
    """A program's own task status (`Task.businessStatus`) and the one FHIR `Task.status` it maps to.

    `holds` says that entering it needs `hold.until`; `hold_event` names the event that may end the hold sooner.
    """

    code: str
    fhir: str
    clock: ClockState
    means: str
    title: str
    holds: bool = False
    hold_event: str = ""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Where a plan can be; `fhir` is the CarePlan.status it maps to."""

    code: str
    title: str
    means: str
    fhir: str = "active"


@dataclass(frozen=True, kw_only=True)
class Reason:
    """A coded reason of the program's own; `kinds` are the occasions it is offered on (see `REASON_KINDS`; none: all)."""

    code: str
    title: str
    means: str = ""
    kinds: tuple[str, ...] = ()


REASON_KINDS = ("hold", "decline", "not-eligible", "send-back", "stop", "reopen", "exception")
"""What a coded reason can be for."""


@dataclass(frozen=True, kw_only=True)
class Move:
    """An allowed status change, or with stages for statuses a move of a plan.

    `by` lists roles (empty: any), `parties` who one must be to the task (`owner`, `requester`; empty: anyone), `require`
    names of required fields (see `model.moves`); `attempt_within` is how fresh a required attempt must be. `do` is what
    follows from the move in the same transaction.
    """

    sources: tuple[str, ...]
    to: str
    by: tuple[str, ...] = ()
    require: tuple[str, ...] = ()
    parties: tuple[str, ...] = ()
    attempt_within: Duration | None = None
    do: tuple[Action, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Completion:
    """The stage a plan takes when all its tasks are closed; `tasks` names the kinds of work that count (none: all)."""

    stage: str
    tasks: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Match:
    """A test on one Event: every given part must fit.

    `codes` hold `system|code`, or `code` alone for any system; `within` looks back from now to the event's end or
    start. `outcomes` are a Communication's, `value` an Observation's; `count` asks for that many events, with different
    codes where `codes` are given.
    """

    type: str
    status: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()
    within: Duration | None = None
    outcomes: tuple[str, ...] = ()
    count: int = 1
    value: ValueTest | None = None


@dataclass(frozen=True, kw_only=True)
class Condition:
    """A tree: `all`, `any`, `not` over children, or a leaf: `match` for eligibility, a predicate's `name` and `args`
    for rules.
    """

    op: Literal["all", "any", "not", "match", "predicate"]
    children: tuple[Condition, ...] = ()
    match: Match | None = None
    name: str = ""
    args: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Due:
    """Due `within` after `anchor`: `enrolment`, `discharge`, `created` (the task's own start) or an event such as
    `appointment.missed`.
    """

    anchor: str
    within: Duration


@dataclass(frozen=True, kw_only=True)
class Quiet:
    """When nobody is tried on `channels`: from `starts` to `ends` (over midnight when that is earlier) and on whole
    `days` (Monday 0), by the wall clock of the patient or of the site.
    """

    starts: time | None = None
    ends: time | None = None
    days: tuple[int, ...] = ()
    zone: Literal["patient", "site"] = "patient"
    channels: tuple[str, ...] = ("phone", "sms")


@dataclass(frozen=True, kw_only=True)
class OutreachPolicy:
    """N attempts over a time, on `on_channels` of the given channels, `spacing` apart; `outside` is what becomes of an
    attempt in quiet hours or on a channel that the patient does not want: `allow`, `warn` or `refuse`.
    """

    attempts: int
    over: Duration
    channels: tuple[str, ...]
    on_channels: int = 1
    spacing: Duration | None = None
    quiet: Quiet | None = None
    outside: Literal["allow", "warn", "refuse"] = "warn"


@dataclass(frozen=True, kw_only=True)
class DoneBy:
    """What closes the task by itself: an event matching `match` that happened or was booked after the task's start;
    `status` it then takes.
    """

    match: Match
    status: str


@dataclass(frozen=True, kw_only=True)
class Starts:
    """Work that begins when other work of the plan ends: the latest of each of `after` is in one of `statuses` (of a
    completed kind when none are named).
    """

    after: tuple[str, ...]
    statuses: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class GoalTemplate:
    """A goal of every plan; `measure` is `system|code` of the value that shows it, `within` its due date."""

    code: str
    title: str
    measure: str = ""
    at_least: str = ""
    at_most: str = ""
    unit: str = ""
    within: Duration | None = None


@dataclass(frozen=True, kw_only=True)
class Ownership:
    """Who gets the program's work that nobody owns: `queue` leaves it to its role.

    `cap` is how much open work, of all programs, a person has at most to be given more. `roles` may say otherwise for some.
    """

    assign: Literal["queue", "round-robin", "least-loaded", "primary"] = "queue"
    cap: int | None = None
    roles: Mapping[str, Ownership] = field(default_factory=dict)

    @property
    def is_set(self) -> bool:
        """Whether it says more than that work waits in its queue."""
        return self != Ownership()

    def of(self, role: str | None) -> Ownership:
        """What counts for work of a role."""
        return self.roles.get(role or "", self)


@dataclass(frozen=True, kw_only=True)
class TeamRole:
    """A place in the care team of every plan; the one that is `primary` gives work its owner."""

    role: str
    title: str = ""
    primary: bool = False


@dataclass(frozen=True, kw_only=True)
class TaskTemplate:
    """One kind of work. `on` is `enrolment`, `rule` (made only by a rule's create_task), `cadence` with `every` or
    `after` with `starts`.

    `owner` is the member of the care team whose it is: of the `primary` role, or of its own role (`team`); `horizon` is
    how far ahead occurrences are made, `zone` on whose wall clock; `pauses` are what pauses it besides its status (None:
    what the program says); `goal` and `part_of` name the goal and the work that it serves.
    """

    code: str
    title: str
    role: str
    what: str = ""
    on: Literal["enrolment", "rule", "cadence", "after", "intake"] = "enrolment"
    due: Due | None = None
    every: Duration | None = None
    priority: str = "routine"
    outreach: OutreachPolicy | None = None
    done_by: DoneBy | None = None
    initial: str = ""
    owner: Literal["", "primary", "team"] = ""
    starts: Starts | None = None
    zone: Literal["site", "patient"] = "site"
    horizon: Duration | None = None
    pauses: tuple[str, ...] | None = None
    goal: str = ""
    part_of: str = ""


@dataclass(frozen=True, kw_only=True)
class ExpectedDocument:
    """A document that must exist `within` after `after` (`discharge`, `enrolment`, `appointment.fulfilled`); missing
    is a rule's business.
    """

    code: str
    title: str
    after: str
    within: Duration
    satisfied_by: Match
    service: str | None = None


@dataclass(frozen=True, kw_only=True)
class Action:
    """One thing a rule or a transition does: `kind` is one of `rules.action_section.ACTIONS`, `value` what it names
    first (a ladder, template, flag, status, role ...), `within` a length of time, `args` the rest.
    """

    kind: str
    value: str = ""
    args: Mapping[str, str] = field(default_factory=dict)
    within: Duration | None = None


@dataclass(frozen=True, kw_only=True)
class Rule:
    """`subject` is what it is evaluated on: each open task of the program or the plan itself; `was` are the names it had in
    earlier versions.
    """

    id: str
    title: str
    subject: Literal["task", "plan"]
    when: Condition
    do: tuple[Action, ...]
    was: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Level:
    """A ladder's step: `after` counts from the step before (the first: from when the rule began to hold).

    `by` are the roles that may answer it (none: `to`, those of the levels after it, and the clinic admin).
    """

    number: int
    to: str
    after: Duration | None = None
    notify: tuple[str, ...] = ("in-app",)
    priority: str | None = None
    by: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Ladder:
    code: str
    levels: tuple[Level, ...]
    stop_when: tuple[str, ...] = ("task.closed", "acknowledged")


@dataclass(frozen=True, kw_only=True)
class Eligibility:
    """Who comes in.

    `anchor` names the matched event's end in the plan (`discharge`); `once` is `event` (the latest stay, else the
    first event), `each` (every event of the type named first opens a plan) or `patient`.
    """

    condition: Condition
    anchor: str = "enrolment"
    once: Literal["event", "each", "patient"] = "event"


@dataclass(frozen=True, kw_only=True)
class ChangeControl:
    """What a new version needs: a second person's approval, a reason."""

    approver: bool = False
    reason: bool = False


NOTHING_ASKED = ChangeControl()


@dataclass(frozen=True, kw_only=True)
class Intake:
    """Patients who qualify wait in `stage` until the work `task` is closed; `outcomes` maps its closing statuses to the
    stage that follows. `again`: who was turned down is a candidate anew when something happens after that.
    """

    task: str
    stage: str
    outcomes: Mapping[str, str]
    again: bool = True


@dataclass(frozen=True, kw_only=True)
class Program:
    """One validated version of one program; `warnings` tell its author what was left to a default."""

    code: str
    title: str
    description: str = ""
    calendar: Calendar
    services: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    eligible: Eligibility | None = None
    stages: tuple[Stage, ...]
    statuses: tuple[Status, ...]
    moves: tuple[Move, ...]
    tasks: tuple[TaskTemplate, ...]
    documents: tuple[ExpectedDocument, ...] = ()
    rules: tuple[Rule, ...] = ()
    ladders: tuple[Ladder, ...] = ()
    reasons: tuple[Reason, ...] = ()
    stage_moves: tuple[Move, ...] = ()
    completes: Completion | None = None
    ownership: Ownership = field(default_factory=Ownership)
    pauses: tuple[str, ...] = ()
    goals: tuple[GoalTemplate, ...] = ()
    team: tuple[TeamRole, ...] = ()
    forms: tuple[Form, ...] = ()
    intake: Intake | None = None
    version: int = 0
    warnings: tuple[str, ...] = ()
    change_control: ChangeControl = NOTHING_ASKED
    former: Mapping[str, ClockState] = field(default_factory=dict)
    """Status codes of earlier versions that this one has no more, with their clock: rows of before can name them."""
    renamed: Mapping[str, str] = field(default_factory=dict)
    """What rules were called in other versions -> what they are called in this one."""

    @property
    def canonical(self) -> str:
        """Its PlanDefinition's `url|version`."""
        return f"{CANONICAL}/PlanDefinition/{self.code}|{self.version}"

    @property
    def status_system(self) -> str:
        """The CodeSystem of its task statuses."""
        return f"{CANONICAL}/CodeSystem/{self.code}-status"

    @property
    def stage_system(self) -> str:
        """The CodeSystem of its plans' stages."""
        return f"{CANONICAL}/CodeSystem/{self.code}-stage"

    @property
    def reason_system(self) -> str:
        """The CodeSystem of its coded reasons."""
        return f"{CANONICAL}/CodeSystem/{self.code}-reason"

    def stage(self, code: str) -> Stage | None:
        """The stage with that code."""
        return next((one for one in self.stages if one.code == code), None)

    def reasons_for(self, kind: str) -> tuple[Reason, ...]:
        """The coded reasons offered for one of REASON_KINDS."""
        return tuple(one for one in self.reasons if not one.kinds or kind in one.kinds)

    def at(self, *places: str | None) -> Program:
        """The program as it counts time at the first place with a calendar of its own; itself where none has."""
        calendar = self.calendar.of(*places)
        if calendar is self.calendar:
            return self
        made: dict[str, Program] = self.__dict__.setdefault("_at_sites", {})
        if calendar.site not in made:
            made[calendar.site] = replace(self, calendar=calendar)
        return made[calendar.site]

    def goal(self, code: str) -> GoalTemplate | None:
        """The goal with that code."""
        return next((one for one in self.goals if one.code == code), None)

    def status(self, code: str) -> Status | None:
        """The status with that code."""
        return next((one for one in self.statuses if one.code == code), None)

    def clock_in(self, status: str) -> ClockState | None:
        """The clock of a status, also of one that only earlier versions had; None for a code nobody knows."""
        own = self.status(status)
        return own.clock if own else self.former.get(status)

    def task(self, code: str) -> TaskTemplate | None:
        """The task template with that code."""
        return next((one for one in self.tasks if one.code == code), None)

    def ladder(self, code: str) -> Ladder | None:
        """The ladder with that code."""
        return next((one for one in self.ladders if one.code == code), None)

    def form(self, code: str) -> Form | None:
        """The form with that code."""
        return next((one for one in self.forms if one.code == code), None)

    def document(self, code: str) -> ExpectedDocument | None:
        """The expected document with that code."""
        return next((one for one in self.documents if one.code == code), None)
