"""The frozen values a rule sees, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from fhir_tracker.model.activity import Activity
from fhir_tracker.model.contact import Contact
from fhir_tracker.model.effects import Effect
from fhir_tracker.model.staff import People
from fhir_tracker.model.standing import PatientFacts
from fhir_tracker.model.work import Event, Firing, Transition, WorkItem


@dataclass(frozen=True, kw_only=True)
class PlanFacts:
    """The plan a task belongs to. `anchors` maps names (`enrolment`, `discharge`) to moments, `site` is its place, `log`
    its own rows.

    `goals` maps the program's goals to the Goals that stand for them, `activities` are the interventions that the
    CarePlan lists itself; `trigger` is the resource that opened it; `is_enrolment` tells a plan opened by the tracker
    from one that a client filed, `has_team` whether it names a care team.
    """

    ref: str
    stage: str
    status: str
    started: datetime
    site: str | None = None
    log: tuple[Transition, ...] = ()
    anchors: Mapping[str, datetime] = field(default_factory=dict)
    goals: Mapping[str, str] = field(default_factory=dict)
    activities: tuple[Activity, ...] = ()
    trigger: str = ""
    is_enrolment: bool = True
    has_team: bool = False


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Everything known of one work item at one moment: `log` and `fired` are its own, oldest first; `events` are the
    patient's; `tasks` the plan's other items; `deceased` says that the patient is; `people` are those of the staff whom
    the item names, such as its owner, as far as they are known; `zone` is the time zone of the patient's home,
    `contact` how the patient can be reached, where the work is to do that; `strangers` are
    references that the events name and that are another patient's; `misfiled` are events in other patients' records that
    name this one's, where somebody asked for them (no rule's answer depends on them).
    """

    item: WorkItem
    plan: PlanFacts | None = None
    log: tuple[Transition, ...] = ()
    events: tuple[Event, ...] = ()
    fired: tuple[Firing, ...] = ()
    tasks: tuple[WorkItem, ...] = ()
    deceased: bool = False
    people: People = field(default_factory=dict)
    zone: str | None = None
    contact: Contact | None = None
    strangers: frozenset[str] = frozenset()
    patient: PatientFacts | None = None
    misfiled: tuple[Event, ...] = ()

    @property
    def places(self) -> tuple[str | None, str | None]:
        """Whose calendar counts: the item's own place, then its plan's."""
        return self.item.site, self.plan.site if self.plan else None

    @cached_property
    def by_type(self) -> Mapping[str, tuple[Event, ...]]:
        """The events by their type, by the time they are about, then by reference: whatever order they came in."""
        found: dict[str, list[Event]] = {}
        for event in sorted(self.events, key=lambda one: (one.began, one.ref)):
            found.setdefault(event.type, []).append(event)
        return {kind: tuple(some) for kind, some in found.items()}


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A predicate's three answers: does it hold now, why (with the facts used), when could time alone change the answer.

    `since` is when it began to hold; `occurrence` tells one happening from the next (an appointment's reference),
    empty for rules about the item itself. `background` marks an answer that only narrows which work a rule is about:
    it is left out of `why` where another part says more.
    """

    holds: bool
    why: str
    facts: Mapping[str, str] = field(default_factory=dict)
    next_change: datetime | None = None
    since: datetime | None = None
    occurrence: str = ""
    background: bool = False


@dataclass(frozen=True, kw_only=True)
class NextLevel:
    """The ladder's next step: number, role and when it fires if nothing stops it."""

    number: int
    to: str
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One rule's answer on one item, for `rules explain` and the page's `why`."""

    rule: str
    title: str
    verdict: Verdict
    fired: tuple[Firing, ...] = ()
    next_level: NextLevel | None = None
    stopped: str | None = None


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The engine's answer on one item; `next_at` is when to look again if nothing else changes (None: never)."""

    effects: tuple[Effect, ...]
    findings: tuple[Finding, ...]
    next_at: datetime | None
