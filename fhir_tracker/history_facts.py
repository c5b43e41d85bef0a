"""The facts of a work item as they were at an earlier moment, under any version of its program."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property

from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.reading import at
from fhir_tracker.model.contact import Contact, contact_of
from fhir_tracker.model.facts import Facts, PlanFacts
from fhir_tracker.model.patient import PatientSummary, summary_of
from fhir_tracker.model.plan import plan_facts, plan_item
from fhir_tracker.model.program import Program
from fhir_tracker.model.standing import PatientFacts, standing_of
from fhir_tracker.model.task import task_item, with_history
from fhir_tracker.model.vocabulary import program_named
from fhir_tracker.model.work import Event, Firing, WorkItem
from fhir_tracker.patient_history import PatientHistory, Point, Was
from fhir_tracker.projection import ANSWERS, ATTEMPTED
from fhir_tracker.rules.due import due_at

Programs = Callable[[str, int | None], Program | None]
"""The program that a code and version stand for here."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One patient at one point: every item of theirs, the plans as rules see them, and the events."""

    history: PatientHistory
    point: Point
    items: Mapping[str, WorkItem]
    plans: Mapping[str, PlanFacts]
    programs: Mapping[str, Program]
    events: tuple[Event, ...]
    patient: Was | None

    def facts(self, ref: str, fired: Iterable[Firing]) -> Facts:
        """What rules saw of an item, had these levels fired for it so far."""
        item, history = self.items[ref], self.history
        log = history.log(ref, self.point)
        known = tuple(self._answered(one) for one in fired)
        tried = [] if item.kind == "plan" else [one for one in self.events if _is_attempt(one, ref)]
        whole = with_history(item, log, known, sorted(tried, key=lambda one: one.at))
        others = (one for one in self.items.values() if one.plan and one.plan == item.plan and one.ref != ref)
        return Facts(
            item=whole,
            plan=self.plans.get(item.plan or ""),
            log=log,
            events=self.events,
            fired=known,
            tasks=tuple(one for one in others if one.ref != item.plan),
            deceased=bool(self.summary and self.summary.deceased),
            zone=self.summary.zone if self.summary else None,
            contact=self.contact,
            patient=self.standing,
            strangers=history.strangers,
            people={one: person for one in (item.owner or "",) if (person := history.people.get(one))},
        )

    @cached_property
    def summary(self) -> PatientSummary | None:
        """The patient in a line."""
        was = self.patient
        return summary_of(was.resource, None) if was and was.resource else None

    @cached_property
    def contact(self) -> Contact | None:
        """How the patient could be reached."""
        was = self.patient
        return contact_of(was.resource, as_of=was.at) if was and was.resource else None

    @cached_property
    def standing(self) -> PatientFacts | None:
        """What the record said of the patient."""
        was = self.patient
        return standing_of(was.resource, as_of=was.at) if was and was.resource else None

    def _answered(self, firing: Firing) -> Firing:
        """The firing with what people had answered by now: it follows its Task, where there really was one."""
        status = self.history.status_of(firing.task, self.point) if firing.kind == "escalate" else None
        state = ANSWERS.get(status or "", "open") if firing.state != "skipped" else firing.state
        return replace(firing, state=state)


def scene(history: PatientHistory, point: Point, programs: Programs, *, own: Programs | None = None) -> Scene:
    """The patient at that point under `programs`. With `own`, the programs by which work was really made, due times that
    follow from the program are counted as `programs` would have.
    """
    items: dict[str, WorkItem] = {}
    plans: dict[str, PlanFacts] = {}
    found: dict[str, Program] = {}
    for ref in sorted(history.work, key=lambda one: one.startswith("Task/")):
        was = history.latest(ref, point)
        if was is None or was.resource is None:
            continue
        program = None if was.mirrored else program_of(was.resource, programs)
        born = history.versions[ref][0].at
        if ref.startswith("Task/"):
            item = task_item(was.resource, program, mirrored=was.mirrored, created_at=born)
            if own is not None and program is not None:
                item = _counted_anew(history, item, program, program_of(was.resource, own), plans, point)
        elif program is not None:
            item = plan_item(was.resource, program, created_at=born)
            plans[ref] = replace(plan_facts(was.resource, item), log=history.log(ref, point))
        else:
            continue
        items[ref] = item
        if program is not None:
            found[ref] = program
    return Scene(
        history=history,
        point=point,
        items=items,
        plans=plans,
        programs=found,
        events=history.events(point),
        patient=history.latest(f"Patient/{history.patient}", point),
    )


def program_of(resource: Resource, programs: Programs) -> Program | None:
    """The program that a Task or CarePlan says it instantiates."""
    named = at(resource, "instantiatesCanonical")
    for canonical in named if isinstance(named, list) else (named,):
        found = program_named(canonical) if isinstance(canonical, str) else None
        if found and (program := programs(*found)):
            return program
    return None


def _is_attempt(event: Event, ref: str) -> bool:
    return event.type == "Communication" and ref in event.about and event.status in ATTEMPTED


def _counted_anew(
    history: PatientHistory,
    item: WorkItem,
    program: Program,
    own: Program | None,
    plans: Mapping[str, PlanFacts],
    point: Point,
) -> WorkItem:
    """The item due when `program` would have made it due; a due time that a person set, or an API client gave, stays."""
    new, old = program.task(item.code), own.task(item.code) if own else None
    if new is None or old is None or own is None or (new.due, program.calendar) == (old.due, own.calendar):
        return item
    if sum(row.what == "due" for row in history.log(item.ref, point)) > 1:
        return item
    anchors = _anchors(history, item, plans)
    if due_at(own, old, anchors, item.created_at) != item.due_at:
        return item
    return item.having(due_at=due_at(program, new, anchors, item.created_at))


def _anchors(history: PatientHistory, item: WorkItem, plans: Mapping[str, PlanFacts]) -> dict[str, datetime]:
    """The moments from which its due time could be counted when the item was made."""
    plan = plans.get(item.plan or "")
    anchors = dict(plan.anchors) if plan else {}
    made = history.versions[item.ref][0].at
    about = history.latest(item.focus, Point(start=made, end=made)) if item.focus else None
    if about is not None and about.event is not None:
        anchors[f"{about.event.type.lower()}.{about.event.status}"] = anchors["event"] = about.event.at
    return anchors
